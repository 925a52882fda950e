package firewall

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/dewpaas/dew/firewall/conntrack"
	"github.com/dewpaas/dew/firewall/nft"
)

// cut looks through all tracked connections and deletes those that the plan no
// longer allows, and those of addresses whose instance left. Their next packets
// are judged as those of a new connection.
func (w *Wall) cut() (int, error) {
	var doomed []conntrack.Flow
	err := w.flows.Each(func(f conntrack.Flow) {
		src, dst := number(f.Src), number(f.Dst)
		if w.left[src] || w.left[dst] || !w.plan.permits(f, src, dst) {
			doomed = append(doomed, f)
		}
	})
	if err != nil {
		return 0, fmt.Errorf("cut connections: %w", err)
	}
	for _, f := range doomed {
		if err := w.flows.Delete(f); err != nil {
			return 0, fmt.Errorf("cut connections: %w", err)
		}
	}
	clear(w.left)
	return len(doomed), nil
}

// maxLeft bounds the addresses that are remembered.
const maxLeft = 1024

// leave remembers the addresses that belong to another instance than before, or
// to none any more: their connections are of the past, whatever is allowed now.
func (w *Wall) leave(before, now *plan) {
	if before == nil {
		return
	}
	for n, e := range before.byAddr {
		if next := now.byAddr[n]; next == nil || next.GUID != e.GUID {
			w.left[n] = true
		}
	}
}

// mustLook tells whether connections may have to be cut. The kernel lists
// those of all namespaces to find ours, so instances that merely come and go do
// not cause it: an address that nobody has can wait until it is somebody's.
func (w *Wall) mustLook(before, now *plan, ch nft.Change) bool {
	if before == nil || ch.Tables > 0 || len(w.left) > maxLeft {
		return true
	}
	for n := range w.left {
		if now.byAddr[n] != nil {
			return true
		}
	}
	return ch.Chains > 0 || ch.Removed > 0 && before.tightened(now)
}

// Tidy deletes the tracked connections of instances that left since somebody
// looked, and returns how many: those of one that was killed would stay for a
// day. Watch calls it now and then.
func (w *Wall) Tidy() (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.plan == nil || len(w.left) == 0 {
		return 0, nil
	}
	return w.cut()
}

// tightened tells whether something was allowed that is not any more, other
// than by an instance that left.
func (p *plan) tightened(now *plan) bool {
	for n, e := range p.byAddr {
		if next := now.byAddr[n]; next != nil && next.GUID == e.GUID &&
			(next.class != e.class || next.app.id != e.app.id || next.Stage != e.Stage || !slices.Equal(next.Ports, e.Ports) || !slices.Equal(next.Datagrams, e.Datagrams) || !slices.Equal(next.routes, e.routes)) {
			return true
		}
	}
	for key, b := range p.policies {
		if next := now.policies[key]; next == nil || !slices.Equal(next.list, b.list) {
			return true
		}
	}
	t := now.topology
	return !slices.Equal(p.topology.Resolvers, t.Resolvers) || !slices.Equal(p.topology.Routers, t.Routers) || !slices.Equal(p.guests, now.guests)
}

// permits tells whether a connection may go on. What has no guest at either end
// is not ours to judge.
func (p *plan) permits(f conntrack.Flow, src, dst uint32) bool {
	if !inAny(p.guests, src) && !inAny(p.guests, dst) {
		return true
	}
	n := uint32(f.DstPort)
	if f.Protocol == protoICMP {
		n = uint32(f.Kind)
	}
	return p.answer(p.at(src), p.at(dst), f.Protocol, n).Allowed
}

// lost lists the vNICs that are no more.
func lost(before, now *plan) map[string]bool {
	gone := map[string]bool{}
	if before == nil {
		return gone
	}
	for _, e := range before.byAddr {
		if e.VNIC != "" {
			gone[e.VNIC] = true
		}
	}
	for _, e := range now.byAddr {
		delete(gone, e.VNIC)
	}
	return gone
}

// tune prepares connection tracking of the namespace, and lets it forward now
// that there are rules. Half-open and dying connections go soon: they are what
// floods consist of. A packet in the middle of an unknown connection counts as
// its beginning (tcp_loose): that is how a connection which was cut is refused
// with a reset instead of being left to wait.
func tune() error {
	for name, value := range map[string]string{
		"netfilter/nf_conntrack_tcp_loose":               "1",
		"netfilter/nf_conntrack_tcp_timeout_syn_sent":    "20",
		"netfilter/nf_conntrack_tcp_timeout_syn_recv":    "20",
		"netfilter/nf_conntrack_tcp_timeout_fin_wait":    "30",
		"netfilter/nf_conntrack_tcp_timeout_close_wait":  "60",
		"netfilter/nf_conntrack_tcp_timeout_last_ack":    "20",
		"netfilter/nf_conntrack_tcp_timeout_time_wait":   "20",
		"netfilter/nf_conntrack_tcp_timeout_established": "86400",
		"netfilter/nf_conntrack_udp_timeout":             "20",
		"netfilter/nf_conntrack_icmp_timeout":            "10",
		"netfilter/nf_conntrack_generic_timeout":         "60",
		"ipv4/ip_forward":                                "1",
		"ipv4/conf/all/route_localnet":                   "0",
		"ipv4/conf/all/accept_source_route":              "0",
		"ipv4/conf/all/accept_redirects":                 "0",
		"ipv4/conf/default/accept_redirects":             "0",
		"ipv4/conf/all/send_redirects":                   "0",
		"ipv4/conf/default/send_redirects":               "0",
	} {
		err := os.WriteFile(filepath.Join("/proc/sys/net", name), []byte(value), 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // a kernel without this knob has nothing to tune
			return fmt.Errorf("set sysctl: %w", err)
		}
	}
	return nil
}

// Count is packets and bytes that were dropped.
type Count struct{ Packets, Bytes uint64 }

// Drops tells for each vNIC what was dropped of what it sent, and why. vNICs
// that kept to the rules are not listed.
func (w *Wall) Drops() (map[string]map[Reason]Count, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := map[string]map[Reason]Count{}
	for _, family := range w.dropFamilies() {
		list, err := w.tables.Counters(family, Table, "drops")
		if err != nil {
			return nil, err
		}
		for _, c := range list {
			vnic, reason, ok := readDropKey(c.Key)
			if !ok {
				continue
			}
			if all[vnic] == nil {
				all[vnic] = map[Reason]Count{}
			}
			was := all[vnic][reason]
			all[vnic][reason] = Count{was.Packets + c.Packets, was.Bytes + c.Bytes}
		}
	}
	return all, nil
}

func (w *Wall) dropFamilies() []uint8 {
	if w.kernel.Lock == LockRouting {
		return []uint8{nft.NFPROTO_IPV4}
	}
	return []uint8{nft.NFPROTO_IPV4, nft.NFPROTO_NETDEV}
}

func readDropKey(key string) (vnic string, r Reason, ok bool) {
	if len(key) != 20 {
		return "", 0, false
	}
	return cString(key[:16]), Reason(nft.ReadMark(key[16:])), true
}

func cString(s string) string {
	for i := range len(s) {
		if s[i] == 0 {
			return s[:i]
		}
	}
	return s
}

// forget drops the counters of vNICs that are gone, so that another one of the
// same name begins at nothing.
func (w *Wall) forget(gone map[string]bool) error {
	if len(gone) == 0 {
		return nil
	}
	for _, family := range w.dropFamilies() {
		list, err := w.tables.Counters(family, Table, "drops")
		if err != nil {
			return err
		}
		var keys []string
		for _, c := range list {
			if vnic, _, ok := readDropKey(c.Key); ok && gone[vnic] {
				keys = append(keys, c.Key)
			}
		}
		if len(keys) == 0 {
			continue
		}
		g, err := w.tables.Commit(nft.Forget(family, Table, "drops", keys), w.generation)
		if errors.Is(err, nft.ErrStale) {
			return nil // the next Drift or Apply sees to the rest; old counts harm nobody
		}
		if err != nil {
			return err
		}
		w.generation = g
	}
	return nil
}
