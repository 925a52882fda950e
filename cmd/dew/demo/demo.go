package demo

import (
	"context"
	"time"
)

// Program is one real program and what it must do when it runs in a guest.
type Program struct {
	Name    string
	Package string // main package with version, as `go install` takes it
	Args    []string
	Env     []string // K=V
	Port    uint16   // TCP port that it listens on
	Checks  []Check
	// StopStatus is the exit status after SIGTERM.
	StopStatus int
}

// Check is one thing that a client of the program can see.
type Check struct {
	Name string
	// Do talks to the program at addr ("host:port").
	Do func(ctx context.Context, addr string) error
}

// CheckTimeout bounds one check: generous, because under software emulation
// on two cores a guest is some thirty times slower than a host process.
const CheckTimeout = 60 * time.Second

// Programs are the demo's, in the order in which they run.
func Programs() []Program {
	return []Program{httpbin(), podinfo(), natsServer()}
}
