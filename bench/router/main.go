package main

import (
	"bufio"
	"flag"
	"log"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"sync"
	"time"

	"github.com/dewpaas/dew/router"
)

// lines writes the access log through one buffer, as a role would.
type lines struct {
	mu sync.Mutex
	w  *bufio.Writer
}

func (l *lines) Request(_ string, _ int, _ time.Time, line []byte) {
	l.mu.Lock()
	l.w.Write(line)
	l.w.WriteByte('\n')
	l.mu.Unlock()
}

func main() {
	listen := flag.String("listen", "127.0.0.1:8110", "address for clients")
	to := flag.String("to", "127.0.0.1:8080", "address of the app")
	host := flag.String("host", "app.example.com", "host of the route")
	logTo := flag.String("log", "", "file for the access log; none")
	profile := flag.String("pprof", "", "address for profiles; none")
	flag.Parse()

	table := router.NewTable()
	err := table.Apply(router.Change{Full: true, Put: []router.Route{{
		Key:       router.Key{Host: *host},
		Endpoints: []router.Endpoint{{Instance: "i-0", App: "a", Process: "a", Address: *to}},
	}}})
	if err != nil {
		log.Fatal(err)
	}
	cfg := router.Config{Table: table}
	if *logTo != "" {
		f, err := os.Create(*logTo)
		if err != nil {
			log.Fatal(err)
		}
		cfg.AccessLog = &lines{w: bufio.NewWriterSize(f, 64<<10)}
	}
	if *profile != "" {
		go func() { log.Fatal(http.ListenAndServe(*profile, nil)) }()
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(router.New(cfg).Serve(l))
}
