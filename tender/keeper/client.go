package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"time"

	"github.com/dewpaas/dew/tender"
)

// Client asks the keeper of a folder.
type Client struct{ folder string }

// ErrNone is returned by Open when there is no keeper and none may be started.
var ErrNone = errors.New("nobody keeps guests here")

// Open finds the keeper of a folder, or starts one with the command that spawn
// makes, if it is not nil. The folder must exist and be closed to others.
func Open(ctx context.Context, folder string, spawn func() *exec.Cmd) (*Client, error) {
	c := &Client{folder}
	pause := time.Millisecond
	for begun := false; ; {
		_, err := c.List(ctx)
		if err == nil {
			return c, nil
		}
		var refused *net.OpError
		if !errors.As(err, &refused) { // it is there and does not want us
			return nil, err
		}
		if spawn == nil {
			return nil, ErrNone
		}
		if !begun {
			begun = true
			if err := start(spawn()); err != nil {
				return nil, fmt.Errorf("start the keeper: %w", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("the keeper does not come up: %w", err)
		case <-time.After(pause):
			pause = min(2*pause, 100*time.Millisecond)
		}
	}
}

// start lets go of the keeper at once: it is nobody's child.
func start(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	go cmd.Wait() // so that one that ends before us leaves no zombie
	return nil
}

// ask sends a request and returns the answer with its connection.
func (c *Client) ask(ctx context.Context, r request, files ...*os.File) (*net.UnixConn, answer, []*os.File, error) {
	fail := func(err error) (*net.UnixConn, answer, []*os.File, error) { return nil, answer{}, nil, err }
	conn, err := dial(c.folder)
	if err != nil {
		return fail(err)
	}
	r.Version = version
	release := context.AfterFunc(ctx, func() { conn.Close() })
	var a answer
	var got []*os.File
	if err = send(conn, r, files...); err == nil {
		got, err = receive(conn, &a)
	}
	switch {
	case !release() && err == nil:
		err = ctx.Err()
	case err == nil && a.Absent:
		err = fmt.Errorf("%s: %w", a.Error, os.ErrNotExist)
	case err == nil && a.Error != "":
		err = errors.New(a.Error)
	}
	if err != nil {
		conn.Close()
		closeAll(got)
		return fail(fmt.Errorf("keeper: %w", err))
	}
	return conn, a, got, nil
}

// List returns the guests that are kept, those that have ended too.
func (c *Client) List(ctx context.Context) ([]Kept, error) {
	conn, _, files, err := c.ask(ctx, request{Op: opList})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer closeAll(files)
	if len(files) != 1 {
		return nil, errors.New("keeper: no list came")
	}
	b, err := content(files[0])
	if err != nil {
		return nil, err
	}
	var list []Kept
	return list, json.Unmarshal(b, &list)
}

// Keep hands a copy of a file over, to be had again by its name while the
// keeper lives.
func (c *Client) Keep(ctx context.Context, name string, f *os.File) error {
	conn, _, _, err := c.ask(ctx, request{Op: opKeep, Name: name}, f)
	if err == nil {
		conn.Close()
	}
	return err
}

// File returns a file that was kept: os.ErrNotExist if there is none.
func (c *Client) File(ctx context.Context, name string) (*os.File, error) {
	conn, _, files, err := c.ask(ctx, request{Op: opFile, Name: name})
	if err != nil {
		return nil, err
	}
	conn.Close()
	if len(files) != 1 {
		closeAll(files)
		return nil, errors.New("keeper: no file came")
	}
	return files[0], nil
}

// Start starts a guest with the tender of a kind. The outputs of the spec are
// not used: the guest has pipes of its own, see Guest. The label comes back
// with List.
func (c *Client) Start(ctx context.Context, kind string, s *tender.Spec, label []byte) (*Guest, error) {
	b, err := json.Marshal(spec{Boot: s.Boot, Limits: s.Limits, Label: label, HasImage: s.Image != nil, HasTap: s.Tap != nil})
	if err != nil {
		return nil, err
	}
	f, err := memory(b)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	files := []*os.File{f, s.Program}
	for _, more := range []*os.File{s.Image, s.Tap} {
		if more != nil {
			files = append(files, more)
		}
	}
	return c.guest(ctx, request{Op: opStart, Name: s.Name, Kind: kind}, files...)
}

// Adopt takes over a guest that is kept: os.ErrNotExist if there is none of
// that name.
func (c *Client) Adopt(ctx context.Context, name string) (*Guest, error) {
	return c.guest(ctx, request{Op: opAdopt, Name: name})
}

func (c *Client) guest(ctx context.Context, r request, files ...*os.File) (*Guest, error) {
	conn, a, got, err := c.ask(ctx, r, files...)
	if err != nil {
		return nil, err
	}
	g, err := newHeld(conn, r.Name, a, got)
	if err != nil {
		conn.Close()
		closeAll(got)
		return nil, fmt.Errorf("keeper: guest %s: %w", r.Name, err)
	}
	return g, nil
}

// Guest is a guest that a keeper holds for us. Its outputs are to be read
// without pause: first the backlog, then the pipe. They are the caller's to
// close.
type Guest struct {
	Name           string
	Stdout, Stderr *os.File
	Backlog        [2][]byte // of Stdout and Stderr, from while nobody read them

	pid  int
	conn *net.UnixConn
	link *tender.Link
	done chan struct{}
	exit tender.Exit // written before done is closed
	lost bool        // so is this: the connection ended, not the guest
}

var _ tender.Instance = (*Guest)(nil)

func newHeld(conn *net.UnixConn, name string, a answer, files []*os.File) (*Guest, error) {
	if len(files) != 4 || a.Backlog[0] < 0 || a.Backlog[1] < 0 {
		return nil, errors.New("the answer is not a guest")
	}
	old, err := content(files[3])
	if err != nil {
		return nil, err
	}
	if len(old) != a.Backlog[0]+a.Backlog[1] {
		return nil, errors.New("the backlog is cut off")
	}
	control, err := net.FileConn(files[2])
	if err != nil {
		return nil, err
	}
	closeAll(files[2:])
	g := &Guest{Name: name, Stdout: files[0], Stderr: files[1], Backlog: [2][]byte{old[:a.Backlog[0]], old[a.Backlog[0]:]},
		pid: a.PID, conn: conn, link: tender.NewLink(control), done: make(chan struct{})}
	go g.listen()
	return g, nil
}

// listen waits for the guest's end, or the keeper's.
func (g *Guest) listen() {
	var a answer
	files, err := receive(g.conn, &a)
	closeAll(files)
	if err == nil && a.Exit != nil {
		g.exit = *a.Exit
		g.link.Finish()
	} else {
		g.lost = true
		g.exit = tender.Exit{Reason: tender.HostFailed, Call: -1, Detail: "the keeper of the guests is gone"}
	}
	g.link.Close()
	close(g.done)
}

// Wait implements tender.Instance.
func (g *Guest) Wait(ctx context.Context) (tender.Exit, error) {
	select {
	case <-g.done:
		return g.exit, nil
	case <-ctx.Done():
		return tender.Exit{}, ctx.Err()
	}
}

// Lost tells, after Wait, that it was the keeper that ended.
func (g *Guest) Lost() bool { return g.lost }

// Kill implements tender.Instance.
func (g *Guest) Kill() error {
	select {
	case <-g.done:
		return nil
	default:
		return send(g.conn, request{Op: opKill})
	}
}

// Link implements tender.Instance.
func (g *Guest) Link() *tender.Link { return g.link }

// PID implements tender.Instance.
func (g *Guest) PID() int { return g.pid }

// Forget lets the keeper forget a guest that has ended, and returns when it has.
func (g *Guest) Forget() error {
	<-g.done
	err := send(g.conn, request{Op: opForget})
	if err == nil {
		var a answer
		if _, end := receive(g.conn, &a); !errors.Is(end, io.EOF) {
			err = fmt.Errorf("keeper: forget %s: %w", g.Name, end)
		}
	}
	return errors.Join(err, g.conn.Close())
}

// Close lets go of the guest, which stays in its keeper.
func (g *Guest) Close() error {
	err := g.conn.Close()
	<-g.done
	return err
}
