// Command app says which instance it is.
package main

import (
	"fmt"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s/%s", os.Getenv("CF_INSTANCE_INDEX"), os.Getenv("CF_INSTANCE_GUID"))
	})
	fmt.Println(http.ListenAndServe(":"+os.Getenv("PORT"), nil))
}
