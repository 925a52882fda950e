package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

func TestNewWantsItsConfig(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("accepted a configuration without a directory")
	}
}

// TestStrangersNamesCostNothing: a name without a route never reaches the
// authority; one with a route does.
func TestStrangersNamesCostNothing(t *testing.T) {
	var asked atomic.Int64
	var enough atomic.Pointer[context.CancelFunc]
	authority := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		(*enough.Load())()
		http.Error(w, "not today", http.StatusServiceUnavailable)
	}))
	defer authority.Close()
	roots := x509.NewCertPool()
	roots.AddCert(authority.Certificate())
	a, err := New(Config{Dir: t.TempDir(), Authority: authority.URL, Roots: roots, Port: 1, Routed: func(h string) bool { return h == "app.test" }})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if c := a.TLS(); c.NextProtos[0] != "h2" || !slices.Contains(c.NextProtos, "acme-tls/1") {
		t.Errorf("protocols %v", c.NextProtos)
	}
	for name, want := range map[string]bool{"stranger.test": false, "10.0.0.1": false, "app.test": true} {
		asked.Store(0)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		enough.Store(&cancel)
		handshake(ctx, a.TLS(), name)
		cancel()
		if got := asked.Load() > 0; got != want {
			t.Errorf("%s: authority asked: %v, want %v", name, got, want)
		}
	}
}

// handshake goes on, with the authority too, until it has failed or ctx ends.
func handshake(ctx context.Context, c *tls.Config, name string) {
	near, far := net.Pipe()
	go func() {
		tls.Client(near, &tls.Config{ServerName: name, InsecureSkipVerify: true}).HandshakeContext(ctx)
		near.Close()
	}()
	tls.Server(far, c).HandshakeContext(ctx)
	far.Close()
}
