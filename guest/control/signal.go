package control

import "github.com/dewpaas/dew/guest/host"

// Signals with a default action of their own (signal(7)).
const (
	sigkill  = 9
	sigstop  = 19
	sigchld  = 17
	sigcont  = 18
	sigtstp  = 20
	sigttin  = 21
	sigttou  = 22
	sigurg   = 23
	sigwinch = 28
)

// Deliver gives the program a signal: to os/signal where the program asked for
// it, else the default action. That ends the guest with status 128 + signal,
// as a shell would report it, but for the signals that are ignored or would
// stop a process: a guest cannot be stopped from inside.
func Deliver(sig uint32) {
	switch sig {
	case sigkill:
		exit(sig)
	case sigstop:
		return
	}
	if host.Signal(sig) || host.SignalIgnored(sig) {
		return
	}
	switch sig {
	case sigchld, sigcont, sigtstp, sigttin, sigttou, sigurg, sigwinch:
		return
	}
	exit(sig)
}

func exit(sig uint32) { host.Exit(int(128 + sig)) }
