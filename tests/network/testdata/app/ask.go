package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ask plays the client: what the query names is done with the address and the
// answer tells how it went.
func ask(w http.ResponseWriter, r *http.Request) {
	what, addr := r.FormValue("what"), r.FormValue("addr")
	ctx, cancel := context.WithTimeout(r.Context(), 30*time.Second)
	defer cancel()
	said, err := questions[what](ctx, addr)
	if err != nil {
		said = "error: " + err.Error()
	}
	fmt.Fprintln(w, said)
}

var questions = map[string]func(context.Context, string) (string, error){
	"name":     name,
	"get":      get,
	"datagram": datagram,
	"refused":  refused,
	"silent":   silent,
	"deadline": deadline,
	"halves":   halves,
	"many":     many,
}

func name(ctx context.Context, host string) (string, error) {
	addrs, err := net.DefaultResolver.LookupHost(ctx, host)
	return strings.Join(addrs, " "), err
}

// get fetches over HTTP or HTTPS, with a pinned certificate instead of a root.
func get(ctx context.Context, url string) (string, error) {
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return "", err
	}
	resp, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return fmt.Sprint(resp.Proto, " ", resp.StatusCode, " ", len(b), " ", string(b[:min(len(b), 60)])), err
}

func datagram(ctx context.Context, addr string) (string, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "udp", addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	for n := range 5 {
		sent := strings.Repeat(string(rune('a'+n)), 1+n*350)
		if _, err := c.Write([]byte(sent)); err != nil {
			return "", err
		}
		b := make([]byte, 2000)
		k, err := c.Read(b)
		if err != nil {
			return "", err
		}
		if string(b[:k]) != sent {
			return "", fmt.Errorf("%d bytes come back as %d", len(sent), k)
		}
	}
	return "5 came back", nil
}

func refused(ctx context.Context, addr string) (string, error) {
	var d net.Dialer
	_, err := d.DialContext(ctx, "tcp", addr)
	return fmt.Sprint(errors.Is(err, syscall.ECONNREFUSED)), nil
}

// silent dials where nobody answers at all.
func silent(ctx context.Context, addr string) (string, error) {
	d := net.Dialer{Timeout: 300 * time.Millisecond}
	begin := time.Now()
	_, err := d.DialContext(ctx, "tcp", addr)
	var e net.Error
	return fmt.Sprint(errors.As(err, &e) && e.Timeout(), time.Since(begin) >= 300*time.Millisecond), nil
}

// deadline reads from somebody who is silent, is moved and removed.
func deadline(ctx context.Context, addr string) (string, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	_, first := c.Read(make([]byte, 1))
	c.SetReadDeadline(time.Now().Add(time.Hour))
	done := make(chan error)
	go func() { _, err := c.Read(make([]byte, 1)); done <- err }()
	c.SetReadDeadline(time.Now())
	second := <-done
	c.SetReadDeadline(time.Time{})
	go func() { _, err := c.Read(make([]byte, 1)); done <- err }()
	c.Close()
	third := <-done
	return fmt.Sprint(errors.Is(first, os.ErrDeadlineExceeded), errors.Is(second, os.ErrDeadlineExceeded), errors.Is(third, net.ErrClosed)), nil
}

// halves sends, shuts its half, and reads the answer to the end.
func halves(ctx context.Context, addr string) (string, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	const size = 300_000
	go func() {
		io.Copy(c, &pattern{n: size})
		c.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil {
		return "", err
	}
	want, _ := io.ReadAll(&pattern{n: size})
	return fmt.Sprint(len(got), " ", string(got) == string(want)), nil
}

// many opens a hundred connections to itself at once, over loopback.
func many(ctx context.Context, addr string) (string, error) {
	var all sync.WaitGroup
	var mu sync.Mutex
	good := 0
	for range 100 {
		all.Go(func() {
			if said, err := halves(ctx, addr); err == nil && said == "300000 true" {
				mu.Lock()
				good++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return fmt.Sprint(good), nil
}
