package authority

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestKeptAndSigned(t *testing.T) {
	dir, now := filepath.Join(t.TempDir(), "ca"), time.Now()
	first, err := Open(dir, "test", now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Open(dir, "other", now, time.Hour)
	if err != nil || !again.Certificate().Equal(first.Certificate()) {
		t.Fatalf("not kept: %v", err)
	}
	if info, err := os.Stat(filepath.Join(dir, "ca-key.pem")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(first.Certificate())
	seen := map[string]bool{}
	for range 3 {
		der, key, err := again.Issue(&x509.Certificate{Subject: pkix.Name{CommonName: "leaf"}, NotAfter: now.Add(time.Minute)}, now)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil || !key.PublicKey.Equal(leaf.PublicKey) {
			t.Error(err)
		}
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, CurrentTime: now.Add(time.Hour)}); err == nil {
			t.Error("it does not end")
		}
		if seen[leaf.SerialNumber.String()] || leaf.SerialNumber.Sign() <= 0 {
			t.Errorf("serial number %s", leaf.SerialNumber)
		}
		seen[leaf.SerialNumber.String()] = true
	}
	if _, _, err := again.Issue(&x509.Certificate{NotAfter: now.Add(2 * time.Hour)}, now); err == nil {
		t.Error("a certificate outlives its CA")
	}
}

func TestHalves(t *testing.T) {
	for _, half := range []string{"ca.pem", "ca-key.pem"} {
		dir := t.TempDir()
		if _, err := Open(dir, "test", time.Now(), time.Hour); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(dir, half)); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, "test", time.Now(), time.Hour); err == nil {
			t.Errorf("a new CA is made where %s is missing", half)
		}
	}
	dir := t.TempDir()
	for _, name := range []string{"ca.pem", "ca-key.pem"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("nonsense"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(dir, "test", time.Now(), time.Hour); err == nil {
		t.Error("nonsense is taken for a CA")
	}
}
