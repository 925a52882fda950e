package cell

import (
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/store/sqlite"
)

// TestNetworksOfCells: no two overlap where there are several cells.
func TestNetworksOfCells(t *testing.T) {
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, c := range []struct {
		id, host, guests string
		want             cf.Kind
	}{
		{"a", "h:1", "10.251.1.0/24", cf.Unknown},
		{"a", "h:1", "10.251.1.0/24", cf.Unknown}, // again
		{"b", "h:2", "10.251.2.0/24", cf.Unknown},
		{"c", "h:3", "10.251.0.0/16", cf.Conflict},
		{"d", "", "10.251.0.0/16", cf.Unknown}, // dew up, begun with a new folder
	} {
		cell := &Cell{cfg: Config{ID: c.id, Host: c.host, Guests: netip.MustParsePrefix(c.guests)}}
		if err := db.Update(t.Context(), cell.register); cf.KindOf(err) != c.want {
			t.Errorf("%s with %s: %v", c.id, c.guests, err)
		}
	}
}
