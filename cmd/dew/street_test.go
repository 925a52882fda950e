package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dewpaas/dew/router"
)

// openStreet serves a router whose house tells how it was asked.
func openStreet(t *testing.T, flags streetFlags, public string) (s *street, data, said string) {
	t.Helper()
	flags.Listen, flags.TLSListen, data = "127.0.0.1:0", "127.0.0.1:0", t.TempDir()
	var out bytes.Buffer
	s, err := flags.listen(public, "apps.test")
	if err != nil {
		t.Fatal(err)
	}
	err = s.certify(&console{out: &out}, data, func(string) bool { return true }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	house := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s", r.Proto, r.Host)
	})
	r := router.New(router.Config{Table: router.NewTable(), House: house, Ours: func(string) bool { return true }, TLS: s.tls})
	ended := make(chan error, 1)
	go func() { ended <- s.serve(r) }()
	t.Cleanup(func() {
		if err := errors.Join(s.shutdown(t.Context(), r), s.close(), <-ended); err != nil && !errors.Is(err, t.Context().Err()) {
			t.Error(err)
		}
	})
	return s, data, out.String()
}

// browser trusts the certificates of a file and follows nobody.
func browser(t *testing.T, file string) *http.Client {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func TestDevelopmentCA(t *testing.T) {
	s, data, said := openStreet(t, streetFlags{TLS: true, Plain: "redirect"}, "")
	file := filepath.Join(data, "tls", "ca.pem")
	if !strings.Contains(said, file) {
		t.Errorf("nobody is told what to trust: %s", said)
	}
	if want := "https://localhost" + portOf(s.secure, 443); s.public != want {
		t.Errorf("the API is at %s, want %s", s.public, want)
	}
	c := browser(t, file)
	a, err := c.Get(s.public + "/v3")
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(a.Body)
	a.Body.Close()
	if !strings.HasPrefix(string(b), "HTTP/2.0 localhost:") {
		t.Errorf("%s", b)
	}
	for _, method := range []string{"GET", "POST"} {
		q, err := http.NewRequest(method, "http://"+s.plain.Addr().String()+"/a?b=c", nil)
		if err != nil {
			t.Fatal(err)
		}
		q.Host = "app.apps.test:1234"
		a, err := c.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		a.Body.Close()
		if want := "https://app.apps.test" + portOf(s.secure, 443) + "/a?b=c"; a.StatusCode != 308 || a.Header.Get("Location") != want {
			t.Errorf("%s: %d to %s, want 308 to %s", method, a.StatusCode, a.Header.Get("Location"), want)
		}
	}
}

// TestOwnCertificate: plain HTTP may stay, and what leads to us from 443 shows
// in no URL.
func TestOwnCertificate(t *testing.T) {
	ca, err := router.OpenDevelopmentCA(t.TempDir(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cert, key := writeLeaf(t, ca, "localhost")
	s, _, _ := openStreet(t, streetFlags{TLSCert: cert, TLSKey: key, Plain: "serve"}, "https://api.example.com/")
	if s.public != "https://api.example.com" || s.apps("apps.test") != "https://NAME.apps.test" {
		t.Errorf("%s, %s", s.public, s.apps("apps.test"))
	}
	c := browser(t, cert)
	for url, want := range map[string]string{
		"https://localhost" + portOf(s.secure, 443): "HTTP/2.0", "http://localhost" + portOf(s.plain, 80): "HTTP/1.1"} {
		a, err := c.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(a.Body)
		a.Body.Close()
		if !strings.HasPrefix(string(b), want) {
			t.Errorf("%s: %s, want %s", url, b, want)
		}
	}
}

func TestWrongStreets(t *testing.T) {
	for name, c := range map[string]struct {
		flags  streetFlags
		public string
		want   string
	}{
		"key alone":         {streetFlags{TLSKey: "k"}, "", "belong together"},
		"roots alone":       {streetFlags{Roots: "r"}, "", "--acme"},
		"no address":        {streetFlags{ACME: "me"}, "", "address"},
		"no URL":            {streetFlags{}, "api.example.com", "no address of an API"},
		"URL with a path":   {streetFlags{}, "http://a.example.com/cf", "no address of an API"},
		"no such file":      {streetFlags{TLSCert: "/nowhere/c", TLSKey: "/nowhere/k"}, "", "no such file"},
		"taken address":     {streetFlags{Listen: "192.0.2.1:1"}, "", "listen"},
		"roots are no PEM":  {streetFlags{ACME: "a@b.c", Roots: "street.go"}, "", "no certificate"},
		"wrong TLS address": {streetFlags{TLS: true, TLSListen: "x"}, "", "listen"},
	} {
		if c.flags.Listen == "" {
			c.flags.Listen = "127.0.0.1:0"
		}
		if c.flags.TLSListen == "" {
			c.flags.TLSListen = "127.0.0.1:0"
		}
		s, err := c.flags.listen(c.public, "apps.test")
		if err == nil {
			err = s.certify(&console{out: io.Discard}, t.TempDir(), nil, slog.New(slog.DiscardHandler))
			s.close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// writeLeaf writes a certificate for a host, with its CA behind it, and its key.
func writeLeaf(t *testing.T, ca *router.DevelopmentCA, host string) (cert, key string) {
	t.Helper()
	leaf, err := ca.Config().GetCertificate(&tls.ClientHelloInfo{ServerName: host})
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(leaf.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	var chain bytes.Buffer
	for _, c := range leaf.Certificate {
		pem.Encode(&chain, &pem.Block{Type: "CERTIFICATE", Bytes: c})
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	err = errors.Join(os.WriteFile(cert, chain.Bytes(), 0o600), os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}
