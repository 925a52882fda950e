package firewall

import (
	"errors"
	"runtime"
	"testing"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// namespace is a network namespace of a test's own.
type namespace struct{ handle netns.NsHandle }

func newNamespace(t testing.TB) *namespace {
	t.Helper()
	made := make(chan error, 1)
	n := &namespace{}
	go func() { // on a thread that dies with its goroutine, because it is left inside
		runtime.LockOSThread()
		h, err := netns.New()
		n.handle = h
		made <- err
	}()
	err := <-made
	if errors.Is(err, unix.EPERM) {
		t.Skip("needs root: makes a network namespace")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.handle.Close() })
	return n
}

// within runs f on a thread that is inside.
func (n *namespace) within(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := netns.Set(n.handle); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}
