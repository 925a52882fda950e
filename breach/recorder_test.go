package breach

import (
	"testing"

	"github.com/dewpaas/dew/abi/control"
)

func frames(list ...control.Frame) (b []byte) {
	for _, f := range list {
		b = control.Append(b, f)
	}
	return b
}

func TestRecorderBelievesEverything(t *testing.T) {
	mark := "\xff\xff\xff\xff\xff\xff\xff\x7fmark"
	b := frames(control.Frame{Kind: control.Mark, Payload: []byte(mark)}, control.Frame{Kind: control.Report, Payload: []byte("a\x1b[2J")},
		control.Frame{Kind: control.Reply, ID: 1, Payload: []byte("early")})
	b = append(b, 67, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff) // 4 GiB are announced
	whole, split := new(recorder), new(recorder)
	whole.Write(b)
	for i := range b {
		split.Write(b[i : i+1])
	}
	want := credulous{bytes: uint64(len(mark)) + 5 + 5, asked: 1<<32 - 1, replies: 1, escape: true, future: true}
	for how, r := range map[string]*recorder{"at once": whole, "byte by byte": split} {
		if got := r.suffered(); got != want {
			t.Errorf("%s: %+v, want %+v", how, got, want)
		}
		if r.count(control.Report) != 2 {
			t.Errorf("%s: %d reports", how, r.count(control.Report))
		}
	}
}

// FuzzRecorder: whatever a guest says, in whatever pieces, the recorder counts
// no more than there is and keeps next to nothing.
func FuzzRecorder(f *testing.F) {
	f.Add(frames(control.Frame{Kind: control.Mark, Payload: []byte("12345678x")}), 5)
	f.Add(frames(control.Frame{Kind: control.Report, Payload: []byte("hello")}, control.Frame{Kind: control.Reply}), 13)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		r := new(recorder)
		cut = max(0, min(cut, len(b)))
		for _, part := range [][]byte{b[:cut], b[cut:]} {
			if n, err := r.Write(part); n != len(part) || err != nil {
				t.Fatalf("%d, %v", n, err)
			}
		}
		if got := r.suffered(); got.bytes > uint64(len(b)) || len(r.head) >= control.HeaderSize || len(r.first) > 8 {
			t.Fatalf("%+v of %d bytes", got, len(b))
		}
	})
}
