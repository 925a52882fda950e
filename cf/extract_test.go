package cf

import (
	"net/netip"
	"slices"
	"testing"
)

func TestExtractsAreByNoun(t *testing.T) {
	e := Extract{"apps": {&App{Name: "a"}, &App{Name: "b"}}, "spaces": {&Space{}}}
	if list := Of[App](e); len(list) != 2 || list[0].Name != "a" || list[1].Name != "b" || len(Of[Space](e)) != 1 || len(Of[Route](e)) != 0 {
		t.Errorf("%v", list)
	}
	if list := Of[App](Extract{"apps": {&Space{}}}); len(list) != 0 {
		t.Errorf("a space is taken for an app: %v", list)
	}
}

func TestMachinesOfTheFoundation(t *testing.T) {
	want := []Protected{{netip.MustParsePrefix("10.0.0.5/32"), "the ledger"}, {netip.MustParsePrefix("10.0.0.6/32"), "the bus"}}
	var s Setting
	s.Protect(want)
	if got := s.Protected(); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := (&Setting{Env: map[string]string{"protected": "nonsense,10.0.0.6/32 the bus,"}}).Protected(); !slices.Equal(got, want[1:]) {
		t.Errorf("%v", got)
	}
	if got := new(Setting).Protected(); got != nil {
		t.Errorf("%v", got)
	}
}
