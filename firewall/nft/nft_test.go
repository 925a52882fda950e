package nft

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/firewall/netlink"
)

// every is a ruleset with each statement and each kind of set once.
func every() *Ruleset {
	addr := "\x0a\x00\x00\x01"
	r := &Ruleset{Tables: []*Table{{Family: NFPROTO_IPV4, Name: "t",
		Sets: []*Set{
			{Name: "hash", Fields: Types("ipv4_addr", "inet_service"), Elements: []Element{{Key: Key(addr, Port(80))}}},
			{Name: "marks", Fields: Types("ipv4_addr"), DataType: TypeMark, DataLen: 4, Elements: []Element{{Key: addr, Mark: 7}}},
			{Name: "spans", Fields: Types("ipv4_addr"), DataType: unix.NFT_DATA_VERDICT, Flags: unix.NFT_SET_INTERVAL, Elements: []Element{
				{Key: "\x00\x00\x00\x00", End: "\x09\xff\xff\xff", Verdict: AcceptVerdict()},
				{Key: "\x0a\x00\x00\x00", End: "\x0a\x00\x00\xff", Verdict: GotoVerdict("other")},
				{Key: "\x0a\x00\x01\x00", Verdict: Verdict{}},
				{Key: "\xf0\x00\x00\x00", End: "\xff\xff\xff\xff", Verdict: AcceptVerdict()}}},
			{Name: "boxes", Fields: Types("mark", "inet_service"), Flags: unix.NFT_SET_INTERVAL | NFT_SET_CONCAT, Elements: []Element{
				{Key: Key("\x00\x00\x00\x07", Port(10)), End: Key("\x00\x00\x00\x07", Port(20))}}},
			{Name: "rated", Fields: Types("ifname"), Flags: unix.NFT_SET_EVAL, Elements: []Element{
				Rated(Name("dew1"), Limit{Rate: 10, Burst: 5}), Rated(Name("dew2"), Limit{Rate: 10, Burst: 5}, Limit{Rate: 1000, Burst: 500, Bytes: true})}},
			{Name: "counts", Fields: Types("ifname", "mark"), Flags: unix.NFT_SET_EVAL, Size: 100},
			{Name: "logged", Fields: Types("ipv4_addr"), Flags: unix.NFT_SET_EVAL, Size: 100, Timeout: 60},
		},
		Timeouts: []*Timeout{{Name: "short", Protocol: 17, Seconds: []uint32{20, 60}}},
		Chains: []*Chain{
			{Name: "in", Base: &Base{Hook: NF_INET_LOCAL_IN, Priority: -5, Drop: true}, Rules: []Rule{
				NewRule(State("established", NF_CT_STATE_ESTABLISHED), Accept()),
				NewRule(Redirected(), Accept()),
				NewRule(Remembered(&Timeout{Name: "short"})),
				NewRule(Faster(20, 50), Drop()),
				NewRule(Confirmed(), Called(IIFName(), "lo"), Accept()),
				NewRule(Prefixed(IIFName(), "dew"), Is(HeaderStart(), "!=", "0x45", "\x45"), Drop()),
				NewRule(NotPrefixed(OIFName(), "dew"), Called(IIFName(), "lo"), Accept()),
				NewRule(Hits(Fragment(), 0x3fff), Drop()),
				NewRule(IsProto("!=", "tcp", 6), Longer(1500), Drop()),
				NewRule(MarkFrom("marks", SAddr())),
				NewRule(InSet("boxes", MetaMark().Ordered(), DPort()), Accept()),
				NewRule(InSet("hash", DAddr(), DPort()), Jump("other")),
				NewRule(NotInSet("hash", SAddr(), DPort()), VMap("spans", DAddr())),
				NewRule(Slower("logged", SAddr(), 5, 20), LogTo(3, "deny", 64)),
				NewRule(Count("counts", IIFName(), Const("0x00000005", Mark(5)))),
				NewRule(InSet("rated", IIFName()), Accept()),
				NewRule(IsProto("", "tcp", 6), Reset()),
				NewRule(Prohibit()),
			}},
			{Name: "out", Base: &Base{Hook: NF_INET_POST_ROUTING, Priority: 100, NAT: true}, Rules: []Rule{NewRule(Called(OIFName(), "lo"), Masquerade())}},
			{Name: "other", Rules: []Rule{NewRule(IsAddr(SAddr(), ">=", "240.0.0.0", [4]byte{240}), Drop()), NewRule(Goto("third"))}},
			{Name: "third"},
		}}}}
	r.Sort()
	return r
}

// TestDecodeUndoesEncode: what is sent, read as the kernel would say it back, is
// the same.
func TestDecodeUndoesEncode(t *testing.T) {
	for _, table := range every().Tables {
		for _, c := range table.Chains {
			for _, r := range c.Rules {
				b := &batch{}
				b.newRule(table, c, r)
				in, chain, got, err := decodeRule(b.messages[0].Body)
				if err != nil || in != table.Name || chain != c.Name || fmt.Sprintf("%#v", got.Exprs) != fmt.Sprintf("%#v", r.Exprs) {
					t.Errorf("%s: %v\n got %#v\nwant %#v", r.Text, err, got.Exprs, r.Exprs)
				}
			}
			b := &batch{}
			b.newChain(table, c)
			_, got, err := decodeChain(table.Family, b.messages[0].Body)
			if err != nil || got.Name != c.Name || !sameBase(got.Base, c.Base) {
				t.Errorf("chain %+v: %+v, %v", c, got, err)
			}
		}
		for _, s := range table.Sets {
			checkSet(t, table, s)
		}
		for _, o := range table.Timeouts {
			b := &batch{}
			b.newTimeout(table, o)
			if in, got, err := decodeTimeout(b.messages[0].Body); err != nil || in != table.Name || !got.same(o) {
				t.Errorf("timeout %+v: %+v, %v", o, got, err)
			}
		}
	}
}

func checkSet(t *testing.T, table *Table, s *Set) {
	t.Helper()
	b := &batch{}
	b.newSet(table, s)
	_, got, err := decodeSet(b.messages[0].Body)
	if err != nil || !compatible(&Table{Sets: []*Set{got}}, &Table{Sets: []*Set{s}}) {
		t.Errorf("set %s: %+v, %v", s.Name, got, err)
	}
	if len(s.Elements) == 0 {
		return
	}
	b = &batch{}
	b.addElements(table, s, s.Elements)
	var ends []string
	var list []Element
	if err := decodeElements(b.messages[0].Body, func(x rawElement) {
		if x.end {
			ends = append(ends, x.Key)
		} else {
			list = append(list, x.Element)
		}
	}); err != nil {
		t.Fatalf("elements of %s: %v", s.Name, err)
	}
	if s.interval() && !s.concat() {
		closeIntervals(list, ends)
	}
	for i := range list {
		if list[i].End == list[i].Key {
			list[i].End = ""
		}
		if !list[i].same(s.Elements[i]) {
			t.Errorf("element of %s: got %+v, want %+v", s.Name, list[i], s.Elements[i])
		}
	}
}

func TestTextIsStable(t *testing.T) {
	text := every().Text()
	for _, want := range []string{
		"table ip t {", "type filter hook input priority -5; policy drop;", "10.0.0.1 . 80", "10.0.0.0-10.0.0.255 : goto other", "10.0.1.0 : drop",
		"0x00000007 . 10-20", `"dew2" limit rate 10/second burst 5 packets limit rate 1000 bytes/second burst 500 bytes`, "flags dynamic,timeout",
		"ct state established accept", `iifname "dew*" @nh,0,8 != 0x45 drop`, "meta mark set ip saddr map @marks", "update @counts { iifname . 0x00000005 counter }",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func ipPacket(src, dst string, protocol byte, rest ...byte) []byte {
	p := make([]byte, 20, 20+len(rest))
	p[0], p[9] = 0x45, protocol
	copy(p[12:], src)
	copy(p[16:], dst)
	p = append(p, rest...)
	p[3] = byte(len(p))
	return p
}

func TestEval(t *testing.T) {
	r := every()
	one, two := "\x0a\x00\x00\x01", "\x0a\x00\x00\x02"
	tcp := []byte{0, 1, 0, 80, 0, 0, 0, 0}
	for _, c := range []struct {
		name   string
		p      Packet
		want   string
		logs   int
		counts int
	}{
		{"established", Packet{State: NF_CT_STATE_ESTABLISHED, IIF: "x", Network: ipPacket(two, two, 6, tcp...)}, "accept in", 0, 0},
		{"confirmed", Packet{State: NF_CT_STATE_NEW, Status: IPS_CONFIRMED, IIF: "lo", Network: ipPacket(two, "\x0a\x00\x01\x01", 17, tcp...)}, "accept in", 0, 0},
		{"options", Packet{IIF: "dew1", Network: append([]byte{0x46}, ipPacket(two, two, 6, tcp...)[1:]...)}, "drop in", 0, 0},
		{"fragment", Packet{IIF: "x", Network: append(ipPacket(two, two, 6)[:6:6], append([]byte{0x20, 0}, ipPacket(two, two, 6, tcp...)[8:]...)...)}, "drop in", 0, 0},
		{"too long", Packet{IIF: "x", Network: append(ipPacket(two, two, 17, tcp...), make([]byte, 1600)...)}, "drop in", 0, 0},
		{"span of the source that is in no set", Packet{IIF: "x", Network: ipPacket(two, "\x05\x00\x00\x00", 6, tcp...)}, "accept in", 0, 0},
		{"beyond the last span but one", Packet{IIF: "x", Network: ipPacket(two, "\x0a\x00\x01\x01", 6, tcp...)}, "drop in reject", 1, 1},
		{"jump that comes back, and goes on", Packet{IIF: "dew1", Network: ipPacket(one, one, 6, tcp...)}, "accept in", 1, 1},
		{"mark and a box", Packet{IIF: "x", Network: ipPacket(one, two, 6, 0, 1, 0, 15, 0, 0, 0, 0)}, "accept in", 0, 0},
		{"goto without an end", Packet{IIF: "x", Network: ipPacket(two, "\x0a\x00\x00\x09", 17, tcp...)}, "drop in", 0, 0},
	} {
		out, err := r.Hook(NFPROTO_IPV4, NF_INET_LOCAL_IN, &c.p)
		got := out.Verdict.String() + " " + out.Chain
		if out.Reject != nil {
			got += " reject"
		}
		if err != nil || got != c.want || len(out.Logs) != c.logs || len(out.Counted) != c.counts {
			t.Errorf("%s: %s, logs %v, counted %d, %v; want %s", c.name, got, out.Logs, len(out.Counted), err, c.want)
		}
	}
}

func TestEvalRefusesWhatItDoesNotKnow(t *testing.T) {
	loop := &Ruleset{Tables: []*Table{{Family: NFPROTO_IPV4, Name: "t", Chains: []*Chain{
		{Name: "a", Base: &Base{}, Rules: []Rule{{Exprs: []Expr{Decide{Verdict{unix.NFT_JUMP, "a"}}}}}}}}}}
	for say, r := range map[string]*Ruleset{
		"opaque": {Tables: []*Table{{Family: NFPROTO_IPV4, Name: "t", Chains: []*Chain{{Name: "a", Base: &Base{}, Rules: []Rule{{Exprs: []Expr{Opaque{"fib", ""}}}}}}}}},
		"loop":   loop,
		"chain that is not there": {Tables: []*Table{{Family: NFPROTO_IPV4, Name: "t", Chains: []*Chain{{Name: "a", Base: &Base{},
			Rules: []Rule{NewRule(Goto("b"))}}}}}},
		"set that is not there": {Tables: []*Table{{Family: NFPROTO_IPV4, Name: "t", Chains: []*Chain{{Name: "a", Base: &Base{},
			Rules: []Rule{NewRule(InSet("b", SAddr()), Accept())}}}}}},
	} {
		if out, err := r.Hook(NFPROTO_IPV4, 0, &Packet{Network: ipPacket("\x01\x01\x01\x01", "\x01\x01\x01\x01", 6)}); err == nil {
			t.Errorf("%s: %+v", say, out)
		}
	}
}

func TestHooksRunInOrder(t *testing.T) {
	chain := func(name string, priority int32, drop bool, s ...Statement) *Chain {
		return &Chain{Name: name, Base: &Base{Priority: priority, Drop: drop}, Rules: []Rule{NewRule(s...)}}
	}
	r := &Ruleset{Tables: []*Table{{Family: NFPROTO_IPV4, Chains: []*Chain{
		chain("last", 10, true, Drop()), chain("first", -10, false, LogTo(1, "first", 0)), chain("middle", 0, false, LogTo(1, "middle", 0), Accept())}}}}
	out, err := r.Hook(NFPROTO_IPV4, 0, &Packet{})
	if err != nil || out.Accepted() || out.Chain != "last" || fmt.Sprint(out.Logs) != "[first middle]" {
		t.Errorf("%+v, %v: accept ends one chain, drop ends all", out, err)
	}
}

// TestDiffOrder: nothing is referred to before it is there, or removed while it
// still is, as a kernel model of names and references sees it.
func TestDiffOrder(t *testing.T) {
	d := rand.New(rand.NewPCG(1, 2))
	from := &Ruleset{}
	for range 300 {
		to := randomRuleset(d)
		k := newModel(from)
		for _, m := range Diff(from, to).Messages {
			if err := k.take(m); err != nil {
				t.Fatalf("%v\nfrom\n%s\nto\n%s", err, from.Text(), to.Text())
			}
		}
		from = to
	}
}

// randomRuleset has chains that refer to each other and to sets, and maps that
// refer to chains.
func randomRuleset(d *rand.Rand) *Ruleset {
	t := &Table{Family: NFPROTO_IPV4, Name: "t"}
	names := []string{"a", "b", "c", "d", "e"}
	d.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	names = names[:1+d.IntN(5)]
	slices.Sort(names)
	for i, name := range names {
		c := &Chain{Name: name}
		for range d.IntN(3) {
			if i+1 < len(names) {
				c.Rules = append(c.Rules, NewRule(Jump(names[i+1+d.IntN(len(names)-i-1)])))
			}
		}
		t.Chains = append(t.Chains, c)
	}
	for _, name := range []string{"m", "n"} {
		if d.IntN(2) == 0 {
			continue
		}
		s := &Set{Name: name, Fields: Types("inet_service"), DataType: unix.NFT_DATA_VERDICT}
		for port := range uint16(4) {
			if d.IntN(2) == 0 {
				s.Elements = append(s.Elements, Element{Key: Port(port), Verdict: GotoVerdict(names[len(names)-1])})
			}
		}
		t.Sets = append(t.Sets, s)
		t.Chains[0].Rules = append(t.Chains[0].Rules, NewRule(VMap(name, DPort())))
	}
	r := &Ruleset{Tables: []*Table{t}}
	r.Sort()
	return r
}

// model is as much of the kernel as it takes to know references: who refers to
// a chain or a set.
type model struct {
	there map[string]bool           // "chain a", "set m"
	rules map[string][]Expr         // by chain
	goes  map[string]map[string]any // set to key to chain
}

func newModel(r *Ruleset) *model {
	k := &model{map[string]bool{}, map[string][]Expr{}, map[string]map[string]any{}}
	for _, t := range r.Tables {
		for _, c := range t.Chains {
			k.there["chain "+c.Name] = true
			for _, one := range c.Rules {
				k.rules[c.Name] = append(k.rules[c.Name], one.Exprs...)
			}
		}
		for _, s := range t.Sets {
			k.there["set "+s.Name] = true
			k.goes[s.Name] = map[string]any{}
			for _, e := range s.Elements {
				k.goes[s.Name][e.Key] = "chain " + e.Verdict.Chain
			}
		}
	}
	return k
}

func refers(x Expr) string {
	switch x := x.(type) {
	case Decide:
		if x.Verdict.Chain != "" {
			return "chain " + x.Verdict.Chain
		}
	case Lookup:
		return "set " + x.Set
	}
	return ""
}

func (k *model) used(what string) bool {
	for _, list := range k.rules {
		if slices.ContainsFunc(list, func(x Expr) bool { return refers(x) == what }) {
			return true
		}
	}
	for _, m := range k.goes {
		for _, to := range m {
			if to == what {
				return true
			}
		}
	}
	return false
}

func (k *model) take(m netlink.Message) error {
	switch uint16(m.Kind) & 0xff {
	case unix.NFT_MSG_NEWCHAIN, unix.NFT_MSG_DELCHAIN:
		_, c, err := decodeChain(m.Family, m.Body)
		if err != nil {
			return err
		}
		return k.turn("chain "+c.Name, uint16(m.Kind)&0xff == unix.NFT_MSG_NEWCHAIN)
	case unix.NFT_MSG_NEWSET, unix.NFT_MSG_DELSET:
		_, s, err := decodeSet(m.Body)
		if err != nil {
			return err
		}
		if uint16(m.Kind)&0xff == unix.NFT_MSG_NEWSET {
			k.goes[s.Name] = map[string]any{}
		} else {
			delete(k.goes, s.Name)
		}
		return k.turn("set "+s.Name, uint16(m.Kind)&0xff == unix.NFT_MSG_NEWSET)
	case unix.NFT_MSG_NEWRULE:
		_, chain, r, err := decodeRule(m.Body)
		if err != nil || !k.there["chain "+chain] {
			return fmt.Errorf("rule for chain %q that is not there, %v", chain, err)
		}
		for _, x := range r.Exprs {
			if to := refers(x); to != "" && !k.there[to] {
				return fmt.Errorf("rule refers to %s that is not there", to)
			}
		}
		k.rules[chain] = append(k.rules[chain], r.Exprs...)
	case unix.NFT_MSG_DELRULE:
		_, chain, _, err := decodeRule(m.Body)
		delete(k.rules, chain)
		return err
	case unix.NFT_MSG_NEWSETELEM, unix.NFT_MSG_DELSETELEM:
		return k.elements(m)
	}
	return nil
}

func (k *model) elements(m netlink.Message) error {
	a, err := read(m.Body)
	if err != nil {
		return err
	}
	set := k.goes[a.text(unix.NFTA_SET_ELEM_LIST_SET)]
	if set == nil {
		return fmt.Errorf("elements of set %q that is not there", a.text(unix.NFTA_SET_ELEM_LIST_SET))
	}
	var failed error
	err = decodeElements(m.Body, func(x rawElement) {
		if uint16(m.Kind)&0xff == unix.NFT_MSG_DELSETELEM {
			if set[x.Key] == nil {
				failed = fmt.Errorf("element %x is not there", x.Key)
			}
			delete(set, x.Key)
			return
		}
		if !k.there["chain "+x.Verdict.Chain] || set[x.Key] != nil {
			failed = fmt.Errorf("element %x: there already, or to chain %q that is not", x.Key, x.Verdict.Chain)
		}
		set[x.Key] = "chain " + x.Verdict.Chain
	})
	if err != nil {
		return err
	}
	return failed
}

func (k *model) turn(what string, on bool) error {
	switch {
	case k.there[what] == on:
		return fmt.Errorf("%s is there: %v already", what, on)
	case !on && k.used(what):
		return fmt.Errorf("%s goes and is used", what)
	}
	k.there[what] = on
	return nil
}

func TestDiffOfTheSameIsEmpty(t *testing.T) {
	if d := Diff(every(), every()); !d.Empty() {
		t.Errorf("%d messages", len(d.Messages))
	}
	if len(every().Commands()) != len(Diff(&Ruleset{}, every()).Messages) {
		t.Error("Commands are not what Diff sends")
	}
	for i, m := range Diff(&Ruleset{}, every()).Messages {
		if c := every().Commands()[i]; !bytes.Equal(c.Message.Body, m.Body) {
			t.Errorf("%s: other bytes", c.Text)
		}
	}
}

// FuzzDecode: bytes that are understood are understood the same after they were
// written again; and the interpreter comes to an end with them, whatever the
// packet.
func FuzzDecode(f *testing.F) {
	for _, c := range every().Commands() {
		f.Add(c.Message.Body, []byte(ipPacket("\x0a\x00\x00\x01", "\x0a\x00\x00\x02", 6, 0, 1, 0, 80)))
	}
	f.Add([]byte{}, []byte{0x45})
	f.Fuzz(func(t *testing.T, b, packet []byte) {
		_, _ = decodeTable(NFPROTO_IPV4, b)
		_, chain, _ := decodeChain(NFPROTO_NETDEV, b)
		_, set, setErr := decodeSet(b)
		elements := 0
		decodeElements(b, func(rawElement) { elements++ })
		var counted []Counted
		decodeCounters(b, &counted)
		if elements > len(b) || len(counted) > len(b) || chain != nil && len(chain.Name) > len(b) {
			t.Fatalf("%d elements in %d bytes", elements, len(b))
		}
		_, _, rule, err := decodeRule(b)
		if err != nil {
			return
		}
		again, err := decodeExpressions([]byte(expressions(rule.Exprs)))
		if err != nil {
			t.Fatalf("%#v cannot be read again: %v", rule.Exprs, err)
		}
		if fmt.Sprintf("%#v", again) != fmt.Sprintf("%#v", rule.Exprs) && !opaque(rule.Exprs) {
			t.Fatalf("%#v is read again as %#v", rule.Exprs, again)
		}
		r := every()
		r.Tables[0].Chains[0].Rules = []Rule{rule}
		if setErr == nil {
			r.Tables[0].Sets = append(r.Tables[0].Sets, set)
		}
		if out, err := r.Hook(NFPROTO_IPV4, NF_INET_LOCAL_IN, &Packet{IIF: "dew1", Link: make([]byte, 14), Network: packet}); err == nil && out.Verdict.Chain != "" {
			t.Fatalf("ends with %v", out.Verdict)
		}
	})
}

// opaque tells whether an instruction was kept as bytes, which are written
// without what the kernel had around them.
func opaque(list []Expr) bool {
	return slices.ContainsFunc(list, func(x Expr) bool {
		if r, is := x.(Remember); is {
			x = r.With
		}
		_, is := x.(Opaque)
		return is
	})
}
