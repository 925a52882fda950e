package entropy

import (
	"encoding/hex"
	"testing"
)

// The key stream of a zero key and nonce: draft-agl-tls-chacha20poly1305-04
// section 7, test vector 1, which RFC 8439 appendix A.1 repeats as vector 1.
func TestBlockIsChaCha20(t *testing.T) {
	var out [64]byte
	var key [8]uint32
	block(&out, &key, 0)
	const want = "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"
	if got := hex.EncodeToString(out[:]); got != want {
		t.Errorf("%s", got)
	}
}

func TestUnmixedAnswersNothing(t *testing.T) {
	var g Generator
	if b := make([]byte, 8); g.Read(b) {
		t.Errorf("%x", b)
	}
}

func TestAnswersDoNotRepeatAndDependOnTheSeed(t *testing.T) {
	seen := map[[32]byte]bool{}
	for seed := range byte(4) {
		var g Generator
		g.Mix(&[32]byte{seed})
		for range 100 {
			var b [32]byte
			g.Read(b[:])
			if seen[b] || b == [32]byte{} {
				t.Fatalf("seed %d repeats %x", seed, b)
			}
			seen[b] = true
		}
	}
}

func TestMixingKeepsWhatWasThere(t *testing.T) {
	draw := func(first byte) (b [16]byte) {
		var g Generator
		g.Mix(&[32]byte{first})
		g.MixWord(12345)
		g.Read(b[:])
		return b
	}
	if draw(1) == draw(2) {
		t.Error("the word replaced the seed")
	}
	if again := draw(1); again != draw(1) {
		t.Error("not a function of what was mixed in")
	}
}

func TestTheKeyIsErased(t *testing.T) {
	var g Generator
	g.Mix(&[32]byte{1})
	before := g.key
	var b [100]byte
	g.Read(b[:])
	if g.key == before {
		t.Error("the key that made the answer is still there")
	}
}
