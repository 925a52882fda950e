package staging

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/store/sqlite"
)

// TestNamed: a droplet stays while anything may still be started from it.
func TestNamed(t *testing.T) {
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "ledger.db"))
	check(t, err)
	defer db.Close()
	org := &cf.Organization{Name: "o"}
	launch := func(digest string) *cf.Launch { return &cf.Launch{DropletSHA256: digest} }
	check(t, db.Update(t.Context(), func(tx cf.Tx) error {
		check(t, tx.Insert(org))
		space := &cf.Space{Name: "s", OrgGUID: org.GUID}
		check(t, tx.Insert(space))
		app := &cf.App{Name: "a", SpaceGUID: space.GUID}
		check(t, tx.Insert(app))
		for _, r := range []cf.Record{
			&cf.Droplet{AppGUID: app.GUID, SpaceGUID: space.GUID, State: "STAGED", Checksum: "droplet"},
			&cf.Process{AppGUID: app.GUID, SpaceGUID: space.GUID, Type: "web", Launch: launch("process")},
			&cf.Placement{AppGUID: "deleted", Type: "web", CellID: "c", Launch: launch("placement")},
			&cf.Placement{AppGUID: "deleted", Type: "web"},
			&cf.Task{AppGUID: app.GUID, SpaceGUID: space.GUID, Name: "t", State: cf.TaskPending, Sequence: 1, Launch: *launch("task")},
			&cf.Task{AppGUID: app.GUID, SpaceGUID: space.GUID, Name: "u", State: cf.TaskSucceeded, Sequence: 2, Launch: *launch("ended")},
		} {
			check(t, tx.Insert(r))
		}
		named, err := Named(tx)
		if got := strings.Join(slices.Sorted(maps.Keys(named)), " "); got != "droplet placement process task" {
			t.Errorf("named are %s", got)
		}
		return err
	}))
}
