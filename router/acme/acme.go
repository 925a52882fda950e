package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// Config says where certificates come from and where they are kept.
type Config struct {
	Dir       string // keys and certificates, kept over restarts; required
	Email     string // where the authority sends warnings; may be empty
	Authority string // directory URL; Let's Encrypt
	// Roots is trusted for talking to the authority itself; the system's.
	Roots *x509.CertPool
	// Port is that of the router's TLS listener, if it is not 443. The authority
	// comes to 443: somebody must lead from there to here.
	Port int
	// HTTPPort is that of the plain listener that Challenges serves, to which the
	// same applies for 80. 0: there is none, and proof is by TLS alone.
	HTTPPort int
	// Routed reports whether a host has a route: router.Table's Routed.
	Routed func(host string) bool
}

// Authority keeps certificates fresh. Close ends that.
type Authority struct {
	cache  *certmagic.Cache
	magic  *certmagic.Config
	issuer *certmagic.ACMEIssuer
}

// maxCertificates bounds what is held in memory; more are read from disk again.
const maxCertificates = 10_000

// New returns an authority that asks for nothing yet.
func New(c Config) (*Authority, error) {
	if c.Dir == "" || c.Routed == nil {
		return nil, errors.New("acme: a directory and a test for routes are required")
	}
	a := &Authority{}
	a.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return a.magic, nil },
		Capacity:         maxCertificates,
		Logger:           zap.NewNop(),
	})
	a.magic = certmagic.New(a.cache, certmagic.Config{
		Storage:  &certmagic.FileStorage{Path: c.Dir},
		OnDemand: &certmagic.OnDemandConfig{DecisionFunc: decide(c.Routed)},
		Logger:   zap.NewNop(),
	})
	issuer := certmagic.ACMEIssuer{
		CA: c.Authority, Email: c.Email, Agreed: true, TrustedRoots: c.Roots,
		DisableHTTPChallenge: c.HTTPPort == 0, AltHTTPPort: c.HTTPPort, AltTLSALPNPort: c.Port, Logger: zap.NewNop(),
	}
	if c.Authority == "" {
		issuer.CA = certmagic.LetsEncryptProductionCA
	}
	a.issuer = certmagic.NewACMEIssuer(a.magic, issuer)
	a.magic.Issuers = []certmagic.Issuer{a.issuer}
	return a, nil
}

// Challenges answers the authority's questions over plain HTTP, and leaves what
// is none to next.
func (a *Authority) Challenges(next http.Handler) http.Handler {
	return a.issuer.HTTPChallengeHandler(next)
}

// decide is asked before anything is asked of the authority.
func decide(routed func(string) bool) func(context.Context, string) error {
	return func(_ context.Context, host string) error {
		if net.ParseIP(host) != nil || !routed(host) {
			return fmt.Errorf("%q has no route", host)
		}
		return nil
	}
}

// TLS is what the router's TLS listener needs.
func (a *Authority) TLS() *tls.Config {
	c := a.magic.TLSConfig()
	c.MinVersion = tls.VersionTLS12
	c.NextProtos = append([]string{"h2", "http/1.1"}, c.NextProtos...)
	return c
}

// Close stops the renewals.
func (a *Authority) Close() { a.cache.Stop() }
