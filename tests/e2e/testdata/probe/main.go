// Command probe tells what it finds where it runs, and does what it is asked to.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
	"sync/atomic"
)

func main() {
	var unready atomic.Bool
	http.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "probe %s instance %s", os.Getenv("VERSION"), os.Getenv("CF_INSTANCE_INDEX"))
	})
	http.HandleFunc("/path/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "path ", r.URL.Path) })
	http.HandleFunc("/env/{name}", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, os.Getenv(r.PathValue("name"))) })
	http.HandleFunc("/file/{name}", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, r.PathValue("name")) })
	http.HandleFunc("/say/{text}", func(_ http.ResponseWriter, r *http.Request) {
		fmt.Println("out", r.PathValue("text"))
		fmt.Fprintln(os.Stderr, "err", r.PathValue("text"))
	})
	http.HandleFunc("/crash", func(http.ResponseWriter, *http.Request) { os.Exit(7) })
	http.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) {
		if unready.Load() {
			http.Error(w, "not now", http.StatusServiceUnavailable)
		}
	})
	http.HandleFunc("/unready", func(http.ResponseWriter, *http.Request) { unready.Store(true) })
	go http.ListenAndServe(":9000", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "the other port") }))
	log.Fatal(http.ListenAndServe(":"+os.Getenv("PORT"), nil))
}
