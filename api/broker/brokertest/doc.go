// Package brokertest is a service broker for tests: it keeps instances and
// bindings in memory, works slowly when told to, and can be made to fail in every
// way that brokers do.
//
// Tests of api and api/broker start one with New. It owns an HTTP server, which
// ends with the test, and a lock around what it holds.
//
// Spec: Open Service Broker API 2.17, as much of it as is spoken.
package brokertest
