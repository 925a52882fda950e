package demo

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// A check must be able to fail: against a server that answers, but wrongly,
// every check of every program has to say so.
func TestChecksFailOnAWrongServer(t *testing.T) {
	wrong := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusAccepted)
	}))
	defer wrong.Close()
	addr := strings.TrimPrefix(wrong.URL, "http://")
	for _, p := range Programs() {
		if len(p.Checks) == 0 || p.Port == 0 || !strings.Contains(p.Package, "@v") {
			t.Errorf("%s is not complete", p.Name)
		}
		for _, c := range p.Checks {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			err := c.Do(ctx, addr)
			cancel()
			if err == nil {
				t.Errorf("%s: %q passes on a server that answers wrongly", p.Name, c.Name)
			}
		}
	}
}
