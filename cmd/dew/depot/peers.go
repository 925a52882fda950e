package depot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dewpaas/dew/api/blob"
	"github.com/dewpaas/dew/cmd/dew/roster"
	"github.com/dewpaas/dew/droplet"
)

// Peers are the APIs of a foundation, as another role sees them.
type Peers struct {
	roster *roster.Roster
	client *http.Client
}

// NewPeers makes what fetches from APIs, over t.
func NewPeers(r *roster.Roster, t http.RoundTripper) *Peers {
	return &Peers{r, &http.Client{Transport: t}}
}

// each asks one API after the other until one has it. use must read all.
func (p *Peers) each(ctx context.Context, path string, use func(io.Reader) error) error {
	var errs []error
	missing, hosts := 0, p.roster.Order()
	for _, host := range hosts {
		q, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+path, nil)
		if err != nil {
			return err
		}
		a, err := p.client.Do(q)
		if err != nil {
			p.roster.Down(host)
			errs = append(errs, err)
			continue
		}
		if a.StatusCode == http.StatusOK {
			err = use(a.Body)
		} else {
			err = fmt.Errorf("%s: %s", host, a.Status)
		}
		a.Body.Close()
		if err == nil {
			return nil
		}
		if a.StatusCode == http.StatusNotFound {
			missing++
		}
		errs = append(errs, err)
	}
	if missing == len(hosts) {
		return fmt.Errorf("no API has it: %w", fs.ErrNotExist)
	}
	return fmt.Errorf("no API gives it: %w", errors.Join(errs...))
}

// Droplet fetches a droplet into a store.
func (p *Peers) Droplet(ctx context.Context, store *droplet.Store, sum string) error {
	err := p.each(ctx, dropletsPath+sum, func(r io.Reader) error {
		_, err := store.Receive(io.LimitReader(r, maxDroplet), sum)
		return err
	})
	if err != nil {
		return fmt.Errorf("fetch droplet %s: %w", sum, err)
	}
	return nil
}

// Package fetches a package into a store of blobs.
func (p *Peers) Package(ctx context.Context, store *blob.Store, sum string) error {
	err := p.each(ctx, packagesPath+sum, func(r io.Reader) error {
		got, err := store.PutZip(r, anySize, nil, nil, blob.Limits{Bytes: anySize, Files: anyNumber}) // the API has checked it
		if err == nil && got != sum {
			err = fmt.Errorf("it is %s", got)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("fetch package %s: %w", sum, err)
	}
	return nil
}

const (
	anySize   = 1 << 40
	anyNumber = 1 << 24
)

// Keep leaves a droplet with as many APIs as take it, and fails if none does.
func (p *Peers) Keep(ctx context.Context, d *droplet.Droplet) error {
	var errs []error
	hosts := p.roster.Order()
	for _, host := range hosts {
		if err := p.put(ctx, "https://"+host+dropletsPath+d.Digest(), d); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) < len(hosts) {
		return nil // the others get it from those that have it
	}
	return fmt.Errorf("no API keeps the droplet: %w", errors.Join(errs...))
}

func (p *Peers) put(ctx context.Context, to string, d *droplet.Droplet) error {
	r, w := io.Pipe()
	go func() { w.CloseWithError(d.Export(w)) }()
	defer r.Close()
	q, err := http.NewRequestWithContext(ctx, http.MethodPut, to, r)
	if err != nil {
		return err
	}
	a, err := p.client.Do(q)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	if a.StatusCode != http.StatusNoContent {
		text, _ := io.ReadAll(io.LimitReader(a.Body, 500))
		return fmt.Errorf("%s: %s: %s", to, a.Status, strings.TrimSpace(string(text)))
	}
	return nil
}

// Converge fetches what the ledger names and this depot lacks, and removes droplets
// that nobody names and for which old is true, given when they were used last.
func (d *Depot) Converge(ctx context.Context, p *Peers, old func(used time.Time) bool) error {
	packages, droplets, err := d.named(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for sum := range packages {
		if !digestForm.MatchString(sum) {
			continue // a package that needs no bits
		}
		if _, err := os.Stat(d.Packages.Path(sum)); errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, p.Package(ctx, d.Packages, sum))
		}
	}
	for sum := range droplets {
		if !digestForm.MatchString(sum) {
			continue // it is awaited, or was never uploaded
		}
		if _, err := d.Droplets.Open(sum); errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, p.Droplet(ctx, d.Droplets, sum))
		}
	}
	_, err = d.Droplets.Sweep(func(sum string, used time.Time) bool { return droplets[sum] || !old(used) })
	return errors.Join(append(errs, err)...)
}

// Shelf is a folder of packages of a stager, which fetches those that it lacks.
type Shelf struct {
	Peers *Peers
	Blobs *blob.Store
}

// Open returns a package; the caller closes it.
func (s *Shelf) Open(ctx context.Context, sum string) (*os.File, error) {
	f, err := s.Blobs.Open(ctx, sum)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	if err := s.Peers.Package(ctx, s.Blobs, sum); err != nil {
		return nil, err
	}
	return s.Blobs.Open(ctx, sum)
}

// Rack is a folder of droplets of a cell, which fetches those that it lacks.
type Rack struct {
	Peers *Peers
	Store *droplet.Store
}

// fetchTime bounds how long an instance waits for its droplet.
const fetchTime = 5 * time.Minute

// Open implements cell.Droplets.
func (r *Rack) Open(sum string) (*droplet.Droplet, error) {
	d, err := r.Store.Open(sum)
	if !errors.Is(err, fs.ErrNotExist) {
		return d, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), fetchTime)
	defer cancel()
	if err := r.Peers.Droplet(ctx, r.Store, sum); err != nil {
		return nil, err
	}
	return r.Store.Open(sum)
}

// OpenShelf opens the folder of a Shelf.
func OpenShelf(data string, p *Peers) (*Shelf, error) {
	b, err := blob.Open(filepath.Join(data, "packages"))
	return &Shelf{p, b}, err
}
