package cell

import (
	"context"
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
		id     string
		alone  bool
		guests string
		want   cf.Kind
	}{
		{"a", false, "10.251.1.0/24", cf.Unknown},
		{"a", false, "10.251.1.0/24", cf.Unknown}, // again
		{"b", false, "10.251.2.0/24", cf.Unknown},
		{"c", false, "10.251.0.0/16", cf.Conflict},
		{"c", false, "nowhere", cf.Invalid},
		{"d", true, "10.251.0.0/16", cf.Unknown}, // dew up, begun with a new folder
	} {
		d := &Direct{Store: db, ID: c.id, Alone: c.alone}
		row := &cf.Cell{Guests: c.guests}
		_, first := d.Join(t.Context(), row)
		if err := d.Tell(t.Context(), News{Cell: row}); cf.KindOf(err) != c.want || cf.KindOf(first) != c.want {
			t.Errorf("%s with %s: %v, %v", c.id, c.guests, first, err)
		}
	}
}

// TestTellOfOthers: what a cell says of instances that are not its own is left out,
// whatever it says, and the rest is written.
func TestTellOfOthers(t *testing.T) {
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	d := &Direct{Store: db, ID: "a"}
	theirs := &cf.Report{Meta: cf.Meta{GUID: "theirs"}, CellID: "b", State: cf.InstanceRunning}
	err = db.Update(t.Context(), func(tx cf.Tx) error {
		for _, r := range []cf.Record{&cf.Placement{Meta: cf.Meta{GUID: "ours"}, CellID: "a", AppGUID: "app", Type: "web"},
			&cf.Placement{Meta: cf.Meta{GUID: "theirs"}, CellID: "b", AppGUID: "other", Type: "web"}, theirs} {
			if err := tx.Insert(r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	said := func(guid string) *cf.Report {
		return &cf.Report{Meta: cf.Meta{GUID: guid}, CellID: "b", AppGUID: "x", State: cf.InstanceEnded}
	}
	if err := d.Tell(t.Context(), News{Reports: []*cf.Report{said("ours"), said("theirs"), said("nobody's")}, Gone: []string{"theirs"},
		Crashes: []*cf.Crash{{Meta: cf.Meta{GUID: "theirs"}, AppGUID: "other"}}}); err != nil {
		t.Fatal(err)
	}
	var list []*cf.Report
	if err := db.View(t.Context(), func(tx cf.Tx) (err error) {
		list, err = cf.List[cf.Report](tx, cf.Query{Order: []cf.Order{{Key: "guid"}}})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if len(list) != 2 || list[0].CellID != "a" || list[0].AppGUID != "app" || list[0].State != cf.InstanceEnded || list[1].State != cf.InstanceRunning {
		t.Errorf("%+v", list)
	}
}

// TestOthersAmongOurs: no other cell has instances in this one's network, whatever
// it says.
func TestOthersAmongOurs(t *testing.T) {
	e := cf.Extract{}
	for guid, addr := range map[string]string{"far": "10.251.2.2", "near": "10.251.1.2", "nowhere": "", "unplaced": "10.251.2.3"} {
		e["reports"] = append(e["reports"], &cf.Report{Meta: cf.Meta{GUID: guid}, Address: addr, State: cf.InstanceRunning, Routable: true})
		if guid != "unplaced" {
			e["placements"] = append(e["placements"], &cf.Placement{Meta: cf.Meta{GUID: guid}, Type: "web"})
		}
	}
	w, err := readWorld(t.Context(), told(e), netip.MustParsePrefix("10.251.1.0/24"))
	if err != nil || len(w.topology.Endpoints) != 1 || w.topology.Endpoints[0].GUID != "far" || !w.topology.Endpoints[0].Ready {
		t.Errorf("%+v, %v", w.topology.Endpoints, err)
	}
}

// told is a ledger that says this around a cell.
type told cf.Extract

func (e told) Around(context.Context) (cf.Extract, error)         { return cf.Extract(e), nil }
func (told) Join(context.Context, *cf.Cell) ([]*cf.Report, error) { return nil, nil }
func (told) Placed(context.Context) ([]*cf.Placement, error)      { return nil, nil }
func (told) Tell(context.Context, News) error                     { return nil }
