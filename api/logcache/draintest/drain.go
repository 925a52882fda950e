package draintest

import (
	"bufio"
	"io"
	"net"
	"strconv"
	"strings"
)

// Accept hands on the messages of all connections, until l is closed.
func Accept(l net.Listener, out chan<- string) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close() // only read
			Frames(conn, out)
		}()
	}
}

// Frames hands on the messages of one connection, without their lengths.
func Frames(conn io.Reader, out chan<- string) {
	in := bufio.NewReader(conn)
	for {
		size, err := in.ReadString(' ')
		if err != nil {
			return
		}
		n, err := strconv.Atoi(strings.TrimSpace(size))
		if err != nil {
			out <- "bad length " + size
			return
		}
		text := make([]byte, n)
		if _, err := io.ReadFull(in, text); err != nil {
			return
		}
		out <- string(text)
	}
}
