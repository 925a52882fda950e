package desk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/dewpaas/dew/cell"
	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/cmd/dew/grant"
	"github.com/dewpaas/dew/cmd/dew/grant/granttest"
	"github.com/dewpaas/dew/cmd/dew/identity"
	"github.com/dewpaas/dew/stager/staging"
)

// attack is what somebody tries who has taken a process over, with its identity. It
// returns what it got, and an error when it was refused; that it wrote is seen in the
// ledger.
type attack struct {
	name string
	try  func(h *house, c *Client) (string, error)
	// open: it succeeds without the guard. The others ask nothing that is answered.
	open bool
}

func text(v any, err error) (string, error) {
	b, bad := json.Marshal(v)
	return string(b), errors.Join(err, bad)
}

// raw asks any question in any words.
func raw(path, body string) func(*house, *Client) (string, error) {
	return func(h *house, c *Client) (string, error) {
		method := http.MethodPost
		if body == "" {
			method = http.MethodGet
		}
		a, err := c.send(h.Context(), method, strings.TrimPrefix(h.servers[0].URL, "https://"), path, []byte(body))
		if err != nil {
			return "", err
		}
		defer a.Body.Close()
		b, err := io.ReadAll(a.Body)
		if err == nil && a.StatusCode != http.StatusOK {
			err = errors.New(a.Status)
		}
		return string(b), err
	}
}

func tell(n cell.News) func(*house, *Client) (string, error) {
	return func(h *house, c *Client) (string, error) { return "", c.Tell(h.Context(), n) }
}

// ofCell is what whoever has cell c1 tries.
func ofCell() []attack {
	theirs := &cf.Report{Meta: cf.Meta{GUID: "placement-far"}, CellID: "c2", AppGUID: "app-far", State: cf.InstanceEnded}
	moved := func(to string) *cf.Report {
		return &cf.Report{Meta: cf.Meta{GUID: "placement-mine"}, State: cf.InstanceRunning, Routable: true, Address: to, Host: "192.0.2.1:1"}
	}
	return []attack{
		{"reads around it", func(h *house, c *Client) (string, error) { return text(c.Around(h.Context())) }, true},
		{"reads what is placed", func(h *house, c *Client) (string, error) { return text(c.Placed(h.Context())) }, false},
		{"reads what is placed elsewhere", raw("placed?cell=c2&cell_id=c2&have=x", ""), false},
		{"reads as another cell", raw("join", `{"guid":"c2","guests":"10.251.1.0/24"}`), false},
		{"reads routes as a router", raw("routing", ""), false},
		{"reads builds", func(h *house, c *Client) (string, error) { b, _, err := c.Waiting(h.Context()); return text(b, err) }, false},
		{"takes a build", func(h *house, c *Client) (string, error) { return text(c.Claim(h.Context(), "build-near", nil)) }, false},
		{"reads what a build is told", func(h *house, c *Client) (string, error) { return text(c.Material(h.Context(), "build-far", 1)) }, false},
		{"ends a build", func(h *house, c *Client) (string, error) {
			return "", c.End(h.Context(), "build-far", 1, staging.Outcome{Error: "x"})
		}, false},
		{"tidies", func(h *house, c *Client) (string, error) { return text(c.Tidy(h.Context(), []string{"space-far"})) }, false},
		{"reads facts", func(h *house, c *Client) (string, error) { return text(c.Facts(h.Context())) }, true},
		{"asks the API", raw("../v3/apps", ""), false},
		{"ends another's instance", tell(cell.News{Reports: []*cf.Report{theirs}}), false},
		{"takes another's report away", tell(cell.News{Gone: []string{"placement-far"}}), false},
		{"says it crashed", tell(cell.News{Crashes: []*cf.Crash{{Meta: cf.Meta{GUID: "placement-far"}, AppGUID: "app-far"}}}), false},
		{"blames another app", tell(cell.News{Crashes: []*cf.Crash{{Meta: cf.Meta{GUID: "placement-mine"}, AppGUID: "app-far"}}}), false},
		{"is where another's guest is", tell(cell.News{Reports: []*cf.Report{moved("10.251.2.3")}}), true},
		{"is where the ledger is", tell(cell.News{Reports: []*cf.Report{moved("192.0.2.1")}}), true},
		{"is another cell", tell(cell.News{Cell: &cf.Cell{Meta: cf.Meta{GUID: "c2"}, Zone: "zz", Guests: "10.251.1.0/24"}}), false},
		{"has another's network", tell(cell.News{Cell: &cf.Cell{Guests: "10.251.2.0/25"}}), false},
		{"fills the ledger", tell(cell.News{Reports: []*cf.Report{{Meta: cf.Meta{GUID: "placement-mine"}, Details: strings.Repeat("x", 300<<10)}}}), true},
		{"fills the memory", raw("join", `{"zone":"`+strings.Repeat("x", maxBody)+`"}`), false},
	}
}

// TestTakenOverCell: with cell c1's identity in an attacker's hand, every question is
// asked and everything is told. Nothing of others is got, nothing of others is
// changed. Without the guard it is.
func TestTakenOverCell(t *testing.T) {
	attacked(t, "cell", "c1", ofCell(), own("placement-mine", `"c1"`))
}

// TestTakenOverRouter and stager: the same.
func TestTakenOverRouter(t *testing.T) {
	attacked(t, "router", "r1", append(ofCell(), attack{"reads routes", func(h *house, c *Client) (string, error) { return text(c.Routing(h.Context())) }, true}), func(string) bool { return false })
}

func TestTakenOverStager(t *testing.T) {
	list := slices.DeleteFunc(ofCell(), func(a attack) bool { return a.name == "takes a build" }) // which it may
	attacked(t, "stager", "s1", list, func(string) bool { return false })
}

// own are lines of the ledger that may change: those with one of the words.
func own(words ...string) func(string) bool {
	return func(line string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(line, w) })
	}
}

func attacked(t *testing.T, role, name string, attacks []attack, may func(line string) bool) {
	h := open(t, true)
	before := strings.Split(h.ledger(), "\n")
	for _, a := range attacks {
		got, err := a.try(h, h.client(role, name))
		for _, secret := range []string{granttest.Near, granttest.Far, granttest.House} {
			if role != "router" && secret == granttest.House {
				got = strings.ReplaceAll(got, `"label":"`+granttest.House+`"`, "") // of its own placement, or build
				got = strings.ReplaceAll(got, `"note":"`+granttest.House+`"`, "")
			}
			if strings.Contains(got, secret) {
				t.Errorf("%s gets %s: %v\n%.2000s", a.name, secret, err, got)
			}
		}
		if role != "cell" && strings.Contains(got, granttest.Mine) {
			t.Errorf("%s gets %s: %v", a.name, granttest.Mine, err)
		}
		for n, line := range strings.Split(h.ledger(), "\n") {
			if !slices.Contains(before, line) && !may(line) {
				t.Errorf("%s has written %d: %.300s", a.name, n, line)
			}
		}
		if strings.Contains(a.name, "is where") && err == nil {
			t.Errorf("%s is not refused", a.name)
		}
	}
	bare := open(t, false)
	for _, a := range attacks {
		if !a.open || role != "cell" && strings.Contains(a.name, "is where") || role != "cell" && strings.Contains(a.name, "around") || role != "cell" && strings.Contains(a.name, "fills") {
			continue
		}
		before := bare.ledger()
		got, err := a.try(bare, bare.client(role, name))
		if !strings.Contains(got, granttest.House) && bare.ledger() == before {
			t.Errorf("without the guard %s does not get anything: the test tests nothing: %v", a.name, err)
		}
	}
}

// undone is a ledger of which every update is undone, after it was written down.
type undone struct {
	cf.Store
	wrote string // by the last update; "": nothing
}

var errUndo = errors.New("undone")

func (u *undone) Update(ctx context.Context, f func(cf.Tx) error) error {
	err := u.Store.Update(ctx, func(tx cf.Tx) (err error) {
		if err = f(tx); err == nil {
			u.wrote, err = written(tx)
		}
		return errors.Join(err, errUndo)
	})
	if u.wrote != "" && errors.Is(err, errUndo) {
		return nil
	}
	return err
}

// FuzzTell: whatever a cell says, nothing changes but what is its own; what is refused
// changes nothing.
func FuzzTell(f *testing.F) {
	db := granttest.Ledger(f)
	var before string
	if err := db.View(f.Context(), func(tx cf.Tx) (err error) { before, err = written(tx); return err }); err != nil {
		f.Fatal(err)
	}
	for _, n := range []cell.News{
		{Reports: []*cf.Report{{Meta: cf.Meta{GUID: "placement-mine"}, State: cf.InstanceEnded}}, Gone: []string{"placement-far"}},
		{Cell: &cf.Cell{Meta: cf.Meta{GUID: "c2"}, Guests: "10.251.1.0/24", Leaving: true}, Crashes: []*cf.Crash{{Meta: cf.Meta{GUID: "placement-mine"}, AppGUID: "app-mine"}}},
		{Reports: []*cf.Report{{Meta: cf.Meta{GUID: "placement-far"}, CellID: "c2"}}},
	} {
		b, err := json.Marshal(n)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"reports":[null],"crashes":[null],"cell":null,"gone":[""]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		u := &undone{Store: db}
		d := New(Config{Ledger: func(p identity.Peer) cf.Store { return grant.Guard(u, p) }, Log: slog.New(slog.DiscardHandler)})
		w, q := httptest.NewRecorder(), httptest.NewRequest("POST", Path+"tell", bytes.NewReader(body))
		d.Handler(func(*http.Request) identity.Peer { return identity.Peer{Role: "cell", Name: "c1"} }).ServeHTTP(w, q)
		if (w.Code == http.StatusOK) != (u.wrote != "") {
			t.Errorf("%d, and written is %q", w.Code, u.wrote)
		}
		if u.wrote == "" {
			return
		}
		mine := own("placement-mine", `"guid":"c1"`)
		old, now := strings.Split(before, "\n"), strings.Split(u.wrote, "\n")
		for _, line := range slices.Concat(old, now) {
			if slices.Contains(old, line) != slices.Contains(now, line) && !mine(line) {
				t.Errorf("changed: %s", line)
			}
		}
	})
}
