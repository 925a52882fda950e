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

// TestAgainstPebble gets a certificate from Let's Encrypt's own test server,
// through the router's own TLS listener.
func TestAgainstPebble(t *testing.T) {
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
	directory, roots := startPebble(t, pebble, port)
	a, err := New(Config{Dir: t.TempDir(), Authority: directory, Roots: roots, Port: port, Routed: table.Routed})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	s := router.New(router.Config{Table: table, TLS: a.TLS()})
	defer s.Close()
	go s.ServeTLS(front)

	var issuer string
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(c tls.ConnectionState) error {
			issuer = c.PeerCertificates[0].Issuer.CommonName
			return c.PeerCertificates[0].VerifyHostname("localhost")
		}},
	}}
	// By name, so that SNI is sent.
	client.Transport.(*http.Transport).DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", front.Addr().String())
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

// startPebble runs an authority that proves names on the given port.
func startPebble(t *testing.T, program string, port int) (directory string, roots *x509.CertPool) {
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
		"httpPort": 1, "tlsPort": port, "profiles": map[string]any{"default": map[string]any{"description": "", "validityPeriod": 86400}},
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
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			b, _ := os.ReadFile(out.Name())
			t.Logf("pebble: %s", b)
		}
	})
	for end := time.Now().Add(10 * time.Second); ; {
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
	return "https://localhost:" + at + "/dir", ca.Pool()
}
