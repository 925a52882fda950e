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
	"time"

	"github.com/dewpaas/dew/api/blob"
	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/cmd/dew/identity"
	"github.com/dewpaas/dew/droplet"
	"github.com/dewpaas/dew/stager/staging"
)

// Depot is what the machine of an API keeps.
type Depot struct {
	Ledger   cf.Store
	Packages *blob.Store
	Droplets *droplet.Store
	Log      *slog.Logger
}

var digestForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// limits of what is carried, in bytes: packages are bounded where they come in.
const maxDroplet = 4 << 30

// Handler answers peers; role tells the one of who asks.
func (d *Depot) Handler(role func(*http.Request) string) http.Handler {
	mux := http.NewServeMux()
	only := func(roles map[string]bool, f func(http.ResponseWriter, *http.Request, string)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			sum := r.PathValue("sum")
			switch {
			case !roles[role(r)]:
				http.Error(w, "your role may not", http.StatusForbidden)
			case !digestForm.MatchString(sum):
				http.Error(w, "no digest", http.StatusBadRequest)
			default:
				f(w, r, sum)
			}
		}
	}
	mux.HandleFunc("GET "+packagesPath+"{sum}", only(map[string]bool{identity.API: true, identity.Stager: true}, d.sendPackage))
	mux.HandleFunc("GET "+dropletsPath+"{sum}", only(map[string]bool{identity.API: true, identity.Stager: true, identity.Cell: true}, d.sendDroplet))
	mux.HandleFunc("PUT "+dropletsPath+"{sum}", only(map[string]bool{identity.Stager: true}, d.takeDroplet))
	return mux
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
