package router

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/dewpaas/dew/router/authority"
)

// DevelopmentCA signs a certificate for every host it is asked for. It is for
// machines of developers: whoever trusts it trusts whoever can read its key.
type DevelopmentCA struct {
	ca *authority.CA

	mu     sync.Mutex // guards leaves
	leaves map[string]*tls.Certificate
}

const (
	caName    = "Dew development CA"
	caLife    = 5 * 365 * 24 * time.Hour
	leafLife  = 30 * 24 * time.Hour
	maxLeaves = 1000
)

// NewDevelopmentCA makes a CA that exists in memory only.
func NewDevelopmentCA(now time.Time) (*DevelopmentCA, error) {
	ca, err := authority.New(caName, now, caLife)
	return &DevelopmentCA{ca: ca, leaves: map[string]*tls.Certificate{}}, err
}

// OpenDevelopmentCA reads the CA kept in dir, or makes one there. The key's
// file is readable by its owner only; ca.pem is what browsers must trust.
func OpenDevelopmentCA(dir string, now time.Time) (*DevelopmentCA, error) {
	ca, err := authority.Open(dir, caName, now, caLife)
	if err != nil {
		return nil, fmt.Errorf("development CA: %w", err)
	}
	return &DevelopmentCA{ca: ca, leaves: map[string]*tls.Certificate{}}, nil
}

// Pool returns the CA as something to trust.
func (ca *DevelopmentCA) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(ca.ca.Certificate())
	return p
}

// Config returns a server configuration that signs as names come.
func (ca *DevelopmentCA) Config() *tls.Config {
	return serverTLS(func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
		if name == "" { // by address
			host, _, err := net.SplitHostPort(hello.Conn.LocalAddr().String())
			if err != nil {
				return nil, err
			}
			name = host
		}
		return ca.leaf(name, time.Now())
	})
}

// serverTLS is what every TLS listener of the router has in common.
func serverTLS(get func(*tls.ClientHelloInfo) (*tls.Certificate, error)) *tls.Config {
	return &tls.Config{GetCertificate: get, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
}

// leaf returns a certificate for name, which comes from a stranger: the
// number kept is bounded.
func (ca *DevelopmentCA) leaf(name string, now time.Time) (*tls.Certificate, error) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	if c := ca.leaves[name]; c != nil && !now.Before(c.Leaf.NotBefore) && now.Before(c.Leaf.NotAfter.Add(-time.Hour)) { // neither if the clock was set
		return c, nil
	}
	if len(name) > 253 {
		return nil, errors.New("server name too long")
	}
	template := &x509.Certificate{Subject: pkix.Name{Organization: []string{"Dew development"}}, NotAfter: now.Add(leafLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	der, key, err := ca.ca.Issue(template, now)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	if len(ca.leaves) >= maxLeaves {
		clear(ca.leaves)
	}
	ca.leaves[name] = &tls.Certificate{Certificate: [][]byte{der, ca.ca.Certificate().Raw}, PrivateKey: key, Leaf: leaf}
	return ca.leaves[name], nil
}
