package cell

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/tender"
)

// listing keeps the texts that were logged.
type listing []string

func (l *listing) Log(line cf.LogLine) {
	kind := ""
	if line.Err {
		kind = "E:"
	}
	*l = append(*l, kind+string(line.Text))
}

func TestOutputCutsLines(t *testing.T) {
	long := strings.Repeat("y", maxLine)
	for text, want := range map[string][]string{
		"a\nb\n":            {"a", "b"},
		"a\n\n\nb":          {"a", "b"},
		"":                  nil,
		"\n":                nil,
		"\xff\x00\n":        {"\xff\x00"},
		long + "z\n":        {long, "z"},
		long + "\n" + "z\n": {long, "z"},
		long + long + "z":   {long, long, "z"},
	} {
		var got listing
		o := &output{logs: &got, kept: new(tender.Console), limited: new(atomic.Uint64), rate: -1, clock: time.Now}
		o.read(iotest.OneByteReader(strings.NewReader(text)), false)
		if fmt.Sprintf("%q", []string(got)) != fmt.Sprintf("%q", want) {
			t.Errorf("%.40q of %d bytes: %d lines, want %d", text, len(text), len(got), len(want))
		}
	}
}

// FuzzOutput: what is logged is what was written, without line ends and empty
// lines, in pieces that are not too long.
func FuzzOutput(f *testing.F) {
	f.Add("a\nb\n\nc", uint64(1))
	f.Add(strings.Repeat("x", maxLine+1)+"\n", uint64(2))
	f.Fuzz(func(t *testing.T, text string, seed uint64) {
		var got listing
		o := &output{logs: &got, kept: new(tender.Console), limited: new(atomic.Uint64), rate: -1, clock: time.Now}
		r := rand.New(rand.NewPCG(seed, 0))
		o.read(&pieces{text, r}, false)
		if all := strings.Join(got, ""); all != strings.ReplaceAll(text, "\n", "") {
			t.Errorf("%q became %q", text, all)
		}
		for _, line := range got {
			if len(line) == 0 || len(line) > maxLine {
				t.Errorf("a line of %d bytes", len(line))
			}
		}
	})
}

// pieces reads a text in pieces of any size.
type pieces struct {
	rest string
	r    *rand.Rand
}

func (p *pieces) Read(b []byte) (int, error) {
	if p.rest == "" {
		return 0, fmt.Errorf("end")
	}
	n := copy(b[:1+p.r.IntN(len(b))], p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

func TestOutputKeepsToItsRate(t *testing.T) {
	var got listing
	now := time.Unix(100, 0)
	o := &output{logs: &got, kept: new(tender.Console), limited: new(atomic.Uint64), rate: 10, clock: func() time.Time { return now }}
	say := func(text string) { o.read(strings.NewReader(text), false) }
	say("12345\n12345\nx\ny\n")
	now = now.Add(time.Second)
	say("1234567\n")
	if rate := o.perSecond(now); rate != 10 {
		t.Errorf("%d bytes in the last second", rate)
	}
	say("12345\n123\n")
	if n := o.limited.Load(); n != 3 {
		t.Errorf("%d lines over the limit were counted", n)
	}
	want := `["12345" "12345" "E:app instance exceeded log rate limit (10 bytes/sec)" "1234567" "E:app instance exceeded log rate limit (10 bytes/sec)" "123"]`
	if s := fmt.Sprintf("%q", []string(got)); s != want {
		t.Errorf("got %s\nwant %s", s, want)
	}
	now = now.Add(time.Second)
	if rate := o.perSecond(now); rate != 10 {
		t.Errorf("%d bytes in the last second", rate)
	}
	now = now.Add(time.Second)
	if rate := o.perSecond(now); rate != 0 {
		t.Errorf("%d bytes in a second of silence", rate)
	}
}

func TestAddresses(t *testing.T) {
	a := newAddresses(netip.MustParsePrefix("10.1.2.3/29"))
	if a.take(netip.MustParseAddr("10.1.2.9")) || !a.take(netip.MustParseAddr("10.1.2.3")) || a.take(netip.MustParseAddr("10.1.2.3")) {
		t.Error("an address was taken that should not, or the other way round")
	}
	var all []string
	for range 4 {
		n, err := a.give()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, n.String())
	}
	if s := strings.Join(all, " "); s != "10.1.2.2 10.1.2.4 10.1.2.5 10.1.2.6" {
		t.Error(s)
	}
	if _, err := a.give(); err == nil {
		t.Error("an address of a full network")
	}
	a.free(netip.MustParseAddr("10.1.2.4"))
	a.free(netip.MustParseAddr("10.1.2.2"))
	if n, err := a.give(); err != nil || n.String() != "10.1.2.2" {
		t.Errorf("%v, %v", n, err)
	}
	if c := nic(netip.MustParseAddr("10.255.3.4")); c.Name != "dew0aff0304" || c.MAC != [6]byte{2, 0xde, 10, 255, 3, 4} {
		t.Errorf("%+v", c)
	}
}

// TestAFloodOfLinesIsNotLookedAt: what is over is dropped without being read
// line by line, and the next second begins with what comes then.
func TestAFloodOfLinesIsNotLookedAt(t *testing.T) {
	var got listing
	now := time.Unix(100, 0)
	looks := 0
	o := &output{logs: &got, kept: new(tender.Console), limited: new(atomic.Uint64), rate: -1, clock: func() time.Time { looks++; return now }}
	const flood = 100 * maxLines
	later := strings.NewReader("after\n")
	o.read(io.MultiReader(strings.NewReader(strings.Repeat("x\n", flood)), reader(func([]byte) (int, error) {
		now = now.Add(time.Second)
		return 0, io.EOF
	}), later), false)
	if looks > 2*maxLines {
		t.Errorf("%d lines of %d were looked at", looks, flood)
	}
	if n := o.limited.Load(); n != flood-maxLines {
		t.Errorf("%d lines over the limit were counted of %d", n, flood-maxLines)
	}
	if n := len(got); n != maxLines+2 || got[n-2] != "E:app instance exceeded log rate limit (10000 lines/sec)" || got[n-1] != "after" {
		t.Errorf("%d lines, the last %q", n, got[max(0, n-3):])
	}
}

// reader is a function that reads.
type reader func([]byte) (int, error)

func (f reader) Read(b []byte) (int, error) { return f(b) }

// TestQuietGuestsCostLittle: the buffer is small while little is said, and again
// after a flood.
func TestQuietGuestsCostLittle(t *testing.T) {
	in := &lineReader{r: io.MultiReader(strings.NewReader("a\n"), strings.NewReader(strings.Repeat("x\n", 200<<10)),
		strings.NewReader("b\n"), strings.NewReader(strings.Repeat("y", 3*maxLine)), strings.NewReader("\n"), strings.NewReader("c"))}
	read := func(want string) {
		t.Helper()
		if text, err := in.next(); err != nil || string(text) != want {
			t.Fatalf("%.20q, %v; want %.20q", text, err, want)
		}
	}
	read("a\n")
	if len(in.buf) != smallBuffer {
		t.Errorf("%d bytes for a short line", len(in.buf))
	}
	most := 0
	for range 200 << 10 {
		read("x\n")
		most = max(most, len(in.buf))
	}
	read("b\n")
	if most < 16<<10 || most > maxLine || len(in.buf) > 4*smallBuffer {
		t.Errorf("%d bytes in a flood, %d after it", most, len(in.buf))
	}
	for range 3 {
		read(strings.Repeat("y", maxLine))
	}
	read("\n")
	if text, err := in.next(); err != io.EOF || string(text) != "c" {
		t.Errorf("%q, %v at the end", text, err)
	}
}
