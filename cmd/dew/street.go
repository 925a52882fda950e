package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dewpaas/dew/router"
	"github.com/dewpaas/dew/router/acme"
)

// streetFlags say how clients reach apps and the API.
type streetFlags struct {
	Listen    string         `default:":8080" help:"Address for plain HTTP."`
	TLSListen string         `name:"tls-listen" default:":8443" help:"Address for HTTPS, where one of the next three says where certificates come from."`
	TLS       bool           `name:"tls" xor:"tls" help:"HTTPS with certificates of a development CA, made in DATA/tls; clients must be told to trust it."`
	TLSCert   string         `name:"tls-cert" xor:"tls" type:"path" placeholder:"FILE" help:"HTTPS with this certificate (PEM, with its chain). Read again when it changes."`
	TLSKey    string         `name:"tls-key" type:"path" placeholder:"FILE" help:"The certificate's key (PEM)."`
	ACME      string         `name:"acme" xor:"tls" placeholder:"EMAIL" help:"HTTPS with certificates of Let's Encrypt, or of --acme-directory, for every host that has a route; EMAIL gets its warnings. Kept in DATA/acme."`
	Directory string         `name:"acme-directory" placeholder:"URL" help:"Another ACME authority."`
	Roots     string         `name:"acme-roots" type:"path" placeholder:"FILE" help:"Certificates (PEM) to trust when speaking to that authority."`
	Proxies   []netip.Prefix `placeholder:"NETWORK" help:"Where load balancers in front are, for example 10.0.0.0/28: their X-Forwarded-For and -Proto are believed, and logins are counted by client."`
	Plain     string         `enum:"redirect,serve,off" default:"redirect" help:"Where there is HTTPS, what is done with plain HTTP: ${enum}."`
}

// secure tells whether there is HTTPS.
func (s *streetFlags) secure() bool { return s.TLS || s.TLSCert != "" || s.ACME != "" }

// check refuses what contradicts itself.
func (s *streetFlags) check() error {
	switch {
	case (s.TLSCert == "") != (s.TLSKey == ""):
		return withHint(errors.New("a certificate and its key belong together"), "give both --tls-cert and --tls-key")
	case s.ACME == "" && (s.Directory != "" || s.Roots != ""):
		return withHint(errors.New("--acme-directory and --acme-roots say more about --acme"), "add --acme EMAIL")
	case s.ACME != "" && !strings.Contains(s.ACME, "@"):
		return fmt.Errorf("--acme %s: want the address that the authority writes to when something is wrong", s.ACME)
	}
	return nil
}

// street is what clients reach: the listeners of a router.
type street struct {
	flags         *streetFlags
	plain, secure net.Listener // nil: not served
	public        string       // URL of the API
	redirect      *http.Server // nil: plain is served as it is
	tls           *tls.Config
	acme          *acme.Authority // nil: certificates come from elsewhere
}

// listen takes the addresses, so that whoever cannot have them learns it first.
// public is how clients reach the API, or "" for what follows from the addresses.
func (s *streetFlags) listen(public, domain string) (_ *street, err error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	t := &street{flags: s}
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	if !s.secure() || s.Plain != "off" {
		if t.plain, err = net.Listen("tcp", s.Listen); err != nil {
			return nil, fmt.Errorf("listen: %w", err)
		}
	}
	if s.secure() {
		if t.secure, err = net.Listen("tcp", s.TLSListen); err != nil {
			return nil, fmt.Errorf("listen: %w", err)
		}
	}
	t.public, err = t.publicURL(public, domain)
	return t, err
}

// ports are those that clients reach.
func (t *street) ports() (list []uint16) {
	for _, l := range []net.Listener{t.plain, t.secure} {
		if l == nil {
			continue
		}
		if a, ok := l.Addr().(*net.TCPAddr); ok {
			list = append(list, uint16(a.Port))
		}
	}
	return list
}

func (t *street) publicURL(given, domain string) (string, error) {
	if given != "" {
		u, err := url.Parse(given)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
			return "", withHint(fmt.Errorf("--url %s is no address of an API", given), "for example --url https://api.example.com")
		}
		return strings.TrimSuffix(given, "/"), nil
	}
	switch {
	case t.secure == nil:
		return "http://localhost" + portOf(t.plain, 80), nil
	case t.flags.TLS:
		return "https://localhost" + portOf(t.secure, 443), nil
	}
	return "https://api." + domain + portOf(t.secure, 443), nil
}

// apps is the URL of an app, with NAME where its name comes.
func (t *street) apps(domain string) string {
	if t.secure != nil {
		return "https://NAME." + domain + t.securePort()
	}
	return "http://NAME." + domain + portOf(t.plain, 80)
}

// securePort is where clients find HTTPS: where the API's URL says, because
// somebody may lead from that port to ours, or else ours.
func (t *street) securePort() string {
	if u, err := url.Parse(t.public); err == nil && u.Scheme == "https" {
		if p := u.Port(); p != "" && p != "443" {
			return ":" + p
		}
		return ""
	}
	return portOf(t.secure, 443)
}

// portOf is the port of a listener as a URL needs it: ":8080", or "" for the
// scheme's own.
func portOf(l net.Listener, own int) string {
	if a, ok := l.Addr().(*net.TCPAddr); ok && a.Port != own {
		return fmt.Sprintf(":%d", a.Port)
	}
	return ""
}

// certify finds the certificates. data is the folder of the foundation, known
// tells whether a host is one of ours.
func (t *street) certify(c *console, data string, known func(host string) bool, log *slog.Logger) (err error) {
	s := t.flags
	if !s.secure() {
		return nil
	}
	switch {
	case s.TLS:
		err = t.develop(c, filepath.Join(data, "tls"))
	case s.TLSCert != "":
		if t.tls, err = router.CertificateFiles(s.TLSCert, s.TLSKey, log); err != nil {
			return withHint(err, "--tls-cert wants the certificate with its chain, --tls-key its key without a passphrase, both PEM")
		}
	default:
		err = t.ask(filepath.Join(data, "acme"), known)
	}
	if err == nil && s.Plain == "redirect" {
		t.redirect = t.redirector()
	}
	return err
}

// develop uses a CA of this foundation's own.
func (t *street) develop(c *console, folder string) error {
	ca, err := router.OpenDevelopmentCA(folder, time.Now())
	if err != nil {
		return err
	}
	t.tls = ca.Config()
	file := filepath.Join(folder, "ca.pem")
	fmt.Fprintf(c.out, "development CA: %s\n  curl --cacert %s ..., SSL_CERT_FILE=%s cf ..., or import it where browsers keep theirs\n", file, file, file)
	return nil
}

// developmentRoots are whom the system trusts, and the CA of develop.
func developmentRoots(folder string) (*x509.CertPool, error) {
	if _, err := router.OpenDevelopmentCA(folder, time.Now()); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(folder, "ca.pem"))
	if err != nil {
		return nil, err
	}
	roots, err := x509.SystemCertPool()
	if err != nil { // a machine without certificates
		roots = x509.NewCertPool()
	}
	roots.AppendCertsFromPEM(text)
	return roots, nil
}

// ask gets certificates from an ACME authority.
func (t *street) ask(folder string, known func(string) bool) error {
	s := t.flags
	config := acme.Config{Dir: folder, Email: s.ACME, Authority: s.Directory, Routed: known, Port: t.secure.Addr().(*net.TCPAddr).Port}
	if s.Plain == "redirect" {
		config.HTTPPort = t.plain.Addr().(*net.TCPAddr).Port
	}
	if s.Roots != "" {
		text, err := os.ReadFile(s.Roots)
		if err != nil {
			return fmt.Errorf("read the authority's certificates: %w", err)
		}
		config.Roots = x509.NewCertPool()
		if !config.Roots.AppendCertsFromPEM(text) {
			return fmt.Errorf("%s holds no certificate in PEM", s.Roots)
		}
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("make the folder of certificates: %w", err)
	}
	var err error
	t.acme, err = acme.New(config)
	if err != nil {
		return err
	}
	t.tls = t.acme.TLS()
	return nil
}

// redirector sends who comes by plain HTTP to HTTPS. 308 keeps method and body
// (RFC 9110 section 15.4.9).
func (t *street) redirector() *http.Server {
	var h http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		to := r.URL.RequestURI()
		if host == "" || strings.ContainsAny(host, "/\\@?#") || !strings.HasPrefix(to, "/") {
			http.Error(w, "This is no request for a host", http.StatusBadRequest)
			return
		}
		w.Header().Set("Connection", "close")
		http.Redirect(w, r, "https://"+host+t.securePort()+to, http.StatusPermanentRedirect)
	})
	if t.acme != nil {
		h = t.acme.Challenges(h)
	}
	return &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10,
		ErrorLog: silent()}
}

// serve lets clients in until the router or a listener ends.
func (t *street) serve(r *router.Server) error {
	ended := make(chan error, 2)
	n := 0
	if t.plain != nil {
		n++
		go func() {
			if t.redirect == nil {
				ended <- r.Serve(t.plain)
			} else if err := t.redirect.Serve(t.plain); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
				ended <- err
			} else {
				ended <- nil
			}
		}()
	}
	if t.secure != nil {
		n++
		go func() { ended <- r.ServeTLS(t.secure) }()
	}
	for range n {
		if err := <-ended; err != nil {
			return err
		}
	}
	return nil
}

// shutdown lets requests under way end.
func (t *street) shutdown(ctx context.Context, r *router.Server) error {
	var err error
	if t.redirect != nil {
		err = t.redirect.Shutdown(ctx)
	}
	return errors.Join(err, r.Shutdown(ctx))
}

func (t *street) close() error {
	var errs []error
	if t.redirect != nil {
		errs = append(errs, t.redirect.Close())
	}
	for _, l := range []net.Listener{t.plain, t.secure} {
		if l != nil {
			if err := l.Close(); !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	if t.acme != nil {
		t.acme.Close()
	}
	return errors.Join(errs...)
}
