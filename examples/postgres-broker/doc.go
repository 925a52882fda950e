// Command postgres-broker is a service broker (Open Service Broker API 2.17)
// that hands out databases of one PostgreSQL server: a database for each service
// instance, a role of its own for each binding.
//
// It keeps nothing itself: what there is, is in the server. It is told by
// environment variables:
//
//	ADMIN_URL        connection of a role that may make databases and roles
//	BROKER_USER      user name and password that the platform shows
//	BROKER_PASSWORD
//	PUBLIC_HOST      host:port at which apps reach the server, if it is another
//	PORT             where to listen, 8080 unless given
package main
