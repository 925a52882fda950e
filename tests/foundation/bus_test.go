package foundation

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsclient "github.com/nats-io/nats.go"

	"github.com/dewpaas/dew/bus"
	"github.com/dewpaas/dew/cmd/dew/identity"
)

// startNATS starts a server as the documentation configures it, with a certificate
// and a CA of files. sch is what the names of schedulers begin with.
func startNATS(t *testing.T, cert, ca, sch string) *server.Server {
	t.Helper()
	text, err := os.ReadFile("../../docs/operate/roles.md")
	if err != nil {
		t.Fatal(err)
	}
	_, config, _ := strings.Cut(string(text), "```nats\n")
	config, _, found := strings.Cut(config, "```")
	if !found {
		t.Fatal("the documentation has no configuration of NATS")
	}
	config = strings.NewReplacer("/etc/nats/nats-1.pem", cert, "/etc/nats/ca.pem", ca, "0.0.0.0:4222", "127.0.0.1:-1", "/sch-", "/"+sch+"-").Replace(config)
	file := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	o.NoSigs, o.NoLog, o.TLSTimeout = true, true, 30
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(s.Shutdown)
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("NATS does not start")
	}
	return s
}

// TestWhoMayOnTheBus: with the documented configuration only APIs and schedulers that
// are named get onto the bus, and each says and hears what it has to.
func TestWhoMayOnTheBus(t *testing.T) {
	dir := t.TempDir()
	ca, err := identity.OpenCA(filepath.Join(dir, "ca"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	issue := func(role, name string) string {
		t.Helper()
		text, err := ca.Issue(role, name, time.Now(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, role+"-"+name+".pem")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	s := startNATS(t, issue("bus", "nats-1"), filepath.Join(dir, "ca", "ca.pem"), "sch")
	join := func(role, name string, o ...natsclient.Option) (*natsclient.Conn, error) {
		t.Helper()
		id, err := identity.Load(issue(role, name))
		if err != nil {
			t.Fatal(err)
		}
		return natsclient.Connect("tls://"+s.Addr().String(), append(o, natsclient.Secure(id.Client("bus", "")), natsclient.Timeout(time.Minute))...)
	}
	for _, who := range [][2]string{{"cell", "cell-1"}, {"router", "rtr-1"}, {"stager", "stg-1"}, {"api", "api-9"}, {"scheduler", "api-1"}, {"cell", "api-1"}, {"bus", "nats-1"}} {
		if c, err := join(who[0], who[1]); err == nil {
			c.Close()
			t.Errorf("%s %s gets onto the bus", who[0], who[1])
		}
	}
	subjects := []string{string(bus.Changes()), string(bus.Asks()), string(bus.Answers()), string(bus.Usage()), string(bus.Lines()), "dew.other", ">"}
	for who, want := range map[[2]string]string{
		{"api", "api-1"}:       "says dew.ledger.changes, says dew.scheduler.asks, says dew.cell.usage, says dew.log.lines, hears dew.ledger.changes, hears dew.scheduler.answers, hears dew.cell.usage, hears dew.log.lines",
		{"scheduler", "sch-1"}: "says dew.ledger.changes, says dew.scheduler.answers, says dew.log.lines, hears dew.ledger.changes, hears dew.scheduler.asks",
	} {
		c, err := join(who[0], who[1], natsclient.ErrorHandler(func(_ *natsclient.Conn, _ *natsclient.Subscription, err error) {
			if !errors.Is(err, natsclient.ErrPermissionViolation) {
				t.Error(err)
			}
		}))
		if err != nil {
			t.Fatal(err)
		}
		var may []string
		for _, verb := range []string{"says", "hears"} {
			for _, subject := range subjects {
				if verb == "says" {
					err = c.Publish(strings.ReplaceAll(subject, ">", "dew.any"), nil)
				} else {
					_, err = c.Subscribe(subject, func(*natsclient.Msg) {})
				}
				if err = errors.Join(err, c.FlushTimeout(time.Minute)); err != nil {
					t.Fatal(err)
				}
				// The refusal comes before the answer to the flush, and is handed on by another
				// goroutine: the connection's last error is set in order.
				if last := c.LastError(); last == nil || !strings.Contains(last.Error(), "\""+strings.ReplaceAll(subject, ">", map[string]string{"says": "dew.any", "hears": ">"}[verb])+"\"") ||
					!strings.Contains(strings.ToLower(last.Error()), map[string]string{"says": "publish", "hears": "subscription"}[verb]) {
					may = append(may, verb+" "+subject)
				}
			}
		}
		if got := strings.Join(may, ", "); got != want {
			t.Errorf("%s %s\n%s\nwant\n%s", who[0], who[1], got, want)
		}
		c.Close()
	}
}
