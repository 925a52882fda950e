package qemu

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestFrequencyIsWhatTheClocksSay(t *testing.T) {
	at := time.Now()
	if khz := between(instant{at, 1000}, instant{at.Add(time.Second), 1000 + 2_445_432_000}); khz != 2_445_432 {
		t.Errorf("%d kHz", khz)
	}
	for name, b := range map[string]instant{
		"too short":                 {at.Add(shortest - 1), 1 << 40},
		"no counter":                {at.Add(time.Second), 0},
		"a counter that began anew": {at.Add(time.Second), 999},
	} {
		if khz := between(instant{at, 1000}, b); khz != 0 {
			t.Errorf("%s: %d kHz", name, khz)
		}
	}
}

func TestAGuestIsToldOnlyWhatIsKnown(t *testing.T) {
	var none *clock
	if none.words() != "" {
		t.Error("a tender without a clock tells " + none.words())
	}
	c := newClock()
	c.began.at = c.began.at.Add(-time.Second)
	c.began.cycles -= min(c.began.cycles, 2_000_000_000)
	if got := c.words(); runtime.GOARCH == "amd64" && !strings.HasPrefix(got, "dew.tsc_khz=") || c.words() != got {
		t.Errorf("%q, then %q", got, c.words())
	}
}
