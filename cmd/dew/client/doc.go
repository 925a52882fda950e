// Package client talks to a foundation over Cloud Foundry's V3 API, its UAA and
// its log cache, for the verbs of `dew` that work on a platform.
//
// It shares the file in which the cf CLI keeps its target and tokens,
// $CF_HOME/.cf/config.json: a login with one is a login with the other. Fields
// of that file which are not known here stay as they are; it is replaced whole,
// and readable by its owner alone. Without a target, Local finds the platform
// that runs on this machine, and its password.
//
// A Client is used by one goroutine at a time, except that Follow may read logs
// beside it. It starts no goroutines and has one lock, which guards the tokens.
//
// It refuses to send a token anywhere but to the hosts of the target, and waits
// for nothing without the caller's context.
//
// Specs: Cloud Controller API V3, UAA API, RFC 6749 and 7519, log-cache 3.
package client
