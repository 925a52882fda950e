package staging

import (
	"context"
	"errors"

	"github.com/dewpaas/dew/cf"
)

// ErrTaken says that another stager does the build.
var ErrTaken = errors.New("another stager has taken the build")

// Ledger is all that a stager asks of the ledger and tells it: a Direct, or what
// brings the questions to one on another machine. It knows which stager asks. It is
// safe for concurrent use.
type Ledger interface {
	// Waiting are the builds that are to be done, oldest first, without who asked for
	// them, and the leases that they have, by GUID.
	Waiting(ctx context.Context) ([]*cf.Build, map[string]*cf.Lease, error)
	// Claim takes the lease of a build if it is as it was seen, nil for none, and
	// fails as ErrTaken otherwise.
	Claim(ctx context.Context, build string, before *cf.Lease) (token int64, err error)
	// Beat says that the build goes on, or fails as ErrTaken.
	Beat(ctx context.Context, build string, token int64) error
	// Material is what a build is made from. It fails as ErrTaken without its lease.
	Material(ctx context.Context, build string, token int64) (*Material, error)
	// End writes the end of a build, unless it has one, and gives the lease back. It
	// fails as ErrTaken without the lease, and as NotFound when the build is gone.
	End(ctx context.Context, build string, token int64, o Outcome) error
	// Tidy takes away the leases of builds that have ended, and tells which of the
	// spaces are still there.
	Tidy(ctx context.Context, spaces []string) ([]string, error)
}

// Material is what a build is made from.
type Material struct {
	Package string            `json:"package"` // SHA-256 of the zip
	Env     map[string]string `json:"env"`
}

// Outcome is the end of a build: the droplet, or an Error in the developer's words.
type Outcome struct {
	Error string `json:"error,omitempty"`
	// Digest of the droplet, which others find by it.
	Digest    string            `json:"digest,omitempty"`
	Bytes     int64             `json:"bytes,omitempty"`
	Processes map[string]string `json:"processes,omitempty"` // command by type
	Toolchain string            `json:"toolchain,omitempty"`
	// Bare writes nothing but the build's end: the rest was tried.
	Bare bool `json:"bare,omitempty"`
}

// Direct is a Ledger over the ledger itself.
type Direct struct {
	Store  cf.Store
	Holder string // names this stager among all of the ledger; never two at a time
	API    string // URL of the API, which builds are told
}

var _ Ledger = (*Direct)(nil)

// Waiting implements Ledger.
func (d *Direct) Waiting(ctx context.Context) (list []*cf.Build, leases map[string]*cf.Lease, err error) {
	err = d.Store.View(ctx, func(tx cf.Tx) (err error) {
		leases = map[string]*cf.Lease{}
		if list, err = cf.List[cf.Build](tx, cf.Query{Where: []cf.Cond{cf.Is("state", "STAGING")}, Order: []cf.Order{{Key: "created_at"}}}); err != nil {
			return err
		}
		for _, b := range list {
			b.CreatedBy = cf.Actor{}
			l, err := cf.First[cf.Lease](tx, cf.Is("guid", cf.BuildLease(b.GUID)))
			if err != nil {
				return err
			}
			if l != nil {
				leases[l.GUID] = l
			}
		}
		return nil
	})
	return list, leases, err
}

// Claim implements Ledger.
func (d *Direct) Claim(ctx context.Context, build string, before *cf.Lease) (token int64, err error) {
	err = d.Store.Update(ctx, func(tx cf.Tx) error {
		if now, err := cf.Get[cf.Build](tx, build); err != nil {
			return err
		} else if now.State != "STAGING" {
			return ErrTaken
		}
		l, err := cf.First[cf.Lease](tx, cf.Is("guid", cf.BuildLease(build)))
		switch {
		case err != nil:
			return err
		case l == nil && before == nil:
			token = 1
			return tx.Insert(&cf.Lease{Meta: cf.Meta{GUID: cf.BuildLease(build)}, Holder: d.Holder, Token: token})
		case l == nil || before == nil || l.Token != before.Token || l.Beat != before.Beat:
			return ErrTaken
		}
		l.Holder = d.Holder
		l.Token++
		token = l.Token
		return tx.Save(l)
	})
	if cf.KindOf(err) == cf.Exists {
		err = ErrTaken
	}
	return token, err
}

// Beat implements Ledger.
func (d *Direct) Beat(ctx context.Context, build string, token int64) error {
	return d.Store.Update(ctx, func(tx cf.Tx) error {
		l, err := d.held(tx, build, token)
		if err != nil {
			return err
		}
		l.Beat++
		return tx.Save(l)
	})
}

// Material implements Ledger.
func (d *Direct) Material(ctx context.Context, build string, token int64) (m *Material, err error) {
	err = d.Store.View(ctx, func(tx cf.Tx) error {
		if _, err := d.held(tx, build, token); err != nil {
			return err
		}
		b, err := cf.Get[cf.Build](tx, build)
		if err != nil {
			return err
		}
		p, err := cf.Get[cf.Package](tx, b.PackageGUID)
		if err != nil {
			return err
		}
		a, err := cf.Get[cf.App](tx, b.AppGUID)
		if err != nil {
			return err
		}
		m = &Material{Package: p.Checksum}
		m.Env, err = cf.BuildEnv(tx, d.API, a, b.MemoryMB)
		return err
	})
	return m, err
}

// End implements Ledger.
func (d *Direct) End(ctx context.Context, build string, token int64, o Outcome) error {
	return d.Store.Update(ctx, func(tx cf.Tx) error {
		b, err := cf.Get[cf.Build](tx, build)
		if err != nil || b.State != "STAGING" {
			return err
		}
		l, err := d.held(tx, build, token)
		if err != nil {
			return err
		}
		if err := o.write(tx, b); err != nil {
			return err
		}
		if err := tx.Save(b); err != nil {
			return err
		}
		return tx.Delete(l)
	})
}

// write writes what becomes of a build, but for the build itself.
func (o *Outcome) write(tx cf.Tx, b *cf.Build) error {
	switch {
	case o.Error != "":
		b.State, b.Error = "FAILED", o.Error
		if o.Bare {
			return nil
		}
		return record(tx, "audit.app.build.failed", b, map[string]any{"error": o.Error})
	case o.Digest == "":
		return cf.Errorf("end a build", cf.Invalid, "it has neither a droplet nor an error")
	}
	a, err := cf.Get[cf.App](tx, b.AppGUID)
	if err != nil {
		return err
	}
	r := &cf.Droplet{AppGUID: b.AppGUID, SpaceGUID: b.SpaceGUID, PackageGUID: b.PackageGUID, State: "STAGED", Stack: a.Stack,
		Checksum: o.Digest, Bytes: o.Bytes, ProcessTypes: o.Processes, Builder: o.Toolchain}
	if err := tx.Insert(r); err != nil {
		return err
	}
	b.State, b.DropletGUID = "STAGED", r.GUID
	if err := record(tx, "audit.app.droplet.create", b, map[string]any{"droplet_guid": r.GUID, "package_guid": b.PackageGUID}); err != nil {
		return err
	}
	return record(tx, "audit.app.build.staged", b, map[string]any{"droplet_guid": r.GUID})
}

// record writes what happened, in the name of who asked for the build.
func record(tx cf.Tx, event string, b *cf.Build, data map[string]any) error {
	s, err := cf.Get[cf.Space](tx, b.SpaceGUID)
	if err != nil {
		return err
	}
	data["build_guid"] = b.GUID
	return tx.Insert(&cf.AuditEvent{Type: event, Actor: b.CreatedBy, Target: cf.Actor{GUID: b.AppGUID, Type: "app"},
		SpaceGUID: s.GUID, OrgGUID: s.OrgGUID, Data: data})
}

// held finds the lease of a build, if this stager has it.
func (d *Direct) held(tx cf.Tx, build string, token int64) (*cf.Lease, error) {
	l, err := cf.First[cf.Lease](tx, cf.Is("guid", cf.BuildLease(build)))
	if err == nil && (l == nil || l.Token != token || l.Holder != d.Holder) {
		err = ErrTaken
	}
	return l, err
}

// Tidy implements Ledger.
func (d *Direct) Tidy(ctx context.Context, spaces []string) (left []string, err error) {
	err = d.Store.Update(ctx, func(tx cf.Tx) error {
		left = nil
		for _, guid := range spaces {
			s, err := cf.First[cf.Space](tx, cf.Is("guid", guid))
			if err != nil {
				return err
			}
			if s != nil {
				left = append(left, guid)
			}
		}
		return d.tidyLeases(tx)
	})
	return left, err
}

// tidyLeases removes those of builds that are gone.
func (d *Direct) tidyLeases(tx cf.Tx) error {
	list, err := cf.List[cf.Lease](tx, cf.Query{})
	if err != nil {
		return err
	}
	for _, l := range list {
		guid := cf.LeasedBuild(l.GUID)
		if guid == "" {
			continue
		}
		b, err := cf.First[cf.Build](tx, cf.Is("guid", guid))
		if err != nil {
			return err
		}
		if b == nil || b.State != "STAGING" {
			if err := tx.Delete(l); err != nil {
				return err
			}
		}
	}
	return nil
}
