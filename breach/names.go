package breach

import (
	"context"
	"net/netip"
	"slices"

	"github.com/miekg/dns"
)

// asked is a name that a twin asks the cell's resolver for.
type asked struct {
	name    string
	rule    string
	allowed bool
}

// maxNames bounds the names of other apps that are asked for.
const maxNames = 24

// namesOf lists internal names, of apps that policies open and of others, and
// one of the outside that nobody has (RFC 6761).
func namesOf(s *Subject) (list []asked) {
	for _, n := range s.Topology.Names[:min(len(s.Topology.Names), maxNames)] {
		one := asked{name: n.Name, rule: "no network policy opens the app: its names do not exist"}
		ready := false
		for i := range s.Topology.Endpoints {
			e := &s.Topology.Endpoints[i]
			ready = ready || e.AppGUID == n.AppGUID && e.ProcessType == n.ProcessType && e.Ready
		}
		for _, p := range s.Topology.Policies {
			if p.SourceGUID == s.Self.AppGUID && p.DestinationGUID == n.AppGUID && ready {
				one.allowed, one.rule = true, "a network policy opens the app, and with it its names"
			}
		}
		list = append(list, one)
	}
	return list
}

// tryNames has a twin ask for names.
func (u *Suite) tryNames(ctx context.Context, site *Site, tell func(Finding)) error {
	names := namesOf(&site.Subject)
	answered := make([]bool, len(names))
	if len(names) == 0 || len(site.Subject.Topology.Resolvers) == 0 {
		return ctx.Err()
	}
	w := Witness{arrange: []func(*scene) error{onStreet(nil, nil), making(func(t *street, _ string) (frames []string) {
		for i, n := range names {
			frames = append(frames, t.query(uint16(i+1), n.name, dns.TypeA))
		}
		return frames
	})}}
	w.gained = func(s *scene) (bool, error) { return false, settled(s) }
	_, err := u.twin(ctx, site, &Row{Tender: site.Subject.Tender, Steps: []string{"{frames}", "send {lawful}", "hold"}, Witness: w}, func(s *scene) {
		for i := range names {
			answered[i] = s.street.delivered(func(b []byte) bool { m := answerIn(b); return m != nil && m.Id == uint16(i+1) && len(m.Answer) > 0 }) > 0
		}
	})
	for i, n := range names {
		f := Finding{Name: "name " + n.name, Class: Reach, Goal: "to learn its address", Predicted: Stopped, Rule: n.rule}
		if n.allowed {
			f.Predicted = Gained
		}
		f.settle(answered[i], err)
		tell(f)
	}
	return ctx.Err()
}

// query is a frame with a question for the resolver at the gateway.
func (t *street) query(id uint16, name string, kind uint16) string {
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), kind)
	m.Id = id
	b, _ := m.Pack() // of a name that is none: a datagram without a question
	return t.ip(udp(t.mal.at(3000+id), netip.AddrPortFrom(t.gateway, dnsPort), b))
}

const dnsPort = 53

// answerIn is the DNS message of a frame from the resolver, or nil.
func answerIn(frame []byte) *dns.Msg {
	if len(frame) < 42 || frame[12] != 8 || frame[13] != 0 || frame[23] != protoUDP || frame[34] != 0 || frame[35] != dnsPort {
		return nil
	}
	m := new(dns.Msg)
	if m.Unpack(slices.Clone(frame[42:])) != nil {
		return nil
	}
	return m
}
