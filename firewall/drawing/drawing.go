package drawing

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dewpaas/dew/cf"
)

// Names are what a topology has GUIDs of; those that are missing stand for
// themselves.
type Names struct {
	Apps, Spaces map[string]string
}

// Drawing is a topology for people.
type Drawing struct {
	Apps      []App    `json:"apps"`
	Groups    []Group  `json:"security_groups"`
	Resolvers []string `json:"resolvers"` // that every instance reaches
	Protected []Zone   `json:"protected"` // that no broad rule opens
}

// App is one app and all that leads to it or away from it.
type App struct {
	GUID      string    `json:"guid"`
	Name      string    `json:"name"`
	SpaceGUID string    `json:"space_guid,omitempty"`
	Space     string    `json:"space,omitempty"`
	Processes []Process `json:"processes"`
	Routes    []Route   `json:"routes"`
	Names     []string  `json:"internal_names"`
	From      []Policy  `json:"reached_by"` // by network policy
	To        []Policy  `json:"reaches"`
	Groups    []string  `json:"security_groups"` // names, while it runs
	Staging   []string  `json:"staging_groups"`  // and while it is staged
}

// Process is the instances of one process type.
type Process struct {
	Type      string     `json:"type"`
	Instances []Instance `json:"instances"`
}

// Instance as the network sees it.
type Instance struct {
	Index   int    `json:"index"`
	GUID    string `json:"guid"`
	Address string `json:"address"`
	VNIC    string `json:"vnic,omitempty"` // "": on another cell
	Ready   bool   `json:"ready"`
}

// Route leads from the street to a port.
type Route struct {
	URL  string `json:"url"`
	Type string `json:"process_type"`
	Port uint16 `json:"port"` // 0: the app's first
}

// Policy is one network policy, seen from one end.
type Policy struct {
	Peer     string `json:"peer"` // name of the other app
	PeerGUID string `json:"peer_guid"`
	Protocol string `json:"protocol"`
	Ports    string `json:"ports"`
}

// Group is a security group.
type Group struct {
	Name  string   `json:"name"`
	Scope []string `json:"scope"` // "all running", "all staging", "running in SPACE"
	Rules []Rule   `json:"rules"`
}

// Rule opens a destination.
type Rule struct {
	Protocol    string `json:"protocol"`
	Destination string `json:"destination"`
	Ports       string `json:"ports,omitempty"` // or type and code of ICMP
	Log         bool   `json:"log,omitempty"`
}

// Zone is a protected network.
type Zone struct {
	Prefix string `json:"prefix"`
	What   string `json:"what"`
}

// Draw reads a topology.
func Draw(t *cf.Topology, n Names) Drawing {
	d := Drawing{Apps: []App{}, Groups: []Group{}, Resolvers: []string{}, Protected: []Zone{}}
	apps := appsOf(t, n)
	for _, p := range t.Policies {
		policy := Policy{Protocol: p.Protocol, Ports: span(p.StartPort, p.EndPort)}
		from, to := apps[p.SourceGUID], apps[p.DestinationGUID]
		policy.Peer, policy.PeerGUID = to.Name, to.GUID
		from.To = append(from.To, policy)
		policy.Peer, policy.PeerGUID = from.Name, from.GUID
		to.From = append(to.From, policy)
	}
	for _, a := range apps {
		if len(a.Processes) > 0 { // the space of others is not known
			a.Groups, a.Staging = groupsOf(t, a.SpaceGUID, cf.Running), groupsOf(t, a.SpaceGUID, cf.Staging)
		}
		a.sort()
		d.Apps = append(d.Apps, *a)
	}
	slices.SortFunc(d.Apps, func(a, b App) int {
		return cmp.Or(cmp.Compare(a.Space, b.Space), cmp.Compare(a.Name, b.Name), cmp.Compare(a.GUID, b.GUID))
	})
	for i := range t.Groups {
		d.Groups = append(d.Groups, groupOf(t, &t.Groups[i], n))
	}
	slices.SortFunc(d.Groups, func(a, b Group) int { return cmp.Compare(a.Name, b.Name) })
	for _, r := range t.Resolvers {
		d.Resolvers = append(d.Resolvers, r.String())
	}
	for _, p := range t.Protected {
		d.Protected = append(d.Protected, Zone{p.Prefix.String(), p.What})
	}
	return d
}

// appsOf finds every app that the topology mentions.
func appsOf(t *cf.Topology, n Names) map[string]*App {
	apps := map[string]*App{}
	at := func(guid string) *App {
		if apps[guid] == nil {
			apps[guid] = &App{GUID: guid, Name: cmp.Or(n.Apps[guid], guid), Processes: []Process{}, Routes: []Route{}, Names: []string{},
				From: []Policy{}, To: []Policy{}, Groups: []string{}, Staging: []string{}}
		}
		return apps[guid]
	}
	for i := range t.Endpoints {
		e := &t.Endpoints[i]
		a := at(e.AppGUID)
		a.Name, a.SpaceGUID, a.Space = cmp.Or(e.AppName, a.Name), e.SpaceGUID, cmp.Or(n.Spaces[e.SpaceGUID], e.SpaceGUID)
		a.add(e)
	}
	for _, r := range t.Routes {
		a := at(r.AppGUID)
		a.Routes = append(a.Routes, Route{r.Route, r.ProcessType, r.Port})
	}
	for _, i := range t.Names {
		a := at(i.AppGUID)
		a.Names = append(a.Names, i.Name)
	}
	for _, p := range t.Policies {
		at(p.SourceGUID)
		at(p.DestinationGUID)
	}
	return apps
}

// add puts an instance to its process.
func (a *App) add(e *cf.Endpoint) {
	kind := e.ProcessType
	if e.Stage == cf.Staging {
		kind = "staging"
	}
	at := slices.IndexFunc(a.Processes, func(p Process) bool { return p.Type == kind })
	if at < 0 {
		a.Processes = append(a.Processes, Process{Type: kind})
		at = len(a.Processes) - 1
	}
	a.Processes[at].Instances = append(a.Processes[at].Instances, Instance{e.Index, e.GUID, e.Addr.String(), e.VNIC, e.Ready})
}

func (a *App) sort() {
	slices.SortFunc(a.Processes, func(x, y Process) int { return cmp.Compare(x.Type, y.Type) })
	for _, p := range a.Processes {
		slices.SortFunc(p.Instances, func(x, y Instance) int { return cmp.Or(cmp.Compare(x.Index, y.Index), cmp.Compare(x.GUID, y.GUID)) })
	}
	slices.SortFunc(a.Routes, func(x, y Route) int { return cmp.Or(cmp.Compare(x.URL, y.URL), cmp.Compare(x.Port, y.Port)) })
	slices.Sort(a.Names)
	for _, list := range [][]Policy{a.From, a.To} {
		slices.SortFunc(list, func(x, y Policy) int {
			return cmp.Or(cmp.Compare(x.Peer, y.Peer), cmp.Compare(x.Protocol, y.Protocol), cmp.Compare(x.Ports, y.Ports))
		})
	}
}

func span(first, last int) string {
	if first == last {
		return fmt.Sprint(first)
	}
	return fmt.Sprintf("%d-%d", first, last)
}

// groupsOf are the names of the groups that apply in a space.
func groupsOf(t *cf.Topology, space, stage string) []string {
	names := map[string]bool{}
	for i := range t.Groups {
		g := &t.Groups[i]
		if stage == cf.Running && g.Running || stage == cf.Staging && g.Staging {
			names[g.Name] = true
		}
		for _, b := range t.Bindings {
			if b.GroupGUID == g.GUID && b.SpaceGUID == space && b.Stage == stage {
				names[g.Name] = true
			}
		}
	}
	return append([]string{}, slices.Sorted(maps.Keys(names))...)
}

func groupOf(t *cf.Topology, g *cf.SecurityGroup, n Names) Group {
	one := Group{Name: g.Name, Scope: []string{}, Rules: []Rule{}}
	if g.Running {
		one.Scope = append(one.Scope, "all running")
	}
	if g.Staging {
		one.Scope = append(one.Scope, "all staging")
	}
	var spaces []string
	for _, b := range t.Bindings {
		if b.GroupGUID == g.GUID {
			spaces = append(spaces, b.Stage+" in "+cmp.Or(n.Spaces[b.SpaceGUID], b.SpaceGUID))
		}
	}
	slices.Sort(spaces)
	one.Scope = append(one.Scope, slices.Compact(spaces)...)
	for _, r := range g.Rules {
		ports := r.Ports
		if r.Type != nil && r.Code != nil {
			ports = fmt.Sprintf("type %s code %s", anyOr(*r.Type), anyOr(*r.Code))
		}
		one.Rules = append(one.Rules, Rule{r.Protocol, r.Destination, ports, r.Log})
	}
	return one
}

// anyOr is a type or code of ICMP, of which -1 is every one.
func anyOr(n int) string {
	if n < 0 {
		return "any"
	}
	return fmt.Sprint(n)
}

// counts is how many instances of what: "web 3, worker 1".
func (a *App) counts() string {
	var list []string
	for _, p := range a.Processes {
		list = append(list, fmt.Sprintf("%s %d", p.Type, len(p.Instances)))
	}
	if list == nil {
		return "no instances"
	}
	return strings.Join(list, ", ")
}
