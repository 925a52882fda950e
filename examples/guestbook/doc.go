// Command guestbook keeps what people write into it in a PostgreSQL database that
// it was bound to: it finds the first service in VCAP_SERVICES whose credentials
// have a postgres URI. GET / shows the newest entries, POST / adds the body.
package main
