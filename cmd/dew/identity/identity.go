package identity

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// scheme of the URI that a certificate says who it is of with.
const scheme = "dew"

// Peer is who a certificate is of.
type Peer struct{ Role, Name string }

func (p Peer) String() string { return p.Role + " " + p.Name }

// Identity is that of this process.
type Identity struct {
	Peer
	file  string
	roots *x509.CertPool

	mu      sync.Mutex // guards what follows
	pair    *tls.Certificate
	changed time.Time // the file's time
}

// Load reads a file that Issue made. Others than its owner must not be able to
// read it.
func Load(file string) (*Identity, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("load the identity: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("load the identity: others may read %s: chmod 600 it", file)
	}
	i := &Identity{file: file}
	if err := i.read(info.ModTime()); err != nil {
		return nil, err
	}
	return i, nil
}

func (i *Identity) read(changed time.Time) error {
	pair, err := tls.LoadX509KeyPair(i.file, i.file)
	if err != nil {
		return fmt.Errorf("load the identity: %w", err)
	}
	if len(pair.Certificate) != 2 {
		return fmt.Errorf("load the identity: %s holds %d certificates, want its own and the CA's", i.file, len(pair.Certificate))
	}
	ca, err := x509.ParseCertificate(pair.Certificate[1])
	if err != nil {
		return fmt.Errorf("load the identity: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	peer, err := verify(pair.Leaf, roots)
	if err != nil {
		return fmt.Errorf("load the identity of %s: %w", i.file, err)
	}
	if i.pair != nil && (peer != i.Peer || !roots.Equal(i.roots)) {
		return fmt.Errorf("load the identity: %s is now of somebody else, %s", i.file, peer)
	}
	pair.Certificate = pair.Certificate[:1] // peers have the CA's
	i.Peer, i.roots, i.pair, i.changed = peer, roots, &pair, changed
	return nil
}

// current is the certificate, read again if the file was renewed. One that
// cannot be used leaves the last in place.
func (i *Identity) current() *tls.Certificate {
	i.mu.Lock()
	defer i.mu.Unlock()
	if info, err := os.Stat(i.file); err == nil && !info.ModTime().Equal(i.changed) {
		i.read(info.ModTime())
	}
	return i.pair
}

// verify tells who a certificate is of.
func verify(c *x509.Certificate, roots *x509.CertPool) (Peer, error) {
	_, err := c.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		return Peer{}, err
	}
	if len(c.URIs) != 1 || c.URIs[0].Scheme != scheme {
		return Peer{}, errors.New("the certificate says nothing about a role")
	}
	return Peer{c.URIs[0].Host, strings.TrimPrefix(c.URIs[0].Path, "/")}, nil
}

// Of tells who is at the other end of a connection whose handshake is done.
func (i *Identity) Of(s tls.ConnectionState) (Peer, error) {
	if len(s.PeerCertificates) == 0 {
		return Peer{}, errors.New("the peer has no certificate")
	}
	return verify(s.PeerCertificates[0], i.roots)
}

// Server is for a listener that peers of the given roles may connect to.
func (i *Identity) Server(roles ...string) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAnyClientCert, NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return i.current(), nil },
		VerifyConnection: func(s tls.ConnectionState) error {
			p, err := i.Of(s)
			if err == nil && !slices.Contains(roles, p.Role) {
				err = fmt.Errorf("%s may not connect to %s", p, i.Peer)
			}
			return err
		}}
}

// Client is for connections to a peer of a role, and of a name unless that is "".
func (i *Identity) Client(role, name string) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13,
		InsecureSkipVerify:   true, // VerifyConnection checks more than a host's name
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return i.current(), nil },
		VerifyConnection: func(s tls.ConnectionState) error {
			p, err := i.Of(s)
			if err == nil && (p.Role != role || name != "" && p.Name != name) {
				err = fmt.Errorf("%s answers where %s was to be", p, Peer{role, name})
			}
			return err
		}}
}
