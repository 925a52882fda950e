package cell

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/firewall"
	"github.com/dewpaas/dew/firewall/conntrack"
	"github.com/dewpaas/dew/firewall/nft"
)

// shortly is how long TestSoak goes on when nobody asks for more.
const shortly = 2 * time.Second

var soak = flag.Duration("soak", shortly, "how long TestSoak goes on")

// churn is a cell to which things happen.
type churn struct {
	*house
	random  *rand.Rand
	apps    []string
	running []*cf.Placement
	policy  map[[2]string]*cf.NetworkPolicy
	did     map[string]int
}

// TestSoak starts and stops instances, flips policies, kills guests and replaces
// the cell, while requests and connections are made; at the end there is nothing
// that should not be: no rule, tap, connection, control group or descriptor.
func TestSoak(t *testing.T) {
	h := newHouse(t)
	c := &churn{house: h, random: rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano()))), apps: []string{"a", "b", "c", "d"},
		policy: map[[2]string]*cf.NetworkPolicy{}, did: map[string]int{}}
	h.withApps(c.apps...)
	networks := openNetworks(t)
	h.open()
	steps := []struct {
		name   string
		weight int
		do     func()
	}{{"start", 4, c.start}, {"stop", 3, c.end}, {"policy", 6, c.flip}, {"request", 12, c.request}, {"connect", 8, c.connect}, {"kill", 1, c.kill}, {"restart", 1, c.restart}}
	var draw []func()
	for _, s := range steps {
		for range s.weight {
			draw = append(draw, func() { c.did[s.name]++; s.do() })
		}
	}
	for end := time.Now().Add(*soak); time.Now().Before(end) && !t.Failed(); {
		draw[c.random.IntN(len(draw))]()
	}
	t.Logf("did %v", c.did)
	c.settle()
	c.noRules()
	c.noTaps()
	c.noConnections()
	c.noGroups()
	h.close()
	if now := openNetworks(t); now != networks {
		t.Errorf("%d network namespaces are held open, %d before", now, networks)
	}
}

func (c *churn) start() {
	if len(c.running) < 10 {
		c.running = append(c.running, c.place(c.placement(c.apps[c.random.IntN(len(c.apps))], "./app")))
	}
}

// one is an instance that may be running, and takes it out of the list.
func (c *churn) one() *cf.Placement {
	if len(c.running) == 0 {
		return nil
	}
	i := c.random.IntN(len(c.running))
	p := c.running[i]
	c.running = append(c.running[:i], c.running[i+1:]...)
	return p
}

func (c *churn) end() {
	if p := c.one(); p != nil {
		c.remove(p)
	}
}

// remove does what the scheduler does with a placement that should end.
func (c *churn) remove(p *cf.Placement) {
	c.unplace(p)
	c.until(p.GUID+" ended", func() bool { r := c.report(p.GUID); return r != nil && r.State == cf.InstanceEnded })
	c.update(func(tx cf.Tx) error { return tx.Delete(p) })
}

func (c *churn) flip() {
	key := [2]string{c.apps[c.random.IntN(len(c.apps))], c.apps[c.random.IntN(len(c.apps))]}
	if p := c.policy[key]; p != nil {
		c.update(func(tx cf.Tx) error { return tx.Delete(p) })
		delete(c.policy, key)
		return
	}
	p := &cf.NetworkPolicy{SourceGUID: key[0], DestinationGUID: key[1], Protocol: "tcp", StartPort: 8080, EndPort: 8080}
	c.update(func(tx cf.Tx) error { return tx.Insert(p) })
	c.policy[key] = p
}

// healthy is an instance that runs.
func (c *churn) healthy() (*cf.Placement, *cf.Report) {
	for _, i := range c.random.Perm(len(c.running)) {
		if r := c.report(c.running[i].GUID); r != nil && r.State == cf.InstanceRunning {
			return c.running[i], r
		}
	}
	return nil, nil
}

// ask makes a request as the router would; what it is answered does not matter.
func (c *churn) ask(r *cf.Report, path string) string {
	network := c.cell.Network()
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return network.DialTCP(ctx, netip.AddrPortFrom(netip.MustParseAddr(r.Address), 8080))
	}}}
	a, err := client.Get("http://app" + path)
	if err != nil {
		return err.Error()
	}
	defer a.Body.Close()
	b, _ := io.ReadAll(a.Body)
	return string(b)
}

func (c *churn) request() {
	if _, r := c.healthy(); r != nil {
		c.ask(r, "/count")
	}
}

// connect has one instance connect to another, and compares with the policies.
// One that is flipped is in force when the cell says so.
func (c *churn) connect() {
	from, rf := c.healthy()
	to, rt := c.healthy()
	if from == nil || to == nil || from == to {
		return
	}
	if err := c.cell.Rewired(c.Context()); err != nil {
		c.Error(err)
	}
	got := c.ask(rf, "/dial?to="+rt.Address+":8080")
	if allowed := c.policy[[2]string{from.AppGUID, to.AppGUID}] != nil; allowed != (got == "yes") && (got == "yes" || strings.HasPrefix(got, "no: ")) {
		c.Errorf("%s to %s, allowed %v: %s", from.AppGUID, to.AppGUID, allowed, got)
	}
}

// kill ends a guest from outside, in the middle of a connection.
func (c *churn) kill() {
	p, r := c.healthy()
	if p == nil {
		return
	}
	conn, err := c.cell.Network().DialTCP(c.Context(), netip.AddrPortFrom(netip.MustParseAddr(r.Address), 8080))
	if err == nil {
		defer conn.Close()
	}
	c.cell.mu.Lock()
	i := c.cell.instances[p.GUID]
	c.cell.mu.Unlock()
	if i == nil || i.guest == nil {
		return
	}
	i.guest.Kill()
	c.until(p.GUID+" is gone", func() bool { r := c.report(p.GUID); return r != nil && r.State == cf.InstanceEnded })
}

// restart replaces the cell; its guests go on.
func (c *churn) restart() {
	c.close()
	c.open()
}

// settle ends everything.
func (c *churn) settle() {
	c.Helper()
	for len(c.running) > 0 {
		c.remove(c.one())
	}
	c.update(func(tx cf.Tx) error {
		for _, p := range c.policy {
			if err := tx.Delete(p); err != nil {
				return err
			}
		}
		return nil
	})
	c.until("the cell is empty", func() bool { return len(c.cell.list()) == 0 && len(c.cell.Topology().Endpoints) == 0 })
	if err := c.cell.Rewired(c.Context()); err != nil {
		c.Error(err)
	}
}

// noRules: the kernel has what an empty topology means, and nothing else.
func (c *churn) noRules() {
	c.Helper()
	live, err := c.cell.Wall().Live()
	if err != nil {
		c.Fatal(err)
	}
	want, problems := firewall.Compile(c.cell.Topology(), c.cell.Wall().Kernel())
	if diff := nft.Diff(live, want); !diff.Empty() || len(problems) > 0 {
		c.Errorf("rules are left: %+v, %v", diff, problems)
	}
	if drops, err := c.cell.Wall().Drops(); err != nil || len(drops) > 0 {
		c.Errorf("counters of vNICs that are gone: %v, %v", drops, err)
	}
}

// links of the cell's network.
func (c *churn) links() (names []string) {
	err := c.cell.Network().Within(func() error {
		all, err := net.Interfaces()
		for _, i := range all {
			names = append(names, i.Name)
		}
		return err
	})
	if err != nil {
		c.Error(err)
	}
	return names
}

func (c *churn) noTaps() {
	c.Helper()
	c.until("no tap is left", func() bool {
		for _, name := range c.links() {
			if strings.HasPrefix(name, firewall.Prefix) {
				return false
			}
		}
		return true
	})
}

// noConnections: those that ended go by the kernel's clock, the others because
// somebody looks.
func (c *churn) noConnections() {
	c.Helper()
	flows, err := conntrack.Open(c.cell.Network().Within)
	if err != nil {
		c.Fatal(err)
	}
	defer flows.Close()
	if *soak == shortly { // who has time sees that the cell does it by itself
		if _, err := c.cell.Wall().Tidy(); err != nil {
			c.Error(err)
		}
	}
	c.until("no connection is tracked", func() bool {
		n := 0
		if err := flows.Each(func(f conntrack.Flow) {
			if c.cell.cfg.Guests.Contains(f.Src) || c.cell.cfg.Guests.Contains(f.Dst) {
				n++
			}
		}); err != nil {
			c.Fatal(err)
		}
		return n == 0
	})
}

func (c *churn) noGroups() {
	c.Helper()
	c.until("no control group is left", func() bool {
		for _, pattern := range []string{"/sys/fs/cgroup/*%s*", "/sys/fs/cgroup/*/*%s*", "/sys/fs/cgroup/*/*/*%s*"} {
			if found, _ := filepath.Glob(fmt.Sprintf(pattern, c.cell.prefix)); len(found) > 0 {
				return false
			}
		}
		return true
	})
}

// openNetworks is how many network namespaces this process holds open.
func openNetworks(t *testing.T) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(to, "net:[") {
			n++
		}
	}
	return n
}
