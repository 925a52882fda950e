// Command router is package router with one route, for the measuring kit: it
// forwards app.example.com on 127.0.0.1:8110 to 127.0.0.1:8080. The
// README beside it has the figures.
package main
