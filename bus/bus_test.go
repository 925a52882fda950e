package bus

import (
	"fmt"
	"testing"

	"github.com/dewpaas/dew/cf"
)

func TestChange(t *testing.T) {
	c := NewChange(map[cf.Noun][]string{"apps": {"a"}, "routes": nil})
	if !c.About([]cf.Noun{"routes", "apps"}) || c.About([]cf.Noun{"routes"}) || c.About(nil) {
		t.Errorf("%+v", c)
	}
	many := map[cf.Noun][]string{}
	for n := range maxGUIDs + 1 {
		many["reports"] = append(many["reports"], fmt.Sprint(n))
	}
	if c := NewChange(many); !c.Whole || c.Nouns != nil || !c.About([]cf.Noun{"apps"}) {
		t.Errorf("%+v", c)
	}
}

// FuzzCheck: what is accepted is what both buses and their tools understand.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{"a", "dew.ledger.changes", "a..b", "*", "a b", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, subject string) {
		if Check(subject, nil) != nil {
			return
		}
		for i, c := range []byte(subject) {
			if c == '*' || c == '>' || c <= ' ' || c >= 0x7f || c == '.' && (i == 0 || i == len(subject)-1 || subject[i-1] == '.') {
				t.Errorf("%q was accepted", subject)
			}
		}
	})
}
