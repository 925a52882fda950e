package offload

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/rlimit"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Reason is why a frame was refused.
type Reason uint32

// The reasons.
const (
	ReasonSegment  Reason = 1 // segments shorter than MinSegment
	ReasonChecksum Reason = 2 // a checksum where TCP and UDP have none
)

func (r Reason) String() string {
	switch r {
	case ReasonSegment:
		return "segment"
	case ReasonChecksum:
		return "checksum"
	}
	return fmt.Sprintf("reason %d", uint32(r))
}

// MinSegment is the shortest segment in bytes that a guest may have cut: what
// Linux announces at least (net.ipv4.route.min_adv_mss).
const MinSegment = 256

// Guard is the loaded program.
type Guard struct {
	program *ebpf.Program
	drops   *ebpf.Map
}

// counterKey is the key of the map of counters.
type counterKey struct {
	Device uint32 // interface index
	Reason Reason
}

// maxCounters bounds the map: taps that misbehave, times two.
const maxCounters = 16384

// Load prepares the program for this kernel.
func Load() (*Guard, error) {
	places, err := findPlaces()
	if err != nil {
		return nil, fmt.Errorf("guard against false offloads: %w", err)
	}
	// Kernels before 5.11 count maps as locked memory; later ones need nothing.
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, fmt.Errorf("guard against false offloads: %w: run dew as root", err)
	}
	drops, err := ebpf.NewMap(&ebpf.MapSpec{Name: "dew_drops", Type: ebpf.Hash, KeySize: 8, ValueSize: 8, MaxEntries: maxCounters})
	if err != nil {
		return nil, fmt.Errorf("guard against false offloads: make a map: %w", explained(err))
	}
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "dew_offload", Type: ebpf.SchedCLS, Instructions: instructions(places, drops.FD()), License: licence})
	if err != nil {
		drops.Close()
		return nil, fmt.Errorf("guard against false offloads: load the program: %w", explained(err))
	}
	return &Guard{program, drops}, nil
}

func explained(err error) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w: run dew as root", err)
	}
	return err
}

// Close lets go of the program; taps that have it keep it.
func (g *Guard) Close() error { return errors.Join(g.program.Close(), g.drops.Close()) }

// Attach makes the kernel run the program for each frame that comes from a tap.
// It lasts as long as the tap.
func (g *Guard) Attach(links *netlink.Handle, link netlink.Link) error {
	index := link.Attrs().Index
	err := links.QdiscAdd(&netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}})
	if err == nil {
		err = links.FilterAdd(&netlink.BpfFilter{
			FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: netlink.HANDLE_MIN_INGRESS, Handle: 1, Protocol: unix.ETH_P_ALL, Priority: 1},
			Fd:          g.program.FD(), Name: "dew_offload", DirectAction: true})
	}
	if err != nil {
		return fmt.Errorf("guard %s against false offloads: %w", link.Attrs().Name, err)
	}
	return nil
}

// Drops counts the frames that were refused, by interface index and reason.
func (g *Guard) Drops() (map[int]map[Reason]uint64, error) {
	all := map[int]map[Reason]uint64{}
	var key counterKey
	var n uint64
	each := g.drops.Iterate()
	for each.Next(&key, &n) {
		device := int(key.Device)
		if all[device] == nil {
			all[device] = map[Reason]uint64{}
		}
		all[device][key.Reason] = n
	}
	if err := each.Err(); err != nil {
		return nil, fmt.Errorf("read the drops of the guard: %w", err)
	}
	return all, nil
}

// Forget drops the counters of an interface that is gone.
func (g *Guard) Forget(device int) error {
	for _, r := range []Reason{ReasonSegment, ReasonChecksum} {
		if err := g.drops.Delete(counterKey{uint32(device), r}); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("forget the drops of interface %d: %w", device, err)
		}
	}
	return nil
}

// places are where struct sk_buff of this kernel has what the program reads, in
// bytes, and for the bits of ip_summed how to cut them out.
type places struct {
	summed, checksumStart, networkHeader int32
	summedShift, summedMask              int32
}

func findPlaces() (p places, err error) {
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		return p, fmt.Errorf("the kernel does not describe its types: %w: it must be built with CONFIG_DEBUG_INFO_BTF", err)
	}
	var buff *btf.Struct
	if err := spec.TypeByName("sk_buff", &buff); err != nil {
		return p, fmt.Errorf("find struct sk_buff: %w", err)
	}
	for name, to := range map[string]*int32{"csum_start": &p.checksumStart, "network_header": &p.networkHeader} {
		m, at, ok := member(buff.Members, 0, name)
		if !ok || at%8 != 0 {
			return p, fmt.Errorf("struct sk_buff has no %s that can be read", name)
		}
		*to = int32(at / 8)
		_ = m
	}
	m, at, ok := member(buff.Members, 0, "ip_summed")
	if !ok || m.BitfieldSize == 0 || at%8+m.BitfieldSize > 8 {
		return p, errors.New("struct sk_buff has no ip_summed that can be read")
	}
	p.summed, p.summedShift, p.summedMask = int32(at/8), int32(at%8), 1<<m.BitfieldSize-1
	return p, nil
}

// member finds a member by name, also within anonymous structs and unions, and
// its place in bits.
func member(list []btf.Member, base btf.Bits, name string) (btf.Member, btf.Bits, bool) {
	for _, m := range list {
		at := base + m.Offset
		if m.Name == name {
			return m, at, true
		}
		if m.Name != "" {
			continue
		}
		var inner []btf.Member
		switch t := btf.UnderlyingType(m.Type).(type) {
		case *btf.Struct:
			inner = t.Members
		case *btf.Union:
			inner = t.Members
		}
		if found, at, ok := member(inner, at, name); ok {
			return found, at, true
		}
	}
	return btf.Member{}, 0, false
}
