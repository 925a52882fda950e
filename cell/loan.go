package cell

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/vnet"
)

// Wish is what a place should be like.
type Wish struct {
	// AppGUID is the app whose network policies and security groups apply; a
	// GUID that no app has makes a place that nothing else allows anything.
	AppGUID, SpaceGUID string
	Name               string // of an app that is none
}

// Place is a vNIC with its address, behind the firewall as every instance's,
// without an instance. No route and no name leads to it.
type Place struct {
	GUID string
	VNIC vnet.VNIC
	Tap  *os.File `json:"-"`
}

// loan is places that were lent together.
type loan struct {
	places   []Place
	c        *Cell
	key      string
	wishes   []Wish
	policies []cf.NetworkPolicy
}

// maxLent bounds the places of one loan.
const maxLent = 16

// Lend gives out places, and policies between them, until they are given back.
// Policies lead to apps that are none only, so nothing is opened that is
// somebody's. Who still has a tap then has one that nothing passes.
func (c *Cell) Lend(ctx context.Context, wishes []Wish, policies []cf.NetworkPolicy) (places []Place, giveBack func(), err error) {
	if len(wishes) == 0 || len(wishes) > maxLent {
		return nil, nil, fmt.Errorf("%d places are asked for: want 1 to %d", len(wishes), maxLent)
	}
	apps := c.Apps()
	for _, p := range policies {
		to := p.DestinationGUID
		if apps == nil || apps[to] != "" || !slices.ContainsFunc(wishes, func(w Wish) bool { return w.AppGUID == to }) {
			return nil, nil, errors.New("a policy of a loan may lead to its own places only")
		}
	}
	l := &loan{c: c, key: lentPrefix + rand.Text(), wishes: wishes, policies: policies}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	for i := range wishes {
		addr, err := c.pool.give()
		if err != nil {
			return nil, nil, err
		}
		l.places = append(l.places, Place{GUID: fmt.Sprintf("%s-%d", l.key, i), VNIC: c.card(addr)})
	}
	c.wiring.mu.Lock()
	c.wiring.lent[l.key] = l
	c.wiring.mu.Unlock()
	if err := c.wiring.ask(ctx); err != nil {
		return nil, nil, err
	}
	for i := range l.places {
		p := &l.places[i]
		if p.Tap, err = c.network.AddTap(p.VNIC); err != nil {
			return nil, nil, err
		}
	}
	return l.places, l.close, nil
}

// addTo makes the loan part of a topology. The caller holds wiring.mu.
func (l *loan) addTo(t *cf.Topology, known *world) {
	for i, p := range l.places {
		w := l.wishes[i]
		e := known.endpoint(&cf.Placement{Meta: cf.Meta{GUID: p.GUID}, AppGUID: w.AppGUID, SpaceGUID: w.SpaceGUID, Type: lentPrefix}, p.VNIC)
		if e.AppName == "" {
			e.AppName = w.Name
		}
		t.Endpoints = append(t.Endpoints, e)
	}
	t.Policies = slices.Concat(t.Policies, l.policies)
}

func (l *loan) close() {
	for _, p := range l.places {
		if p.Tap != nil {
			p.Tap.Close()
		}
	}
	l.c.wiring.mu.Lock()
	delete(l.c.wiring.lent, l.key)
	l.c.wiring.mu.Unlock()
	l.c.wiring.hint(false)
	for _, p := range l.places {
		l.c.pool.free(p.VNIC.Addr)
	}
}
