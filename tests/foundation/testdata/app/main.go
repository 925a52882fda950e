// Command app counts its requests and says who it is.
package main

import (
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

var version = "1"

func main() {
	var count atomic.Int64
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s %d", version, os.Getenv("CF_INSTANCE_INDEX"), os.Getenv("CF_INSTANCE_GUID"), count.Add(1))
	})
	http.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Second)
		fmt.Fprint(w, "slow")
	})
	http.HandleFunc("/exit", func(w http.ResponseWriter, r *http.Request) { os.Exit(3) })
	fmt.Println("version", version)
	fmt.Println(http.ListenAndServe(":"+os.Getenv("PORT"), nil))
}
