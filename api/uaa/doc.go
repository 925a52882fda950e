// Package uaa issues tokens: it is the part of Cloud Foundry's UAA that the cf
// CLI, go-cfclient and the API need.
//
// api mounts it on its own host and asks Check about every bearer token. It owns
// the signing key (ES256, a PEM file with mode 0600), the accounts and clients
// of the ledger, the bound on concurrent password hashes and the rate limit per
// address (mutex in limiter). It starts no goroutine.
//
// It refuses: passwords of locked accounts for five minutes after five
// failures, tokens of another key, algorithm, sort or generation, unknown grants,
// and request bodies over 64 KiB. Wrong user and wrong password take the same
// time and give the same answer.
//
// Spec: UAA API 77; RFC 6749, RFC 7519, RFC 9106 (argon2id), RFC 7644 (SCIM).
package uaa
