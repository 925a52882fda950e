package roster

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestWhoIsDownIsAskedLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := Parse([]string{"https://a:1", "https://b:2/", "https://c:3"})
		if err != nil {
			t.Fatal(err)
		}
		order := func() string { return strings.Join(r.Order(), " ") }
		if got := order(); got != "a:1 b:2 c:3" {
			t.Error(got)
		}
		r.Down("a:1")
		r.Down("c:3")
		if got := order(); got != "b:2 a:1 c:3" {
			t.Error(got)
		}
		time.Sleep(avoid) // by the bubble's clock
		if got := order(); got != "a:1 b:2 c:3" {
			t.Error(got)
		}
	})
}

func TestWhatIsNoAddress(t *testing.T) {
	for _, text := range []string{"http://a:1", "a:1", "https://", "https://a:1/path", "https://%zz"} {
		if _, err := Parse([]string{text}); err == nil {
			t.Errorf("%q is taken for an address of an API", text)
		}
	}
}
