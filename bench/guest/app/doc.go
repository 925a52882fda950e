// Command app is the program that bench/guest measures: package net/http, as
// anybody would write it.
package main
