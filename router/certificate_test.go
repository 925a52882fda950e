package router

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestDevelopmentCAIsKept(t *testing.T) {
	dir, now := filepath.Join(t.TempDir(), "ca"), time.Now()
	first, err := OpenDevelopmentCA(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	second, err := OpenDevelopmentCA(dir, now)
	if err != nil || !second.Pool().Equal(first.Pool()) {
		t.Fatalf("another CA after opening again: %v", err)
	}
	info, err := os.Stat(filepath.Join(dir, "ca-key.pem"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key: %v %v", info.Mode(), err)
	}
	leaf, err := second.leaf("app.test", now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leaf.Leaf.Verify(x509.VerifyOptions{Roots: first.Pool(), DNSName: "app.test", CurrentTime: now}); err != nil {
		t.Error(err)
	}
	if again, _ := second.leaf("app.test", now); again != leaf {
		t.Error("signed twice")
	}
	if earlier, _ := second.leaf("app.test", now.AddDate(-1, 0, 0)); earlier == leaf {
		t.Error("a clock that was set back gets a certificate that is not valid yet")
	}
	leaf, _ = second.leaf("app.test", now)
	if later, _ := second.leaf("app.test", now.Add(leafLife)); later == leaf {
		t.Error("an expired leaf was kept")
	}
	os.WriteFile(filepath.Join(dir, "ca.pem"), []byte("broken"), 0o600)
	if _, err := OpenDevelopmentCA(dir, now); err == nil {
		t.Error("a broken CA was replaced without a word")
	}
}

func TestLeavesAreBounded(t *testing.T) {
	ca, err := NewDevelopmentCA(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxLeaves {
		ca.leaves[string(rune(i))+".test"] = nil
	}
	if _, err := ca.leaf("one.more", time.Now()); err != nil || len(ca.leaves) > maxLeaves {
		t.Errorf("%d leaves, %v", len(ca.leaves), err)
	}
}

func writePair(t *testing.T, dir string, c *tls.Certificate) (cert, key string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "c"), filepath.Join(dir, "k")
	for name, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: c.Certificate[0]}, key: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestOwnCertificateIsReadAgain(t *testing.T) {
	ca, err := NewDevelopmentCA(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	a, _ := ca.leaf("a.test", time.Now())
	b, _ := ca.leaf("b.test", time.Now())
	dir := t.TempDir()
	cert, key := writePair(t, dir, a)
	if _, err := CertificateFiles(cert, cert, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("accepted a certificate as its key")
	}
	var said bytes.Buffer
	f := &certificateFiles{cert: cert, key: key, log: slog.New(slog.NewTextHandler(&said, nil))}
	now := time.Now()
	if err := f.read(now); err != nil {
		t.Fatal(err)
	}
	has := func(c *tls.Certificate, at time.Time) bool {
		return bytes.Equal(f.get(at).Certificate[0], c.Certificate[0])
	}
	writePair(t, dir, b)
	os.Chtimes(cert, now.Add(time.Hour), now.Add(time.Hour))
	if !has(a, now.Add(lookAgain/2)) || !has(b, now.Add(lookAgain)) {
		t.Error("a new certificate is not taken within a minute")
	}
	os.WriteFile(cert, []byte("half"), 0o600)
	if !has(b, now.Add(3*lookAgain)) {
		t.Error("a broken file replaced a good certificate")
	}
	if !strings.Contains(said.String(), "the certificate stays as it was") {
		t.Errorf("nobody was told of a broken file: %s", &said)
	}
}
