package router

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"
)

// CertificateFiles returns a server configuration with a certificate of one's
// own. Files that change are read again within a minute; when the new ones
// cannot be used, the old certificate stays.
func CertificateFiles(certFile, keyFile string) (*tls.Config, error) {
	f := &certificateFiles{cert: certFile, key: keyFile}
	if err := f.read(time.Now()); err != nil {
		return nil, err
	}
	return serverTLS(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return f.get(time.Now()), nil }), nil
}

type certificateFiles struct {
	cert, key string

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
		if when, err := f.newest(); err == nil && !when.Equal(f.changed) {
			f.read(now)
		}
	}
	return f.pair
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
