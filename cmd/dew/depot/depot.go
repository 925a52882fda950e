package depot

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"slices"
	"time"

	"github.com/dewpaas/dew/api/blob"
	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/cmd/dew/identity"
	"github.com/dewpaas/dew/droplet"
	"github.com/dewpaas/dew/stager/staging"
)

// Depot is what the machine of an API keeps.
type Depot struct {
	Ledger cf.Store
	// Seen is the ledger as a peer sees it: grant.Guard's.
	Seen     func(identity.Peer) cf.Store
	Packages *blob.Store
	Droplets *droplet.Store
	Log      *slog.Logger
}

var digestForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// limits of what is carried, in bytes: packages are bounded where they come in.
const maxDroplet = 4 << 30

// Handler answers peers; who tells who asks. What a peer may have follows from what
// it sees in the ledger: a stager the packages of builds that it has, a cell the
// droplets that are placed on it.
func (d *Depot) Handler(who func(*http.Request) identity.Peer) http.Handler {
	mux := http.NewServeMux()
	only := func(may func(context.Context, identity.Peer, string) (bool, error), f func(http.ResponseWriter, *http.Request, string)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			sum := r.PathValue("sum")
			if !digestForm.MatchString(sum) {
				http.Error(w, "no digest", http.StatusBadRequest)
				return
			}
			switch ok, err := may(r.Context(), who(r), sum); {
			case err != nil:
				http.Error(w, "the ledger does not answer", http.StatusServiceUnavailable)
			case !ok:
				d.Log.Warn("depot: a peer asked for what it may not have", "peer", who(r).String(), "what", r.URL.Path)
				http.Error(w, "this is not yours to have", http.StatusForbidden)
			default:
				f(w, r, sum)
			}
		}
	}
	mux.HandleFunc("GET "+packagesPath+"{sum}", only(d.mayHavePackage, d.sendPackage))
	mux.HandleFunc("GET "+dropletsPath+"{sum}", only(d.mayHaveDroplet, d.sendDroplet))
	mux.HandleFunc("PUT "+dropletsPath+"{sum}", only(d.mayLeave, d.takeDroplet))
	return mux
}

// mayHavePackage: APIs, and a stager that has a build of it.
func (d *Depot) mayHavePackage(ctx context.Context, p identity.Peer, sum string) (ok bool, err error) {
	if p.Role != identity.Stager {
		return p.Role == identity.API, nil
	}
	err = d.Seen(p).View(ctx, func(tx cf.Tx) error {
		list, err := cf.List[cf.Package](tx, cf.Query{Where: []cf.Cond{cf.Is("state", "READY")}})
		ok = slices.ContainsFunc(list, func(k *cf.Package) bool { return k.Checksum == sum })
		return err
	})
	return ok, err
}

// mayHaveDroplet: APIs, and a cell on which an instance of it is placed.
func (d *Depot) mayHaveDroplet(ctx context.Context, p identity.Peer, sum string) (ok bool, err error) {
	if p.Role != identity.Cell {
		return p.Role == identity.API, nil
	}
	err = d.Seen(p).View(ctx, func(tx cf.Tx) error {
		list, err := cf.List[cf.Placement](tx, cf.Query{Where: []cf.Cond{cf.Is("cell_id", p.Name)}})
		ok = slices.ContainsFunc(list, func(k *cf.Placement) bool { return k.Launch != nil && k.Launch.DropletSHA256 == sum })
		return err
	})
	return ok, err
}

// mayLeave: a stager that has a build. The droplet is checked as a stranger's.
func (d *Depot) mayLeave(ctx context.Context, p identity.Peer, _ string) (ok bool, err error) {
	if p.Role != identity.Stager {
		return false, nil
	}
	err = d.Seen(p).View(ctx, func(tx cf.Tx) error {
		list, err := cf.List[cf.Lease](tx, cf.Query{})
		ok = slices.ContainsFunc(list, func(l *cf.Lease) bool { return l.Holder == p.Name })
		return err
	})
	return ok, err
}

// Path is the one below which a Depot answers.
const Path = "/depot/"

const (
	packagesPath = Path + "packages/"
	dropletsPath = Path + "droplets/"
)

func (d *Depot) sendPackage(w http.ResponseWriter, r *http.Request, sum string) {
	f, err := os.Open(d.Packages.Path(sum))
	if err != nil {
		d.refuse(w, err)
		return
	}
	defer f.Close() // only read
	http.ServeContent(w, r, "", time.Time{}, f)
}

func (d *Depot) sendDroplet(w http.ResponseWriter, _ *http.Request, sum string) {
	o, err := d.Droplets.Open(sum)
	if err != nil {
		d.refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	if err := o.Export(w); err != nil {
		panic(http.ErrAbortHandler) // a part must not look like the whole
	}
}

func (d *Depot) takeDroplet(w http.ResponseWriter, r *http.Request, sum string) {
	if _, err := d.Droplets.Receive(http.MaxBytesReader(w, r.Body, maxDroplet), sum); err != nil {
		d.refuse(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (d *Depot) refuse(w http.ResponseWriter, err error) {
	if errors.Is(err, fs.ErrNotExist) {
		http.Error(w, "not here", http.StatusNotFound)
		return
	}
	d.Log.Error("depot: a peer is refused", "err", err)
	http.Error(w, err.Error(), http.StatusInternalServerError)
}

// Import implements api.Droplets.
func (d *Depot) Import(r io.Reader) (sum string, types map[string]string, err error) {
	o, err := d.Droplets.Receive(r, "")
	if err != nil {
		return "", nil, err
	}
	return o.Digest(), o.Manifest().Processes, nil
}

// Export implements api.Droplets.
func (d *Depot) Export(w io.Writer, sum string) error {
	o, err := d.Droplets.Open(sum)
	if err != nil {
		return err
	}
	return o.Export(w)
}

// named are the packages and droplets that the ledger names.
func (d *Depot) named(ctx context.Context) (packages, droplets map[string]bool, err error) {
	err = d.Ledger.View(ctx, func(tx cf.Tx) (err error) {
		packages = map[string]bool{}
		list, err := cf.List[cf.Package](tx, cf.Query{Where: []cf.Cond{cf.Is("state", "READY")}})
		if err != nil {
			return err
		}
		for _, p := range list {
			packages[p.Checksum] = true
		}
		droplets, err = staging.Named(tx)
		return err
	})
	return packages, droplets, err
}
