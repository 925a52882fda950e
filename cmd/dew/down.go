package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	landlord "github.com/dewpaas/dew/cell"
	"github.com/dewpaas/dew/tender/keeper"
)

// downCmd is `dew down`.
type downCmd struct {
	Data string `default:"/var/lib/dew" type:"path" env:"DEW_DATA" help:"Folder of the foundation."`
}

// Run has dew up end its guests and itself. Where it does not run, its guests may:
// then they are ended without it.
func (d *downCmd) Run(ctx context.Context, c *console) error {
	conn, err := dialUp(d.Data)
	if err == nil {
		return askDown(ctx, conn)
	}
	folder := filepath.Join(d.Data, "cell")
	n, err := endGuests(ctx, folder)
	if err == nil {
		err = removeUplink(folder)
	}
	if err != nil {
		return withHint(err, "is "+d.Data+" the folder of a foundation? Choose another with --data")
	}
	fmt.Fprintf(c.out, "dew up does not run; %d guests ended\n", n)
	return nil
}

func askDown(ctx context.Context, conn net.Conn) error {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if _, err := conn.Write([]byte("down\n")); err != nil {
		return fmt.Errorf("ask dew up: %w", err)
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	switch answer = strings.TrimSpace(answer); {
	case err != nil:
		return errors.New("dew up ended without a word")
	case answer != "down":
		return errors.New(answer)
	}
	return nil
}

// endGuests ends what a keeper holds of a foundation that does not run.
func endGuests(ctx context.Context, folder string) (int, error) {
	if _, err := os.Stat(folder); err != nil {
		return 0, err
	}
	k, err := keeper.Open(ctx, folder, nil)
	if errors.Is(err, keeper.ErrNone) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	list, err := k.List(ctx)
	if err != nil {
		return 0, err
	}
	var all sync.WaitGroup
	errs := make([]error, len(list))
	for i, kept := range list {
		all.Go(func() { errs[i] = endGuest(ctx, k, kept.Name) })
	}
	all.Wait()
	return len(list), errors.Join(errs...)
}

// removeUplink takes off the host what a foundation that does not run has left of
// its guests' way out.
func removeUplink(folder string) error {
	id, err := os.ReadFile(filepath.Join(folder, idFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return landlord.RemoveUplink(landlord.UplinkName(strings.TrimSpace(string(id))))
}

func endGuest(ctx context.Context, k *keeper.Client, name string) error {
	g, err := k.Adopt(ctx, name)
	if err != nil {
		return err
	}
	go discard(g.Stdout)
	go discard(g.Stderr)
	patience, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	g.Link().Signal(patience, syscall.SIGTERM)
	if _, err := g.Wait(patience); err != nil {
		g.Kill()
	}
	return g.Forget()
}

// discard reads a guest's last words, which nobody is there to hear.
func discard(f *os.File) {
	b := make([]byte, 4096)
	for {
		if _, err := f.Read(b); err != nil {
			f.Close()
			return
		}
	}
}

// upSocket is where dew down finds dew up. Only the owner of the data
// folder can enter it.
type upSocket struct {
	listener *net.UnixListener
	down     chan *downing
}

// downing is a dew down that waits.
type downing struct{ conn net.Conn }

// done answers it.
func (d *downing) done(err error) {
	answer := "down\n"
	if err != nil {
		answer = strings.ReplaceAll(err.Error(), "\n", " ") + "\n"
	}
	d.conn.SetDeadline(time.Now().Add(time.Second))
	d.conn.Write([]byte(answer))
	d.conn.Close()
}

const upFile = "up.sock"

// within runs f with a path of a file in a folder that is short enough for a
// socket, however long the folder's is.
func within(folder, name string, f func(path string) error) error {
	dir, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer dir.Close()
	return f(fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), name))
}

func dialUp(data string) (conn net.Conn, err error) {
	err = within(data, upFile, func(path string) (err error) {
		conn, err = net.Dial("unix", path)
		return err
	})
	return conn, err
}

// listenUp opens the socket. The lock on the folder is held already, so
// one that is there is left over.
func listenUp(data string) (*upSocket, error) {
	os.Remove(filepath.Join(data, upFile))
	o := &upSocket{down: make(chan *downing, 1)}
	err := within(data, upFile, func(path string) (err error) {
		o.listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: path})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen for dew down: %w", err)
	}
	o.listener.SetUnlinkOnClose(false) // its path was for this moment only
	go o.accept()
	return o, nil
}

func (o *upSocket) accept() {
	for {
		c, err := o.listener.Accept()
		if err != nil {
			return
		}
		go func() {
			c.SetReadDeadline(time.Now().Add(10 * time.Second))
			line, err := bufio.NewReader(c).ReadString('\n')
			if err != nil || strings.TrimSpace(line) != "down" {
				c.Close()
				return
			}
			select {
			case o.down <- &downing{c}:
			default:
				(&downing{c}).done(errors.New("dew up is going down already"))
			}
		}()
	}
}
