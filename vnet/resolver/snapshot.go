package resolver

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// DefaultDomain is internal even when no snapshot says so.
const DefaultDomain = "apps.internal"

// Snapshot is what the resolver knows of the world at one moment. Update copies
// what it needs.
type Snapshot struct {
	// Domains are the internal domains, as "apps.internal".
	Domains []string
	// Names are the routes on internal domains, as "shop.apps.internal", with
	// what each leads to.
	Names map[string][]Process
	// Apps by guid, wherever their instances run.
	Apps map[string]App
	// Askers are the guests of this cell: address to guid of the app.
	Askers map[netip.Addr]string
	// Protected are the addresses of hosts and the networks of guests: no
	// outside name may lead there.
	Protected []netip.Prefix
}

// Process is one type of process of an app.
type Process struct {
	App  string // guid
	Type string // web, worker ...
}

// App is what an app may ask, and where it is.
type App struct {
	// Reaches are the guids of the apps that network policies open to it.
	Reaches []string
	// Outside lets it resolve names that are not internal.
	Outside   bool
	Instances []Instance
}

// Instance is one guest of an app.
type Instance struct {
	Process string // its type
	Index   int
	Addr    netip.Addr
	Ready   bool
}

// table is a snapshot made ready for questions. It is immutable; meters and
// caches, which it points to, live on in the next one.
type table struct {
	domains   []string // canonical
	names     map[string][]target
	apps      map[string]*app
	askers    map[netip.Addr]*asker
	protected []netip.Prefix
}

type target struct {
	app     *app
	process string
}

type app struct {
	guid    string
	reaches map[string]bool
	outside bool
	ready   []Instance
	cache   *cache
}

type asker struct {
	app   *app
	meter *meter
}

// compile makes the table that follows old. An entry that is wrong is left out
// and named in the error; the table is good for the rest.
func compile(s Snapshot, old *table) (*table, error) {
	t := &table{names: map[string][]target{}, apps: map[string]*app{}, askers: map[netip.Addr]*asker{}}
	t.protected = append(alwaysProtected(), s.Protected...)
	wrong := t.addDomains(s.Domains)
	for guid, a := range s.Apps {
		made, err := compileApp(guid, a)
		wrong = append(wrong, err)
		t.apps[guid] = made
		if before := old.apps[guid]; before != nil {
			made.cache = before.cache
			made.cache.resize(cacheShare(len(s.Apps)))
		} else {
			made.cache = newCache(cacheShare(len(s.Apps)))
		}
	}
	for name, to := range s.Names {
		wrong = append(wrong, t.addName(name, to))
	}
	for addr, guid := range s.Askers {
		wrong = append(wrong, t.addAsker(addr.Unmap(), guid, old))
	}
	return t, errors.Join(wrong...)
}

func (t *table) addDomains(domains []string) (wrong []error) {
	t.domains = []string{dns.Fqdn(DefaultDomain)}
	for _, d := range domains {
		if _, legal := dns.IsDomainName(d); !legal || strings.Trim(d, ".") == "" {
			wrong = append(wrong, fmt.Errorf("internal domain %q is no domain name", d))
			continue
		}
		t.domains = append(t.domains, dns.CanonicalName(d))
	}
	return wrong
}

func compileApp(guid string, a App) (*app, error) {
	made := &app{guid: guid, reaches: map[string]bool{}, outside: a.Outside}
	for _, peer := range a.Reaches {
		made.reaches[peer] = true
	}
	var wrong []error
	for _, i := range a.Instances {
		switch {
		case !i.Addr.Unmap().Is4():
			wrong = append(wrong, fmt.Errorf("instance %d of app %s: %v is no IPv4 address", i.Index, guid, i.Addr))
		case i.Ready:
			made.ready = append(made.ready, Instance{i.Process, i.Index, i.Addr.Unmap(), true})
		}
	}
	return made, errors.Join(wrong...)
}

func (t *table) addName(name string, to []Process) error {
	canonical := dns.CanonicalName(name)
	if _, legal := dns.IsDomainName(name); !legal || t.domain(canonical) == "" {
		return fmt.Errorf("route %q is not below an internal domain", name)
	}
	for _, p := range to {
		if a := t.apps[p.App]; a != nil { // an app that is just going has no instances to name
			t.names[canonical] = append(t.names[canonical], target{a, p.Type})
		}
	}
	return nil
}

func (t *table) addAsker(addr netip.Addr, guid string, old *table) error {
	a := t.apps[guid]
	if a == nil {
		return fmt.Errorf("guest %v belongs to app %q, which is not in the snapshot", addr, guid)
	}
	made := &asker{app: a, meter: newMeter()}
	if before := old.askers[addr]; before != nil && before.app.guid == guid {
		made.meter = before.meter
	}
	t.askers[addr] = made
	return nil
}

// domain is the internal domain that a canonical name is in, or empty.
func (t *table) domain(name string) string {
	for _, d := range t.domains {
		if dns.IsSubDomain(d, name) {
			return d
		}
	}
	return ""
}

// resolve gives the addresses that a may have for an internal name. A number in
// front of a route's name picks the instance with that index.
func (t *table) resolve(a *app, name string) []netip.Addr {
	targets, index := t.names[name], -1
	if targets == nil {
		label, rest, _ := strings.Cut(name, ".")
		if index = instanceIndex(label); index >= 0 {
			targets = t.names[rest]
		}
	}
	var found []netip.Addr
	for _, to := range targets {
		if !a.reaches[to.app.guid] {
			continue
		}
		for _, i := range to.app.ready {
			if i.Process == to.process && (index < 0 || index == i.Index) {
				found = append(found, i.Addr)
			}
		}
	}
	return found
}

// instanceIndex reads a label that is a decimal number without leading zeros,
// -1 for any other.
func instanceIndex(label string) int {
	if len(label) == 0 || len(label) > 6 || len(label) > 1 && label[0] == '0' {
		return -1
	}
	n := 0
	for _, c := range []byte(label) {
		if c < '0' || c > '9' {
			return -1
		}
		n = n*10 + int(c-'0')
	}
	return n
}
