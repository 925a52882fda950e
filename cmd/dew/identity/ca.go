package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// The roles that a process can have.
const (
	API       = "api"
	Stager    = "stager"
	Scheduler = "scheduler"
	Cell      = "cell"
	Router    = "router"
)

// CA signs the identities of one foundation.
type CA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Life of a CA and of an identity, unless told otherwise.
const (
	caLife = 10 * 365 * 24 * time.Hour
	Life   = 365 * 24 * time.Hour
)

// skew is how far clocks of two machines may be apart.
const skew = time.Hour

// OpenCA reads the CA kept in dir, or makes one there: ca.pem, and ca-key.pem,
// which only its owner may read and no role needs.
func OpenCA(dir string, now time.Time) (*CA, error) {
	cert, key := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca-key.pem")
	pair, err := tls.LoadX509KeyPair(cert, key)
	if errors.Is(err, fs.ErrNotExist) {
		return newCA(dir, cert, key, now)
	}
	if err != nil {
		return nil, fmt.Errorf("open the CA in %s: %w", dir, err)
	}
	private, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !pair.Leaf.IsCA {
		return nil, fmt.Errorf("open the CA in %s: it is no CA of dew's", dir)
	}
	return &CA{pair.Leaf, private}, nil
}

func newCA(dir, certFile, keyFile string, now time.Time) (*CA, error) {
	for _, name := range []string{certFile, keyFile} {
		if _, err := os.Lstat(name); err == nil {
			return nil, fmt.Errorf("make a CA: %s is there already, and its other half is not", name)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a CA: %w", err)
	}
	ca := &CA{key: key}
	ca.cert = &x509.Certificate{SerialNumber: serial(), Subject: pkix.Name{CommonName: "Dew foundation"}, NotBefore: now.Add(-skew), NotAfter: now.Add(caLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := ca.sign(ca.cert, key)
	if err != nil {
		return nil, fmt.Errorf("make a CA: %w", err)
	}
	private, err := keyPEM(key)
	if err != nil {
		return nil, fmt.Errorf("make a CA: %w", err)
	}
	err = errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(keyFile, private, 0o600), os.WriteFile(certFile, certPEM(der), 0o644))
	return ca, err
}

func (ca *CA) sign(template *x509.Certificate, key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, &key.PublicKey, ca.key)
	if err != nil {
		return nil, err
	}
	if template.IsCA {
		ca.cert, err = x509.ParseCertificate(der)
	}
	return der, err
}

var nameForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// CheckName refuses names that could not be a part of a host name.
func CheckName(name string) error {
	if !nameForm.MatchString(name) {
		return fmt.Errorf("name %.80q: want at most 63 lower-case letters, digits and '-' between them", name)
	}
	return nil
}

// Issue makes the file of a process.
func (ca *CA) Issue(role, name string, now time.Time, life time.Duration) ([]byte, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	if now.Add(life).After(ca.cert.NotAfter) {
		return nil, fmt.Errorf("the CA ends on %s, before that identity would", ca.cert.NotAfter.Format(time.DateOnly))
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make an identity: %w", err)
	}
	template := &x509.Certificate{SerialNumber: serial(), Subject: pkix.Name{CommonName: role + " " + name}, NotBefore: now.Add(-skew), NotAfter: now.Add(life),
		URIs: []*url.URL{{Scheme: scheme, Host: role, Path: "/" + name}}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := ca.sign(template, key)
	if err != nil {
		return nil, fmt.Errorf("make an identity: %w", err)
	}
	private, err := keyPEM(key)
	return bytes.Join([][]byte{private, certPEM(der), certPEM(ca.cert.Raw)}, nil), err
}

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func keyPEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), err
}

// serial is one that no other certificate has (RFC 5280 section 4.1.2.2).
func serial() *big.Int {
	b := make([]byte, 16)
	rand.Read(b) // never fails since Go 1.24
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b)
}
