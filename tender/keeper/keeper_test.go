package keeper

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dewpaas/dew/abi/boot"
	"github.com/dewpaas/dew/abi/control"
	"github.com/dewpaas/dew/tender"
	"github.com/dewpaas/dew/tender/process"
)

// TestMain is also the keeper and the cell that the tests kill.
func TestMain(m *testing.M) {
	if len(os.Args) < 3 || os.Args[1] != "keep" && os.Args[1] != "cell" {
		os.Exit(m.Run())
	}
	if err := actor(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func actor(args []string) error {
	if args[0] == "keep" {
		return Serve(context.Background(), args[1], map[string]Maker{"process": makeProcess})
	}
	c, err := Open(context.Background(), args[1], keeperCommand(args[1]))
	if err != nil {
		return err
	}
	program, err := os.Open(args[2])
	if err != nil {
		return err
	}
	g, err := c.Start(context.Background(), "process", specFor(program, args[3], args[4:]...), []byte("label"))
	if err != nil {
		return err
	}
	fmt.Println(g.PID())
	select {} // until it is killed
}

func makeProcess(context.Context) (tender.Tender, error) { return process.New() }

func keeperCommand(folder string) func() *exec.Cmd {
	return func() *exec.Cmd {
		cmd := exec.Command("/proc/self/exe", "keep", folder)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		cmd.Stderr = os.Stderr
		return cmd
	}
}

func specFor(program *os.File, name string, args ...string) *tender.Spec {
	return &tender.Spec{Name: name, Program: program, Boot: boot.Config{Args: append([]string{"guest"}, args...)},
		Limits: tender.Limits{Memory: 64 << 20, PIDs: 50}}
}

// yard has a keeper in a process of its own.
type yard struct {
	*testing.T
	folder  string
	program string
	client  *Client
}

var serial atomic.Int32

// name is unique on this host.
func name() string { return fmt.Sprintf("keeper-%d-%d", os.Getpid(), serial.Add(1)) }

func newYard(t *testing.T) *yard {
	t.Helper()
	td, err := process.New()
	if err != nil {
		t.Skip(err)
	}
	y := &yard{T: t, folder: t.TempDir()}
	y.program = filepath.Join(y.folder, "guest-program")
	build := exec.Command("go", "build", "-o", y.program, "./testdata/guest")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the guest: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if err := td.Reap(func(n string) bool { return strings.HasPrefix(n, fmt.Sprintf("keeper-%d-", os.Getpid())) }); err != nil {
			t.Error(err)
		}
	})
	y.client, err = Open(y.context(), y.folder, keeperCommand(y.folder))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(y.clear)
	return y
}

// clear ends and forgets all guests, so that the keeper ends.
func (y *yard) clear() {
	list, err := y.client.List(context.Background())
	if err != nil {
		return // the keeper was killed
	}
	for _, k := range list {
		g, err := y.client.Adopt(context.Background(), k.Name)
		if err != nil {
			y.Error(err)
			continue
		}
		g.Kill()
		closeAll([]*os.File{g.Stdout, g.Stderr})
		if err := g.Forget(); err != nil {
			y.Error(err)
		}
	}
}

func (y *yard) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	y.Cleanup(cancel)
	return ctx
}

func (y *yard) start(args ...string) *Guest {
	y.Helper()
	f, err := os.Open(y.program)
	if err != nil {
		y.Fatal(err)
	}
	defer f.Close()
	g, err := y.client.Start(y.context(), "process", specFor(f, name(), args...), nil)
	if err != nil {
		y.Fatal(err)
	}
	return g
}

func (y *yard) wait(g *Guest) tender.Exit {
	y.Helper()
	e, err := g.Wait(y.context())
	if err != nil {
		y.Fatalf("the guest does not end: %v", err)
	}
	return e
}

func TestGuestThroughAKeeper(t *testing.T) {
	y := newYard(t)
	g := y.start("exit", "3")
	out, err := io.ReadAll(io.MultiReader(strings.NewReader(string(g.Backlog[0])), g.Stdout))
	errors2, _ := io.ReadAll(io.MultiReader(strings.NewReader(string(g.Backlog[1])), g.Stderr))
	if err != nil || string(out) != "leaving\n" || string(errors2) != "in error\n" {
		t.Errorf("output %q, error output %q, %v", out, errors2, err)
	}
	if e := y.wait(g); e.Code() != 3 || e.Reason != tender.Exited || g.Lost() {
		t.Errorf("%+v", e)
	}
	if list, err := y.client.List(t.Context()); err != nil || len(list) != 1 || list[0].Name != g.Name {
		t.Errorf("%v, %v", list, err)
	}
	if err := g.Forget(); err != nil {
		t.Error(err)
	}
	if _, err := y.client.Adopt(t.Context(), g.Name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("adopt what was forgotten: %v", err)
	}
}

// TestKeeperHoldsNothingOfAGuests: a keeper that still had a guest's tap would
// be woken for each frame to it.
func TestKeeperHoldsNothingOfAGuests(t *testing.T) {
	y := newYard(t)
	g := y.start("count")
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", g.PID()))
	if err != nil {
		t.Fatal(err)
	}
	keeper := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+2:]))[1] // the guest's parent
	open, err := filepath.Glob("/proc/" + keeper + "/fd/*")
	if err != nil || len(open) == 0 {
		t.Fatal(open, err)
	}
	for _, name := range open {
		if target, _ := os.Readlink(name); target == y.program {
			t.Errorf("%s is %s", name, target)
		}
	}
}

// TestCellIsKilled: the guest goes on, nothing of its output is lost, and the
// next cell asks it, ends it and learns how it ended.
func TestCellIsKilled(t *testing.T) {
	y := newYard(t)
	guest := name()
	cell := exec.Command("/proc/self/exe", "cell", y.folder, y.program, guest, "count")
	cell.Stderr = os.Stderr
	out, err := cell.StdoutPipe()
	if err == nil {
		err = cell.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Fatal(err)
	}
	cell.Process.Kill()
	cell.Wait()
	g, err := y.client.Adopt(y.context(), guest)
	if err != nil {
		t.Fatal(err)
	}
	if g.PID() != pid {
		t.Errorf("pid %d, was %d", g.PID(), pid)
	}
	for l := g.Link(); len(l.Ports()) == 0; { // told before this cell was there
		<-l.Changed()
	}
	if text, err := g.Link().Ask(y.context(), control.Stacks, nil); err != nil || string(text) != "alive" {
		t.Errorf("%q, %v", text, err)
	}
	if err := g.Link().Signal(t.Context(), syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	lines := bufio.NewScanner(io.MultiReader(strings.NewReader(string(g.Backlog[0])), g.Stdout))
	n := 0
	for lines.Scan() && lines.Text() != "asked to end" {
		if n++; lines.Text() != strconv.Itoa(n) {
			t.Fatalf("line %d is %q", n, lines.Text())
		}
	}
	if e := y.wait(g); e.Code() != 0 || e.Reason != tender.Exited {
		t.Errorf("%+v", e)
	}
	list, err := y.client.List(t.Context())
	if err != nil || len(list) != 1 || string(list[0].Label) != "label" {
		t.Errorf("%v, %v", list, err)
	}
}

// TestGuestEndsWithoutACell: it never waits for one, and its end and its last
// words are kept.
func TestGuestEndsWithoutACell(t *testing.T) {
	y := newYard(t)
	g := y.start("flood")
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	g.Stdout.Close()
	g.Stderr.Close()
	var said []byte // what each adoption was given is not given to the next
	for {           // adopting alone reads nothing, so it ends only if the keeper read
		again, err := y.client.Adopt(y.context(), g.Name)
		if err != nil {
			t.Fatal(err)
		}
		if len(again.Backlog[0]) > maxBacklog {
			t.Errorf("%d bytes were kept", len(again.Backlog[0]))
		}
		said = append(said, again.Backlog[0]...)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		_, err = again.Wait(ctx)
		cancel()
		if err != nil {
			again.Close()
			closeAll([]*os.File{again.Stdout, again.Stderr})
			continue
		}
		if e := y.wait(again); e.Code() != 0 {
			t.Fatalf("%v", e)
		}
		rest, err := io.ReadAll(again.Stdout)
		said = append(said, rest...)
		if err != nil || !bytes.HasSuffix(said, []byte(" 29999\n")) || len(rest) > 64<<10 {
			t.Errorf("%d bytes, %d of them in the pipe, ending in %q, %v", len(said), len(rest), said[max(0, len(said)-80):], err)
		}
		again.Forget()
		return
	}
}

func TestKeeperIsKilled(t *testing.T) {
	y := newYard(t)
	g := y.start("count")
	keeper := peerPID(t, g.conn)
	if err := syscall.Kill(keeper, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if e := y.wait(g); e.Reason != tender.HostFailed || !g.Lost() {
		t.Errorf("%+v", e)
	}
	for syscall.Kill(g.PID(), 0) == nil { // the guest ends with it
		runtime.Gosched()
	}
	// Another one takes its place and knows of nothing.
	c, err := Open(y.context(), y.folder, keeperCommand(y.folder))
	if err != nil {
		t.Fatal(err)
	}
	if list, err := c.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
}

func peerPID(t *testing.T, c *net.UnixConn) int {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	pid := 0
	raw.Control(func(fd uintptr) {
		if peer, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
			pid = int(peer.Pid)
		}
	})
	if pid < 2 {
		t.Fatal("the keeper has no pid")
	}
	return pid
}

func TestAnotherCellTakesOver(t *testing.T) {
	y := newYard(t)
	first := y.start("count")
	second, err := y.client.Adopt(y.context(), first.Name)
	if err != nil {
		t.Fatal(err)
	}
	if y.wait(first); !first.Lost() {
		t.Error("the first cell still has the guest")
	}
	if err := second.Kill(); err != nil {
		t.Error(err)
	}
	if e := y.wait(second); e.Reason != tender.Killed {
		t.Errorf("%+v", e)
	}
}

func TestKeptFiles(t *testing.T) {
	y := newYard(t)
	if _, err := y.client.File(t.Context(), "network"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	for _, text := range []string{"one", "two"} {
		f, err := memory([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := y.client.Keep(t.Context(), "network", f); err != nil {
			t.Fatal(err)
		}
		f.Close()
		got, err := y.client.File(t.Context(), "network")
		if err != nil {
			t.Fatal(err)
		}
		if b, err := content(got); err != nil || string(b) != text {
			t.Errorf("%q, %v", b, err)
		}
		got.Close()
	}
}

func TestKeeperRefuses(t *testing.T) {
	y := newYard(t)
	f, err := os.Open(y.program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for want, ask := range map[string]func() error{
		"no tender of kind": func() error { _, err := y.client.Start(t.Context(), "toaster", specFor(f, name()), nil); return err },
		"no operation":      func() error { _, _, _, err := y.client.ask(t.Context(), request{Op: "dance"}); return err },
		"a spec and a program": func() error {
			_, _, _, err := y.client.ask(t.Context(), request{Op: opStart, Kind: "process", Name: name()})
			return err
		},
		"one file and a name":   func() error { _, _, _, err := y.client.ask(t.Context(), request{Op: opKeep}); return err },
		"instance name":         func() error { _, err := y.client.Start(t.Context(), "process", specFor(f, "../x"), nil); return err },
		"end the guests with":   func() error { return otherVersion(t, y.folder) },
		"serves this folder":    func() error { return Serve(t.Context(), y.folder, nil) },
		"the message is too lo": func() error { return tooLong(t, y.folder) },
	} {
		if err := ask(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	g := y.start("count")
	if _, err := y.client.Start(t.Context(), "process", specFor(f, g.Name), nil); err == nil || !strings.Contains(err.Error(), "exist") {
		t.Errorf("a second guest of that name: %v", err)
	}
}

func otherVersion(t *testing.T, folder string) error {
	c, err := dial(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var a answer
	if err := send(c, request{Version: version + 1, Op: opList}); err != nil {
		t.Fatal(err)
	}
	if _, err := receive(c, &a); err != nil {
		t.Fatal(err)
	}
	return errors.New(a.Error)
}

func tooLong(t *testing.T, folder string) error {
	c, far := ends(t)
	if _, err := syscall.Write(far, make([]byte, maxMessage+1)); err != nil {
		t.Fatal(err)
	}
	var a answer
	_, err := receive(c, &a)
	return err
}

// TestAwaitTakesNothing: who waits learns how long a message is, and it stays.
func TestAwaitTakesNothing(t *testing.T) {
	c, far := ends(t)
	const text = `{"error":"told"}`
	if _, err := syscall.Write(far, []byte(text)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if n, err := await(c); n != len(text) || err != nil {
			t.Fatalf("%d bytes, %v", n, err)
		}
	}
	var a answer
	if _, err := receive(c, &a); err != nil || a.Error != "told" {
		t.Errorf("%+v, %v", a, err)
	}
	if err := syscall.Shutdown(far, syscall.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	if _, err := receive(c, &a); !errors.Is(err, io.EOF) {
		t.Errorf("%v at the end", err)
	}
}

// ends are a connection, and the descriptor of its other end.
func ends(t *testing.T) (*net.UnixConn, int) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET, 0)
	if err != nil {
		t.Fatal(err)
	}
	end := os.NewFile(uintptr(fds[0]), "end")
	c, err := net.FileConn(end)
	if err != nil {
		t.Fatal(err)
	}
	end.Close()
	t.Cleanup(func() {
		c.Close()
		syscall.Close(fds[1])
	})
	return c.(*net.UnixConn), fds[1]
}

// TestIdleKeeperEnds: nothing stays behind where nothing is kept.
func TestIdleKeeperEnds(t *testing.T) {
	k := &Keeper{idle: time.Millisecond, tenders: map[string]tender.Tender{}, guests: map[string]*guest{}, files: map[string]*os.File{}, news: make(chan struct{})}
	ended := make(chan error, 1)
	go func() { ended <- k.serve(t.Context(), t.TempDir()) }()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(2 * time.Minute):
		t.Error("it does not end")
	}
}
