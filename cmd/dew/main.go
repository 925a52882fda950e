package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/breach"
	"github.com/dewpaas/dew/stager/sandbox"
)

// commands is the whole command line. Each verb is a struct in a file of its
// own with a Run method; kong hands Run what bind provides.
type commands struct {
	Up      upCmd      `cmd:"" help:"Run a whole foundation on this machine: API, stager, scheduler, cell and router."`
	Down    downCmd    `cmd:"" help:"End the foundation on this machine and its guests. What is pushed stays pushed."`
	Build   buildCmd   `cmd:"" help:"Build a droplet from a folder, or from a package of a module proxy."`
	Inspect inspectCmd `cmd:"" help:"Tell what is in a droplet."`
	Run     runCmd     `cmd:"" help:"Run a droplet, or a folder with a Go program, on this machine."`
	Stacks  stacksCmd  `cmd:"" help:"Print the stacks of all goroutines of a running guest."`
	Pprof   pprofCmd   `cmd:"" help:"Take a CPU or heap profile of a running guest."`
	Metrics metricsCmd `cmd:"" help:"Print the runtime metrics of a running guest."`
	Version versionCmd `cmd:"" help:"Print the version of dew, of the guest contract and of the Go it was built with."`
	Keep    keepCmd    `cmd:"" hidden:"" help:"Hold the guests of a cell; the cell starts it."`
	Breach  breachCmd  `cmd:"" help:"Tell and prove what an attacker gets who owns a guest."`
	Demo    demoCmd    `cmd:"" help:"Push a real app to a foundation of the demo's own, run real programs, and check that all works."`

	roleVerbs
	verbs
}

// console is where a verb talks to its user. Errors are returned, not printed:
// only main prints them and only main exits.
type console struct {
	in       io.Reader
	out, err io.Writer
	screen   bool // out is a terminal
	rich     bool // and shows colours
	moves    bool // err is a terminal: progress
	asks     bool // somebody sits at in and err, and can be asked
}

// hinted is an error that knows a remedy. It prints as two lines.
type hinted struct {
	err  error
	hint string
}

func (h *hinted) Error() string { return h.err.Error() }
func (h *hinted) Unwrap() error { return h.err }

// withHint adds the remedy that main prints under the error.
func withHint(err error, hint string) error { return &hinted{err, hint} }

// exitStatus is returned by a verb that wants main to exit with a status and
// print nothing, because all was said already.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

func main() {
	if sandbox.Inside() {
		os.Exit(sandbox.Serve())
	}
	if breach.Leads() {
		os.Exit(breach.Lead())
	}
	// What the caller had open is not for what dew starts: QEMU and builds should
	// not get it, and a keeper would hold a lock for as long as its guests run. Go
	// opens its own close-on-exec; a kernel before 5.11 does not know the call.
	unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	c := (&console{in: os.Stdin, out: os.Stdout, err: os.Stderr}).attach()
	code := run(ctx, c, os.Args[1:])
	stop()
	os.Exit(code)
}

// run parses args, runs the verb and returns the exit status: 0 done, 1 the
// verb failed, 2 the command line was wrong, or what the verb asks for.
func run(ctx context.Context, c *console, args []string) int {
	exited := -1
	parser, err := kong.New(new(commands),
		kong.Name("dew"),
		kong.Description("A Cloud Foundry-compatible platform whose droplets are unikernels."),
		kong.UsageOnError(),
		kong.Writers(c.out, c.err),
		kong.Exit(func(code int) { exited = code }),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(c),
	)
	if err != nil {
		panic(err) // the commands struct itself is wrong: no user can cause it
	}
	switch {
	case len(args) == 0:
		args = []string{"--help"}
	case args[0] == "help": // as cf has it: help, help VERB
		args = append(slices.Clone(args[1:]), "--help")
	}
	verb, err := parser.Parse(args)
	if exited >= 0 { // help was printed
		return exited
	}
	if err != nil {
		fmt.Fprintf(c.err, "dew: error: %v\ndew: hint: `dew --help` lists the verbs, `dew VERB --help` its flags\n", err)
		return 2
	}
	return report(c.err, verb.Run())
}

// interrupted is what a shell says of a program that SIGINT has ended.
const interrupted = 128 + int(syscall.SIGINT)

// report prints err in the house's voice and turns it into an exit status.
func report(w io.Writer, err error) int {
	var status exitStatus
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(w, "dew: interrupted")
		return interrupted
	}
	err = advise(err)
	first, rest, _ := strings.Cut(strings.TrimSpace(err.Error()), "\n")
	fmt.Fprintf(w, "dew: error: %s\n", printable(first))
	indented(w, rest)
	var h *hinted
	if errors.As(err, &h) {
		fmt.Fprintf(w, "dew: hint: %s\n", h.hint)
	}
	return 1
}
