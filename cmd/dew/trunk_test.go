package main

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/dewpaas/dew/cf"
)

func TestTrunkNeverBlocks(t *testing.T) {
	l := newTrunk(nil)
	for range 2 * trunkLines {
		l.Log(cf.LogLine{})
	}
}

// TestTrunkEnds: what nobody has taken by the end is carried once more, in order.
func TestTrunkEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := true
		var got []string
		l := newTrunk(func(_ context.Context, list []cf.LogLine) error {
			if away {
				return errors.New("nobody is there")
			}
			for _, line := range list {
				got = append(got, string(line.Text))
			}
			return nil
		})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { l.run(ctx); close(ended) }()
		l.Log(cf.LogLine{Text: []byte("0")})
		synctest.Wait() // it is tried
		l.Log(cf.LogLine{Text: []byte("1")})
		l.Log(cf.LogLine{Text: []byte("2")})
		away = false
		stop()
		<-ended
		if fmt.Sprint(got) != "[0 1 2]" {
			t.Errorf("%v", got)
		}
	})
}

// TestTrunkGoesOn when somebody is there again.
func TestTrunkGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away, got := 5, make(chan string, 10)
		l := newTrunk(func(_ context.Context, list []cf.LogLine) error {
			if away--; away >= 0 {
				return errors.New("nobody is there")
			}
			for _, line := range list {
				got <- string(line.Text)
			}
			return nil
		})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { l.run(ctx); close(ended) }()
		l.Log(cf.LogLine{Text: []byte("first")})
		l.Log(cf.LogLine{Text: []byte("second")})
		if a, b := <-got, <-got; a != "first" || b != "second" {
			t.Errorf("%s, %s", a, b)
		}
		stop()
		<-ended
	})
}
