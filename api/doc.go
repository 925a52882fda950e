// Package api is the front door: the Cloud Controller's V3 API over HTTP.
//
// cmd opens the ledger and the blobs, makes a Server and serves it; cf,
// go-cfclient and web are its clients. Every JSON request is one transaction of
// the ledger: it happens as a whole or not at all, and what the answer says is on
// disk. What needs guests is asked of a Stager and a Runtime, contracts that are
// defined here and filled elsewhere; without them those requests are refused
// with a sentence that says so.
//
// It owns the work that may follow a commit (see call.then) and starts no
// goroutine of its own; there is no lock, the ledger orders writers.
//
// What an app should be is written by this package alone, as Launches of its
// processes; what instances there are, only by the runtime. A deployment is the
// one noun that both write: see cf.Deployment.
//
// It refuses: query parameters that an endpoint does not know (400, never
// ignored), what the caller may not see (404, as if absent), what he may see but
// not do (403), bodies over 1 MiB, uploads over the configured size, zip bombs,
// paths and links that leave the package.
//
// Spec: Cloud Controller API V3, 3.211.0.
package api
