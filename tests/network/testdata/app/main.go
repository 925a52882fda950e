// Program app is a service with everything that talks: it serves over HTTP,
// HTTP/2, WebSocket, gRPC, TCP and UDP, and asks others when it is told to.
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) > 1 {
		waits[os.Args[1]]()
		return
	}
	go serveUDP(":9999")
	go serveTCP(":7777")
	go serveRPC(":9090")
	mux := http.NewServeMux()
	for pattern, handler := range handlers {
		mux.HandleFunc(pattern, handler)
	}
	go serveTLS(":8443", mux)
	l, err := net.Listen("tcp", ":8080")
	if err != nil {
		log.Fatal(err)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() {
		<-stop
		fmt.Println("stopping")
		l.Close()
	}()
	fmt.Println("ready")
	http.Serve(l, mux)
}

// serveUDP sends every datagram back.
func serveUDP(addr string) {
	c, err := net.ListenPacket("udp", addr)
	if err != nil {
		log.Fatal(err)
	}
	buf := make([]byte, 65536)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			log.Print("udp: ", err)
			continue
		}
		c.WriteTo(buf[:n], from)
	}
}

// serveTCP reads to the end of a connection and only then answers with all of it.
func serveTCP(addr string) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		log.Fatal(err)
	}
	for {
		c, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			defer c.Close()
			b, err := io.ReadAll(c)
			if err != nil {
				log.Print("tcp: ", err)
				return
			}
			c.Write(b)
		}()
	}
}
