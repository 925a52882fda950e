// Command app does what the cell's tests tell it to.
package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	verb := "serve"
	if len(os.Args) > 1 {
		verb = os.Args[1]
	}
	switch verb {
	case "exit":
		fmt.Println("last words")
		status, _ := strconv.Atoi(os.Args[2])
		os.Exit(status)
	case "hog":
		var all [][]byte
		for {
			all = append(all, bytes.Repeat([]byte{1}, 1<<20))
		}
	case "panic":
		panic("all is lost")
	case "nil":
		var p *struct{ x int }
		p.x = 1
	case "deadlock":
		var mu sync.Mutex
		mu.Lock()
		mu.Lock()
	case "exec":
		fmt.Println(exec.Command("/bin/sh", "-c", "id").Run())
		os.Exit(1)
	case "wall":
		forbidden()
	case "silent":
		time.Sleep(time.Hour)
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
	case "graceful":
		term := make(chan os.Signal, 1)
		signal.Notify(term, syscall.SIGTERM)
		go func() {
			<-term
			fmt.Println("asked to end")
			os.Exit(0)
		}()
	}
	serve()
}

// forbidden makes the system call socket past the library OS.
func forbidden()

func serve() {
	var count, unready atomic.Int64
	http.HandleFunc("/count", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, count.Add(1)) })
	http.HandleFunc("/env", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, strings.Join(os.Environ(), "\n")) })
	http.HandleFunc("/exit", func(w http.ResponseWriter, r *http.Request) { os.Exit(9) })
	http.HandleFunc("/unready", func(w http.ResponseWriter, r *http.Request) { unready.Store(1) })
	http.HandleFunc("/ready", func(w http.ResponseWriter, r *http.Request) {
		if unready.Load() == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	http.HandleFunc("/write", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.FormValue("bytes"))
		fmt.Fprint(w, os.WriteFile("/tmp/file", make([]byte, n), 0o600))
	})
	http.HandleFunc("/burn", func(w http.ResponseWriter, r *http.Request) {
		for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		}
	})
	http.HandleFunc("/log", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.FormValue("lines"))
		for i := range n {
			fmt.Printf("line %d %s\n", i, strings.Repeat("x", 90))
		}
	})
	http.HandleFunc("/dial", func(w http.ResponseWriter, r *http.Request) {
		c, err := net.DialTimeout("tcp", r.FormValue("to"), 2*time.Second)
		if err != nil {
			fmt.Fprint(w, "no: ", err)
			return
		}
		c.Close()
		fmt.Fprint(w, "yes")
	})
	fmt.Fprintln(os.Stderr, "serving")
	fmt.Println(http.ListenAndServe(":"+os.Getenv("PORT"), nil))
}
