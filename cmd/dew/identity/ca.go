package identity

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net/url"
	"regexp"
	"time"

	"github.com/dewpaas/dew/router/authority"
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
type CA struct{ *authority.CA }

// Life of a CA and of an identity, unless told otherwise.
const (
	caLife = 10 * 365 * 24 * time.Hour
	Life   = 365 * 24 * time.Hour
)

// OpenCA reads the CA kept in dir, or makes one there: ca.pem, and ca-key.pem,
// which only its owner may read and no role needs.
func OpenCA(dir string, now time.Time) (*CA, error) {
	ca, err := authority.Open(dir, "Dew foundation", now, caLife)
	return &CA{ca}, err
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
	der, key, err := ca.CA.Issue(&x509.Certificate{Subject: pkix.Name{CommonName: role + " " + name}, NotAfter: now.Add(life),
		URIs: []*url.URL{{Scheme: scheme, Host: role, Path: "/" + name}}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}, now)
	if err != nil {
		return nil, fmt.Errorf("make an identity: %w", err)
	}
	private, err := authority.KeyPEM(key)
	return bytes.Join([][]byte{private, authority.CertPEM(der), authority.CertPEM(ca.Certificate().Raw)}, nil), err
}
