package control

import (
	"bytes"
	"errors"
	"testing"
)

func TestParseWaitsForTheWholeFrame(t *testing.T) {
	want := Frame{Kind: Reply, Flags: FlagMore, ID: 7, Payload: []byte("goroutine 1")}
	b := Append(nil, want)
	for i := range b {
		if _, n, err := Parse(b[:i]); n != 0 || err != nil {
			t.Fatalf("%d bytes: n %d, error %v", i, n, err)
		}
	}
	got, n, err := Parse(append(b, "rest"...))
	if err != nil || n != len(b) || got.Kind != want.Kind || got.Flags != want.Flags || got.ID != want.ID || !bytes.Equal(got.Payload, want.Payload) {
		t.Fatalf("got %+v, %d bytes, error %v", got, n, err)
	}
}

func TestTooLongIsRefusedBeforeItIsRead(t *testing.T) {
	h := Append(nil, Frame{Kind: Reply})
	h[10] = 0xff
	if _, _, err := Parse(h); !errors.Is(err, ErrTooLong) {
		t.Errorf("Parse: %v", err)
	}
	if _, err := Read(bytes.NewReader(h)); !errors.Is(err, ErrTooLong) {
		t.Errorf("Read: %v", err)
	}
}

// FuzzParse: what is taken from the front encodes to the same bytes.
func FuzzParse(f *testing.F) {
	f.Add(Append(nil, Frame{Kind: Mark, Payload: []byte("12345678runtime")}))
	f.Add(Append(Append(nil, Frame{Kind: Reply, Flags: FlagMore, ID: 1}), Frame{Kind: Reply, ID: 1, Payload: []byte("x")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		fr, n, err := Parse(b)
		if err != nil || n == 0 {
			return
		}
		if again := Append(nil, fr); !bytes.Equal(again, b[:n]) {
			t.Fatalf("%x became %x", b[:n], again)
		}
	})
}
