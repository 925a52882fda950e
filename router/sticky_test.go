package router

import "testing"

// TestStickyPath: a session is one of the route that it began at.
func TestStickyPath(t *testing.T) {
	for _, c := range []struct{ route, attrs, want string }{
		{"", "", "/"}, {"/shop", "", "/shop"}, {"/shop", "; Path=/shop/cart", "/shop/cart"},
	} {
		got := string(appendVcapCookie(nil, "i", c.route, []byte(c.attrs)))
		if want := "Set-Cookie: __VCAP_ID__=i; Path=" + c.want + "; HttpOnly\r\n"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
