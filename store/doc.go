// Package store is the ledger: what the platform promised to keep.
//
// cmd opens one through store/sqlite (one machine) or store/postgres (many) and
// hands it to the rooms as a cf.Store. Both are this one implementation over
// database/sql with a Dialect; store/storetest is the suite both must pass.
//
// Each noun of cf has a table: guid, times, one column per declared key, and
// the record itself as JSON. References are foreign keys, names are unique
// indexes: the database, not the caller, decides who wins a race. A query can
// only name declared keys; an unknown one is refused as cf.Invalid.
//
// What a transaction changes of apps, tasks, builds and service instances it also
// records as usage (cf.AppUsage, cf.ServiceUsage), whoever runs it.
//
// It owns the connection pools and starts no goroutine of its own. Updates are
// serializable: SQLite has one writer, PostgreSQL runs the function again when
// it lost to another.
package store
