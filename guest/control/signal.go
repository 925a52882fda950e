package control

import (
	"strconv"

	"github.com/dewpaas/dew/abi"
	"github.com/dewpaas/dew/guest/host"
)

// action is what a Go program does on a signal that it did not ask for.
type action int

const (
	ignore action = iota
	end           // exits, with status 128 + signal as a shell would report it
	dump          // prints the stacks of all goroutines and exits with status 2
)

// defaults are the actions of the signals 1 to 31: what the documentation of
// os/signal promises, "Default behavior of signals in Go programs". Signals
// that would stop a process are ignored: nobody inside could continue it.
var defaults = [32]action{
	1: end, 2: end, 9: end, 15: end, // HUP INT KILL TERM
	3: dump, 4: dump, 5: dump, 6: dump, 7: dump, 8: dump, 11: dump, 16: dump, 31: dump, // QUIT ILL TRAP ABRT BUS FPE SEGV STKFLT SYS
}

const sigkill = 9

// Deliver gives the program a signal: to os/signal where the program asked for
// it, else its default action.
func Deliver(sig uint32) {
	if sig != sigkill && (host.Signal(sig) || host.SignalIgnored(sig)) {
		return
	}
	if sig >= uint32(len(defaults)) {
		return
	}
	switch defaults[sig] {
	case end:
		host.Exit(int(128 + sig))
	case dump:
		host.Console(abi.FDStderr, append([]byte("signal "+strconv.Itoa(int(sig))+"\n\n"), stacks()...))
		host.Exit(2)
	}
}
