// Package pgtest gives tests a real PostgreSQL server of their own.
//
// Tests of store/postgres and tests/e2e call Server. It owns the server's process
// and folder, which end with the test, and refuses to use a server that somebody
// has running unless DEW_POSTGRES names it.
package pgtest
