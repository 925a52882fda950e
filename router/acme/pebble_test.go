package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/dewpaas/dew/router"
)

// TestAgainstPebble gets certificates from Let's Encrypt's own test server:
// proven through the router's own TLS listener, or through the plain one. A
// second router with the same folder has them without asking anybody.
func TestAgainstPebble(t *testing.T) {
	for _, proof := range []string{"tls", "http"} {
		t.Run(proof, func(t *testing.T) { testAgainstPebble(t, proof) })
	}
}

func testAgainstPebble(t *testing.T, proof string) {
	pebble := os.Getenv("PEBBLE")
	if pebble == "" {
		t.Skip("needs PEBBLE=path of the pebble program (go install github.com/letsencrypt/pebble/v2/cmd/pebble@latest)")
	}
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Header.Get("X-Forwarded-Proto"))
	}))
	defer app.Close()
	table := router.NewTable()
	err := table.Apply(router.Change{Put: []router.Route{{Key: router.Key{Host: "localhost"}, Endpoints: []router.Endpoint{{Address: app.Listener.Addr().String()}}}}})
	if err != nil {
		t.Fatal(err)
	}
	front, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	port := front.Addr().(*net.TCPAddr).Port
	config := Config{Dir: t.TempDir(), Port: port, Routed: table.Routed}
	var end func()
	if proof == "tls" {
		config.Authority, config.Roots, end = startPebble(t, pebble, 1, port)
	} else {
		plain, err := net.Listen("tcp", "localhost:0")
		if err != nil {
			t.Fatal(err)
		}
		config.HTTPPort = plain.Addr().(*net.TCPAddr).Port
		config.Authority, config.Roots, end = startPebble(t, pebble, config.HTTPPort, 1)
		defer plain.Close()
		var a *Authority
		defer func() { a.Close() }()
		if a, err = New(config); err != nil {
			t.Fatal(err)
		}
		go http.Serve(plain, a.Challenges(http.NotFoundHandler()))
	}
	a, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	s := router.New(router.Config{Table: table, TLS: a.TLS()})
	go s.ServeTLS(front)
	getsOne(t, front.Addr().String())
	s.Close()
	a.Close()
	end()
	again, err := net.Listen("tcp", front.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if a, err = New(config); err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	s = router.New(router.Config{Table: table, TLS: a.TLS()})
	defer s.Close()
	go s.ServeTLS(again)
	getsOne(t, again.Addr().String())
}

// getsOne asks over HTTPS, and for HTTP/2, whether there is a certificate.
func getsOne(t *testing.T, address string) {
	t.Helper()

	var issuer string
	client := &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(c tls.ConnectionState) error {
			issuer = c.PeerCertificates[0].Issuer.CommonName
			return c.PeerCertificates[0].VerifyHostname("localhost")
		}},
	}}
	// By name, so that SNI is sent.
	client.Transport.(*http.Transport).DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}
	p, err := client.Get("https://localhost/")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Body.Close()
	if body, _ := io.ReadAll(p.Body); string(body) != "https" || p.ProtoMajor != 2 {
		t.Errorf("%s %q", p.Proto, body)
	}
	t.Logf("issued by %s", issuer)
}

// startPebble runs an authority that has names proven on the given ports.
func startPebble(t *testing.T, program string, httpPort, tlsPort int) (directory string, roots *x509.CertPool, end func()) {
	ca, err := router.NewDevelopmentCA(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Config().GetCertificate(&tls.ClientHelloInfo{ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(leaf.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	free, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": address, "managementListenAddress": "", "certificate": filepath.Join(dir, "cert.pem"), "privateKey": filepath.Join(dir, "key.pem"),
		"httpPort": httpPort, "tlsPort": tlsPort, "profiles": map[string]any{"default": map[string]any{"description": "", "validityPeriod": 86400}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"cert.pem":    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Certificate[0]}),
		"key.pem":     pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
		"config.json": config,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program, "-config", filepath.Join(dir, "config.json"))
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0")
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end = func() {
		cmd.Process.Kill()
		cmd.Wait()
	}
	t.Cleanup(func() {
		end()
		if t.Failed() {
			b, _ := os.ReadFile(out.Name())
			t.Logf("pebble: %s", b)
		}
	})
	for end := time.Now().Add(time.Minute); ; {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatal("pebble did not start")
		}
	}
	_, at, _ := net.SplitHostPort(address)
	return "https://localhost:" + at + "/dir", ca.Pool(), end
}
