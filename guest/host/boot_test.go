package host

import "testing"

func TestBootLength(t *testing.T) {
	for value, want := range map[string]uint64{
		"1:4096:2": 4096, "1:1": 1,
		"": 0, "1": 0, "1:": 0, ":": 0, "2:4096:2": 0, "1:0:2": 0, "1:-1": 0, "1:4096x": 0,
		"1:99999999999999999999999": 0,
	} {
		if got, ok := bootLength(value); got != want && ok || ok != (want > 0) {
			t.Errorf("%q: %d, %v, want %d", value, got, ok, want)
		}
	}
}

func TestRandomDiffers(t *testing.T) {
	var a, b [32]byte
	if e := Random(a[:]); e != 0 {
		t.Fatal(e)
	}
	Random(b[:])
	if a == b || a == [32]byte{} {
		t.Error("two draws are equal or zero")
	}
}
