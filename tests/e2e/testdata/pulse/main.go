// Command pulse says "tick" to TARGET ten times a second over one connection, and
// tells in its log why it cannot. Its web page looks a name up.
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"time"
)

func main() {
	go beat(os.Getenv("TARGET"))
	http.HandleFunc("/lookup/{name}", func(w http.ResponseWriter, r *http.Request) {
		addrs, err := net.DefaultResolver.LookupHost(r.Context(), r.PathValue("name"))
		fmt.Fprint(w, addrs, err)
	})
	log.Fatal(http.ListenAndServe(":"+os.Getenv("PORT"), nil))
}

func beat(target string) {
	for {
		c, err := net.DialTimeout("tcp", target, 5*time.Second)
		for err == nil {
			_, err = fmt.Fprintln(c, "tick")
			time.Sleep(100 * time.Millisecond)
		}
		log.Print(err)
		time.Sleep(200 * time.Millisecond)
	}
}
