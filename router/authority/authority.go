package authority

import (
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
	"os"
	"path/filepath"
	"time"
)

// CA signs certificates.
type CA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// skew is how far clocks of two machines may be apart.
const skew = time.Hour

// New makes a CA of that name that exists in memory only.
func New(name string, now time.Time, life time.Duration) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a CA: %w", err)
	}
	t := &x509.Certificate{Subject: pkix.Name{CommonName: name}, NotAfter: now.Add(life), IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := sign(t, t, key, key, now)
	if err != nil {
		return nil, fmt.Errorf("make a CA: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	return &CA{cert, key}, err
}

// Open reads the CA kept in dir, or makes one there.
func Open(dir, name string, now time.Time, life time.Duration) (*CA, error) {
	certFile, keyFile := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca-key.pem")
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		for _, name := range []string{certFile, keyFile} {
			if _, err := os.Lstat(name); err == nil {
				return nil, fmt.Errorf("make a CA: %s is there already, and its other half is not", name)
			}
		}
		ca, err := New(name, now, life)
		if err != nil {
			return nil, err
		}
		return ca, ca.save(dir, certFile, keyFile)
	}
	if err != nil {
		return nil, fmt.Errorf("open the CA in %s: %w: remove both files to get a new one", dir, err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !pair.Leaf.IsCA {
		return nil, fmt.Errorf("open the CA in %s: it is no CA of dew's", dir)
	}
	return &CA{pair.Leaf, key}, nil
}

func (ca *CA) save(dir, certFile, keyFile string) error {
	key, err := KeyPEM(ca.key)
	if err != nil {
		return err
	}
	return errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(keyFile, key, 0o600), os.WriteFile(certFile, CertPEM(ca.cert.Raw), 0o644))
}

// Certificate is the CA's own.
func (ca *CA) Certificate() *x509.Certificate { return ca.cert }

// Issue makes a key and signs a certificate for it, good from now to the template's
// NotAfter. Serial number and beginning are set here.
func (ca *CA) Issue(template *x509.Certificate, now time.Time) (der []byte, key *ecdsa.PrivateKey, err error) {
	if template.NotAfter.After(ca.cert.NotAfter) {
		return nil, nil, fmt.Errorf("the CA ends on %s, before that certificate would", ca.cert.NotAfter.Format(time.DateOnly))
	}
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, nil, err
	}
	der, err = sign(template, ca.cert, key, ca.key, now)
	return der, key, err
}

func sign(template, parent *x509.Certificate, of, by *ecdsa.PrivateKey, now time.Time) ([]byte, error) {
	t := *template
	t.SerialNumber, t.NotBefore = serial(), now.Add(-skew)
	return x509.CreateCertificate(rand.Reader, &t, parent, &of.PublicKey, by)
}

// CertPEM is a certificate as a file has it.
func CertPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// KeyPEM is a key as a file has it.
func KeyPEM(key *ecdsa.PrivateKey) ([]byte, error) {
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
