package router

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

type script chan any // Change or error

func (s script) Next(ctx context.Context) (Change, error) {
	select {
	case <-ctx.Done():
		return Change{}, ctx.Err()
	case step := <-s:
		if err, ok := step.(error); ok {
			return Change{}, err
		}
		return step.(Change), nil
	}
}

func TestFollowKeepsTheLastTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, feed := NewTable(), make(script)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go Follow(ctx, table, feed, slog.New(slog.DiscardHandler))
		for i, step := range []struct {
			event any
			want  int
		}{
			{Change{Put: keyed("early")}, 0}, // no whole table yet
			{Change{Full: true, Put: keyed("a", "b")}, 2},
			{Change{Put: keyed("c")}, 3},
			{Change{Put: keyed("bad host")}, 3},
			{errors.New("bus is gone"), 3},
			{errors.New("bus is gone"), 3},
			{Change{Drop: []Key{{Host: "a"}}}, 3}, // after a loss only a whole table counts
			{Change{Full: true, Put: keyed("z")}, 1},
			{Change{Drop: []Key{{Host: "z"}}}, 0},
		} {
			feed <- step.event
			synctest.Wait()
			time.Sleep(longPause)
			if n := len(table.Routes()); n != step.want {
				t.Errorf("step %d: %d routes, want %d", i, n, step.want)
			}
		}
	})
}
