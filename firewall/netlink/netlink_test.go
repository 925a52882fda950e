package netlink

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAttributesComeBack(t *testing.T) {
	var e Encoder
	e.U8(1, 7)
	e.U16(2, 0x1234)
	e.U32(3, 0x12345678)
	e.U64(4, 1<<40)
	e.Text(5, "name")
	e.Data(6, "abc")
	e.Nest(7, func() { e.U32(1, 9) })
	var inner Encoder
	inner.U32(1, 11)
	e.Raw(string(inner.Bytes()))
	if e.Len()%4 != 0 {
		t.Errorf("%d bytes: not aligned", e.Len())
	}
	var seen []string
	err := Attributes(e.Bytes(), func(kind uint16, v []byte) error {
		switch kind {
		case 1:
			if len(v) == 1 && U8(v) != 7 || len(v) == 4 && U32(v) != 11 {
				t.Errorf("kind 1: %x", v)
			}
		case 2:
			if U16(v) != 0x1234 {
				t.Errorf("kind 2: %x", v)
			}
		case 3:
			if U32(v) != 0x12345678 {
				t.Errorf("kind 3: %x", v)
			}
		case 4:
			if U64(v) != 1<<40 {
				t.Errorf("kind 4: %x", v)
			}
		case 5, 6:
			seen = append(seen, Text(v))
		case 7:
			return Attributes(v, func(kind uint16, v []byte) error {
				if kind != 1 || U32(v) != 9 {
					t.Errorf("nested: %d %x", kind, v)
				}
				return nil
			})
		}
		return nil
	})
	if err != nil || strings.Join(seen, " ") != "name abc" {
		t.Errorf("%v, %v", seen, err)
	}
	if U8(nil)+uint8(U16([]byte{1}))+uint8(U32([]byte{1}))+uint8(U64([]byte{1})) != 0 {
		t.Error("a value of the wrong size is not 0")
	}
}

func TestMalformedAttributes(t *testing.T) {
	for say, b := range map[string][]byte{
		"cut header":    {4, 0, 1},
		"length 0":      {0, 0, 1, 0},
		"length 3":      {3, 0, 1, 0},
		"longer than b": {9, 0, 1, 0, 1, 2, 3, 4},
	} {
		if err := Attributes(b, func(uint16, []byte) error { return nil }); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", say, err)
		}
	}
	// The kernel does not pad the last one.
	if err := Attributes([]byte{5, 0, 1, 0, 1}, func(uint16, []byte) error { return nil }); err != nil {
		t.Error(err)
	}
}

// refusal is an acknowledgement with an error and the kernel's words.
func refusal(code int32, words string) []byte {
	var e Encoder
	e.Text(NLMSGERR_ATTR_MSG, words)
	b := binary.NativeEndian.AppendUint32(nil, uint32(headerSize+4+headerSize+e.Len()))
	b = binary.NativeEndian.AppendUint16(b, unix.NLMSG_ERROR)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_CAPPED|unix.NLM_F_ACK_TLVS)
	b = binary.NativeEndian.AppendUint32(b, 77)
	b = binary.NativeEndian.AppendUint32(b, 0)
	b = binary.NativeEndian.AppendUint32(b, uint32(-code))
	b = append(b, make([]byte, headerSize)...)
	return append(b, e.Bytes()...)
}

func TestRefusalsKeepTheKernelsWords(t *testing.T) {
	err := Replies(refusal(int32(unix.EEXIST), "chain is there"), func(r Reply) error {
		if r.Seq != 77 || !r.Done {
			t.Errorf("%+v", r)
		}
		return r.Err
	})
	if !errors.Is(err, unix.EEXIST) || !strings.Contains(err.Error(), "chain is there") {
		t.Errorf("got %v", err)
	}
}

func TestRequestsAreAnswered(t *testing.T) {
	c, err := Dial(nil)
	if err != nil {
		t.Skipf("needs netfilter in the kernel: %v", err)
	}
	defer c.Close()
	const nothing = 0xff // no such subsystem
	if err := c.Do(Message{Kind: KindOf(nothing, 0)}, nil); err == nil {
		t.Error("a request to nobody succeeds")
	}
	if err := c.Batch(NFNL_SUBSYS_NFTABLES, 0, nil); err != nil {
		t.Errorf("an empty batch: %v", err)
	}
}

func TestCloseEndsAReceive(t *testing.T) {
	c, err := Dial(nil)
	if err != nil {
		t.Skipf("needs netfilter in the kernel: %v", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Receive(func(Reply) error { return nil }) }()
	c.Close()
	if err := <-ended; !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// FuzzReplies: whatever the bytes, each message lies within them and what is
// after the last whole one is an error.
func FuzzReplies(f *testing.F) {
	f.Add(refusal(int32(unix.ENOENT), "no such thing"))
	f.Add(appendMessage(nil, Message{Kind: KindOf(NFNL_SUBSYS_NFTABLES, 3), Body: []byte{8, 0, 1, 0, 'd', 'e', 'w', 0}}, 1))
	f.Add([]byte{20, 0, 0, 0, 3, 0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		total := 0
		before := bytes.Clone(b)
		err := Replies(b, func(r Reply) error {
			total += headerSize
			if r.Body != nil {
				total += len(r.Body)
				return Attributes(r.Body, func(kind uint16, v []byte) error {
					if kind > typeMask || len(v) > len(r.Body) {
						t.Fatalf("kind %d, %d bytes of %d", kind, len(v), len(r.Body))
					}
					return nil
				})
			}
			return nil
		})
		if total > len(b) || !bytes.Equal(b, before) {
			t.Fatalf("%d bytes of messages in %d, %v", total, len(b), err)
		}
	})
}
