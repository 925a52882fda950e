package firewall

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/firewall/conntrack"
	"github.com/dewpaas/dew/firewall/nft"
)

// The kernel tracks at most nf_conntrack_max connections of a network for
// everybody in it, and refuses new ones beyond. So that no guest fills the table
// up, Relieve looks at it: nothing happens while there is room. nftables could
// count for each guest with every new connection (`ct count`); it walks the list
// of all that the guest has open, some microseconds for each hundred.

// crowded is from which part of the table on the guests are looked at.
const crowded = 4

// maxConnections is how many connections of its own a guest may have open in a
// table that is crowded. In one that is nearly full it is less: a fair share.
const maxConnections = 8192

// crowdingTime is for how long a guest that has too many begins no others, in
// seconds. It is looked at again before it is over.
const crowdingTime = 5

func crowdingSet() *nft.Set {
	return &nft.Set{Name: "crowding", Fields: types("ipv4_addr"), Flags: unix.NFT_SET_EVAL, Size: 65536, Timeout: crowdingTime}
}

// Relieve keeps guests that fill the table of connections from beginning more,
// and returns how many they are. Watch calls it once a second.
func (w *Wall) Relieve() (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.plan == nil {
		return 0, nil
	}
	used, room, err := w.tableUse()
	if err != nil {
		return 0, err
	}
	return w.relieve(used, room)
}

func (w *Wall) relieve(used, room int) (int, error) {
	if used < room/crowded {
		return 0, nil
	}
	open := map[uint32]int{}
	if err := w.flows.Each(func(f conntrack.Flow) {
		if src := number(f.Src); w.plan.byAddr[src] != nil {
			open[src]++
		}
	}); err != nil {
		return 0, fmt.Errorf("count connections: %w", err)
	}
	most := maxConnections
	if used >= room*3/4 {
		most = min(most, room/2/max(1, len(open)))
	}
	var hogs []nft.Element
	for n, has := range open {
		if has > most && w.plan.byAddr[n].VNIC != "" {
			hogs = append(hogs, nft.Element{Key: bytes4(n)})
		}
	}
	return len(hogs), w.hold(hogs)
}

// hold puts guests among those that begin no connections for a while.
func (w *Wall) hold(hogs []nft.Element) error {
	if len(hogs) == 0 {
		return nil
	}
	t := &nft.Table{Family: nft.NFPROTO_IPV4, Name: Table}
	g, err := w.tables.Commit(nft.Add(t, crowdingSet(), hogs...), w.generation)
	if errors.Is(err, nft.ErrStale) || errors.Is(err, unix.ENOENT) {
		w.sure = false // repaired by the next Drift, and held by the next look
		return nil
	}
	if err != nil {
		return fmt.Errorf("hold guests that crowd: %w", err)
	}
	w.generation = g
	return nil
}

// tableUse reads how many connections are tracked in the network, and how many
// may be: half of what the kernel would allow. What leaves by the uplink is
// tracked again by the host, which has the same bound and connections of its own.
func (w *Wall) tableUse() (used, room int, err error) {
	err = w.in(func() (err error) {
		if used, err = readNumber("/proc/sys/net/netfilter/nf_conntrack_count"); err == nil {
			room, err = readNumber("/proc/sys/net/netfilter/nf_conntrack_max")
			room /= 2
		}
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("look at the table of connections: %w", err)
	}
	return used, room, nil
}

func readNumber(path string) (int, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}
