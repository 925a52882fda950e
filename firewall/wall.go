package firewall

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/firewall/conntrack"
	"github.com/dewpaas/dew/firewall/nft"
)

// Wall is the firewall of one network namespace.
type Wall struct {
	in     func(func() error) error
	kernel Kernel

	mu         sync.Mutex // one change at a time; guards all below
	tables     *nft.Conn
	flows      *conntrack.Conn
	plan       *plan // what was applied last; nil before the first Apply
	sure       bool  // the kernel had the rules of plan at generation
	generation uint32
	left       map[uint32]bool // addresses whose instance left since connections were looked through
}

// Open prepares the firewall of the network namespace that in runs functions
// in. It finds out what the kernel can do and changes nothing that lasts.
func Open(in func(func() error) error) (*Wall, error) {
	w := &Wall{in: in, left: map[uint32]bool{}}
	var err error
	if w.tables, err = nft.Open(in); err != nil {
		return nil, fmt.Errorf("open the firewall: %w", explained(err))
	}
	if w.flows, err = conntrack.Open(in); err != nil {
		w.tables.Close()
		return nil, fmt.Errorf("open the firewall: %w", explained(err))
	}
	if w.kernel.Lock, err = probe(w.tables); err != nil {
		w.Close()
		return nil, fmt.Errorf("open the firewall: %w", explained(err))
	}
	return w, nil
}

// explained names the remedy for what users can do something about.
func explained(err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: run dew as root", err)
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%w: load the kernel modules with `modprobe -a nf_tables nf_conntrack_netlink nfnetlink_log`", err)
	}
	return err
}

// Close lets go of the kernel's ear; the rules stay.
func (w *Wall) Close() error { return errors.Join(w.tables.Close(), w.flows.Close()) }

// Kernel is what was found out about the machine.
func (w *Wall) Kernel() Kernel { return w.kernel }

// probe finds the best lock that the kernel has, by making each in a table that
// is gone again afterwards.
func probe(c *nft.Conn) (Lock, error) {
	for _, try := range []struct {
		lock   Lock
		device string
	}{{LockWildcard, Prefix + "*"}, {LockDevice, "lo"}} {
		t := &nft.Table{Family: nft.NFPROTO_NETDEV, Name: "dew-probe",
			Chains: []*nft.Chain{{Name: "c", Base: &nft.Base{Hook: nft.NF_NETDEV_INGRESS, Device: try.device}}}}
		made, none := &nft.Ruleset{Tables: []*nft.Table{t}}, &nft.Ruleset{}
		_, err := c.Commit(nft.Diff(none, made), 0)
		if errors.Is(err, unix.EPERM) {
			return 0, err
		}
		if err != nil {
			continue // not known to this kernel, in whatever way it says so
		}
		if _, err := c.Commit(nft.Diff(made, none), 0); err != nil {
			return 0, err
		}
		return try.lock, nil
	}
	return LockRouting, nil
}

// Applied is what a change did.
type Applied struct {
	Added, Removed int       // elements
	Chains         int       // made, removed or rewritten
	Cut            int       // connections that are no longer allowed
	Repaired       bool      // somebody else had changed our tables
	Problems       []Problem // what the topology has that cannot be enforced, and is denied
}

// attempts bounds how often a change is tried again because the kernel's tables
// were not what they were thought to be.
const attempts = 5

// Apply makes a topology true: rules first, in one transaction, then the
// connections that are no longer allowed are cut. When it fails the rules are
// those from before. The topology must not be changed afterwards.
func (w *Wall) Apply(t cf.Topology) (Applied, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := newPlan(&t, w.plan)
	done := Applied{Problems: p.problems}
	change, err := w.bring(p, &done)
	if err != nil {
		return done, err
	}
	before := w.plan
	w.plan, w.sure = p, true
	if before == nil {
		if err := w.in(tune); err != nil {
			return done, fmt.Errorf("tune connection tracking: %w", err)
		}
	}
	w.leave(before, p)
	if w.mustLook(before, p, change) {
		if done.Cut, err = w.cut(); err != nil {
			return done, err
		}
	}
	return done, w.forget(lost(before, p))
}

// bring makes the rules of p those of the kernel. Where the kernel may have
// others than those of the last plan, it is read and all is compared.
func (w *Wall) bring(p *plan, done *Applied) (nft.Change, error) {
	var err error
	for range attempts {
		var ch nft.Change
		if w.sure {
			ch = change(w.plan, p, w.kernel)
		} else if ch, err = w.compare(p, done); err != nil {
			return nft.Change{}, err
		}
		var g uint32
		g, err = w.tables.Commit(ch, w.generation)
		if err == nil {
			w.generation = g
			done.Added, done.Removed, done.Chains = ch.Added, ch.Removed, ch.Chains
			return ch, nil
		}
		w.sure = false
		if !errors.Is(err, nft.ErrStale) && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EEXIST) && !errors.Is(err, unix.EBUSY) {
			break
		}
	}
	return nft.Change{}, err
}

// compare finds the change to p from what the kernel really has.
func (w *Wall) compare(p *plan, done *Applied) (nft.Change, error) {
	have, g, err := w.tables.Read(Table)
	if err != nil {
		return nft.Change{}, err
	}
	w.generation = g
	if w.plan != nil {
		drift := nft.Diff(have, w.plan.ruleset(w.kernel, nil))
		done.Repaired = done.Repaired || !drift.Empty()
	}
	return nft.Diff(have, p.ruleset(w.kernel, nil)), nil
}

// Drift looks whether somebody else changed our tables since the last change,
// and repairs them. Repaired tells whether there was anything to do.
func (w *Wall) Drift() (Applied, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var done Applied
	if w.plan == nil {
		return done, nil
	}
	g, err := w.tables.Generation()
	if err != nil || w.sure && g == w.generation {
		return done, err
	}
	w.sure = false
	if _, err := w.bring(w.plan, &done); err != nil {
		return done, err
	}
	w.sure = true
	if done.Repaired {
		done.Cut, err = w.cut()
	}
	return done, err
}

// Reach answers a question from the topology that is in force.
func (w *Wall) Reach(q Question) (Answer, error) {
	protocol, n, err := q.selector()
	if err != nil {
		return Answer{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.plan == nil {
		return Answer{Rule: "default deny: nothing was applied yet"}, nil
	}
	return w.plan.answer(w.plan.peer(q.From), w.plan.peer(q.To), protocol, n), nil
}

// Live reads the rules that the kernel has now, for Simulate.
func (w *Wall) Live() (*nft.Ruleset, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r, _, err := w.tables.Read(Table)
	return r, err
}
