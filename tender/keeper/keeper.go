package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/tender"
)

// Maker makes a tender when the first guest of its kind is started.
type Maker func(context.Context) (tender.Tender, error)

// idleFor is how long a keeper with nothing to keep waits for a cell.
const idleFor = 5 * time.Second

// Keeper is the keeper's process.
type Keeper struct {
	makers map[string]Maker
	idle   time.Duration

	mu      sync.Mutex // guards all below
	tenders map[string]tender.Tender
	guests  map[string]*guest
	files   map[string]*os.File
	callers int
	news    chan struct{} // closed when guests or callers have changed
}

// Serve keeps guests until it has none and nobody is connected. Only one
// keeper serves a folder: another one returns ErrTaken.
func Serve(ctx context.Context, folder string, makers map[string]Maker) error {
	k := &Keeper{makers: makers, idle: idleFor, tenders: map[string]tender.Tender{}, guests: map[string]*guest{},
		files: map[string]*os.File{}, news: make(chan struct{})}
	return k.serve(ctx, folder)
}

// ErrTaken is returned by Serve when the folder has a keeper.
var ErrTaken = errors.New("another keeper serves this folder")

func (k *Keeper) serve(ctx context.Context, folder string) error {
	lock, err := os.OpenFile(filepath.Join(folder, "keeper.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := unix.Flock(int(fd(lock)), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return ErrTaken
	}
	dir, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer dir.Close()
	os.Remove(filepath.Join(folder, socketName)) // of one that was killed
	listener, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: socketPath(dir), Net: "unixpacket"})
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	context.AfterFunc(ctx, func() { listener.Close() })
	go k.endWhenIdle(ctx, stop)
	for {
		c, err := listener.AcceptUnix()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil { // out of descriptors: wait for some to close
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
			continue
		}
		go k.call(ctx, c)
	}
}

// endWhenIdle stops the keeper when it is not needed. A caller that connects
// in that moment is refused and starts another.
func (k *Keeper) endWhenIdle(ctx context.Context, stop func()) {
	for {
		k.mu.Lock()
		news, needed := k.news, k.callers > 0 || len(k.guests) > 0
		k.mu.Unlock()
		var idle <-chan time.Time
		if !needed {
			idle = time.After(k.idle)
		}
		select {
		case <-ctx.Done():
			return
		case <-news:
		case <-idle:
			stop()
			return
		}
	}
}

// changed wakes endWhenIdle. Its caller holds the mutex.
func (k *Keeper) changed() {
	close(k.news)
	k.news = make(chan struct{})
}

func (k *Keeper) caller(n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.callers += n
	k.changed()
}

// call serves one connection.
func (k *Keeper) call(ctx context.Context, c *net.UnixConn) {
	k.caller(1)
	defer k.caller(-1)
	defer c.Close()
	if !ours(c) {
		return
	}
	var r request
	files, err := receive(c, &r)
	if err != nil {
		return
	}
	defer closeAll(files)
	if r.Version != version {
		send(c, answer{Error: fmt.Sprintf("the keeper speaks version %d, dew %d: end the guests with `dew down`, then start again", version, r.Version)})
		return
	}
	if err := k.do(ctx, c, r, files); err != nil {
		send(c, answer{Error: err.Error(), Absent: errors.Is(err, os.ErrNotExist)})
	}
}

// ours tells whether the other side is run by our user.
func ours(c *net.UnixConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	var peer *unix.Ucred
	raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	return err == nil && int(peer.Uid) == os.Geteuid()
}

func (k *Keeper) do(ctx context.Context, c *net.UnixConn, r request, files []*os.File) error {
	switch r.Op {
	case opStart:
		g, err := k.start(ctx, r, files)
		if err != nil {
			return err
		}
		closeAll(files) // the guest has its own; see tender.Tender
		return g.attend(c)
	case opAdopt:
		k.mu.Lock()
		g := k.guests[r.Name]
		k.mu.Unlock()
		if g == nil {
			return fmt.Errorf("guest %s: %w", r.Name, os.ErrNotExist)
		}
		return g.attend(c)
	case opList:
		return k.list(c)
	case opKeep:
		return k.keep(c, r.Name, files)
	case opFile:
		return k.file(c, r.Name)
	}
	return fmt.Errorf("there is no operation %.20q", r.Op)
}

func (k *Keeper) list(c *net.UnixConn) error {
	list := []Kept{}
	k.mu.Lock()
	for name, g := range k.guests {
		if g != nil {
			list = append(list, Kept{name, g.label})
		}
	}
	k.mu.Unlock()
	b, err := json.Marshal(list)
	if err != nil {
		return err
	}
	f, err := memory(b)
	if err != nil {
		return err
	}
	defer f.Close()
	return send(c, answer{}, f)
}

// keep takes a copy of the file: the caller's are closed.
func (k *Keeper) keep(c *net.UnixConn, name string, files []*os.File) error {
	if len(files) != 1 || name == "" {
		return errors.New("one file and a name are wanted")
	}
	n, err := unix.FcntlInt(fd(files[0]), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("keep %s: %w", name, err)
	}
	k.mu.Lock()
	old := k.files[name]
	k.files[name] = os.NewFile(uintptr(n), name)
	k.mu.Unlock()
	if old != nil {
		old.Close()
	}
	return send(c, answer{})
}

func (k *Keeper) file(c *net.UnixConn, name string) error {
	k.mu.Lock()
	f := k.files[name]
	k.mu.Unlock()
	if f == nil {
		return fmt.Errorf("file %s: %w", name, os.ErrNotExist)
	}
	return send(c, answer{}, f)
}

// tender makes the tender of a kind, once.
func (k *Keeper) tender(ctx context.Context, kind string) (tender.Tender, error) {
	k.mu.Lock()
	defer k.mu.Unlock() // held while it is made: others of its kind wait for it
	if t := k.tenders[kind]; t != nil {
		return t, nil
	}
	m := k.makers[kind]
	if m == nil {
		return nil, fmt.Errorf("there is no tender of kind %.20q", kind)
	}
	t, err := m(ctx)
	if err == nil {
		k.tenders[kind] = t
	}
	return t, err
}

// start starts a guest. Its name is taken before and free again after a
// failure.
func (k *Keeper) start(ctx context.Context, r request, files []*os.File) (_ *guest, err error) {
	t, err := k.tender(ctx, r.Kind)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	_, taken := k.guests[r.Name]
	if !taken {
		k.guests[r.Name] = nil
	}
	k.mu.Unlock()
	if taken {
		return nil, fmt.Errorf("guest %s: %w", r.Name, os.ErrExist)
	}
	defer func() {
		if err != nil {
			k.forget(r.Name)
		}
	}()
	g, err := newGuest(ctx, t, r.Name, files)
	if err != nil {
		return nil, err
	}
	g.gone = func() { k.forget(r.Name) }
	k.mu.Lock()
	k.guests[r.Name] = g
	k.changed()
	k.mu.Unlock()
	return g, nil
}

func (k *Keeper) forget(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.guests, name)
	k.changed()
}
