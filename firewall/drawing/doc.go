// Package drawing draws a topology: who may talk to whom and by which rule, as
// text for people, as a graph for graphviz, and as JSON.
//
// `dew topology` calls it with what is in force on a cell. It is pure, starts no
// goroutine and has no lock. It draws rules as their authors wrote them; whether
// a connection is allowed in the end firewall.Reach tells.
//
// Names of apps, routes and groups are their owners' choice and hostile: what
// has a meaning in dot or to a terminal is made harmless. It refuses nothing.
//
// Specs: the DOT language, graphviz.org/doc/info/lang.html.
package drawing
