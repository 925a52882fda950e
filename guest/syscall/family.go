package syscall

import (
	"sync"
	"syscall"

	"github.com/dewpaas/dew/abi/boot"
	"github.com/dewpaas/dew/guest/fd"
)

// OpenSocket makes a socket of one address family. typ has no SOCK_NONBLOCK or
// SOCK_CLOEXEC any more.
type OpenSocket func(typ, proto int) (fd.Socket, syscall.Errno)

// families is written by the init functions of packages that bring a family,
// before the program runs.
var families struct {
	mu   sync.Mutex
	open map[int]OpenSocket
}

// RegisterFamily makes socket(2) answer for an address family.
func RegisterFamily(family int, open OpenSocket) {
	families.mu.Lock()
	defer families.mu.Unlock()
	if families.open == nil {
		families.open = map[int]OpenSocket{}
	}
	families.open[family] = open
}

func openSocket(family, typ, proto int) (fd.Socket, syscall.Errno) {
	families.mu.Lock()
	open := families.open[family]
	families.mu.Unlock()
	if open == nil {
		return nil, syscall.EAFNOSUPPORT
	}
	return open(typ, proto)
}

// config is what the tender told; nil outside a guest.
var config *boot.Config

// Config returns what the tender told the guest, nil when this process is not
// a guest. It is there when the init functions of importing packages run.
func Config() *boot.Config { return config }
