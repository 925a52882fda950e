package router

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// CertificateFiles returns a server configuration with a certificate of one's
// own. Files that change are read again within a minute; when the new ones
// cannot be used, the old certificate stays, and log is told.
func CertificateFiles(certFile, keyFile string, log *slog.Logger) (*tls.Config, error) {
	f := &certificateFiles{cert: certFile, key: keyFile, log: log}
	if err := f.read(time.Now()); err != nil {
		return nil, err
	}
	return serverTLS(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return f.get(time.Now()), nil }), nil
}

type certificateFiles struct {
	cert, key string
	log       *slog.Logger

	mu      sync.Mutex // guards what follows
	pair    *tls.Certificate
	changed time.Time // the newer file's time
	looked  time.Time
}

const lookAgain = time.Minute

func (f *certificateFiles) get(now time.Time) *tls.Certificate {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.Sub(f.looked) >= lookAgain {
		f.looked = now
		if err := f.refresh(now); err != nil {
			f.log.Error("router: the certificate stays as it was", "err", err, "ends", f.pair.Leaf.NotAfter)
		}
	}
	return f.pair
}

// refresh reads files that have changed.
func (f *certificateFiles) refresh(now time.Time) error {
	when, err := f.newest()
	if err != nil || when.Equal(f.changed) {
		return err
	}
	if err := f.read(now); err != nil {
		return err
	}
	f.log.Info("router: the certificate was read again", "ends", f.pair.Leaf.NotAfter)
	return nil
}

func (f *certificateFiles) newest() (time.Time, error) {
	a, err := os.Stat(f.cert)
	if err != nil {
		return time.Time{}, err
	}
	b, err := os.Stat(f.key)
	if err != nil {
		return time.Time{}, err
	}
	if a.ModTime().After(b.ModTime()) {
		return a.ModTime(), nil
	}
	return b.ModTime(), nil
}

func (f *certificateFiles) read(now time.Time) error {
	when, err := f.newest()
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", f.cert, f.key, err)
	}
	f.pair, f.changed, f.looked = &pair, when, now
	return nil
}
