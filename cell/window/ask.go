package window

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/cell"
	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/vnet"
)

// Look asks the cell of a folder for its view and its network. The caller closes
// the network.
func Look(ctx context.Context, folder string) (View, *vnet.Network, error) {
	c, a, files, err := ask(ctx, folder, question{Ask: askView})
	if err != nil {
		return View{}, nil, err
	}
	defer c.Close()
	defer closeAll(files)
	if len(files) != 1 {
		return View{}, nil, fmt.Errorf("ask the cell: %d descriptors, want its network", len(files))
	}
	n, err := vnet.Adopt(files[0])
	return a.View, n, err
}

// Loan is places in the cell's network, until Close.
type Loan struct {
	Places []cell.Place
	conn   *net.UnixConn
}

// Borrow asks for places.
func Borrow(ctx context.Context, folder string, wishes []cell.Wish, policies []cf.NetworkPolicy) (*Loan, error) {
	c, a, files, err := ask(ctx, folder, question{askLend, wishes, policies})
	if err != nil {
		return nil, err
	}
	if len(files) != len(a.Places) {
		closeAll(files)
		c.Close()
		return nil, fmt.Errorf("ask the cell: %d descriptors for %d places", len(files), len(a.Places))
	}
	for i := range a.Places {
		a.Places[i].Tap = files[i]
	}
	return &Loan{a.Places, c}, nil
}

// Close gives the places back.
func (l *Loan) Close() error {
	for _, p := range l.Places {
		p.Tap.Close()
	}
	return l.conn.Close()
}

// ask puts one question.
func ask(ctx context.Context, folder string, q question) (c *net.UnixConn, a answer, files []*os.File, err error) {
	if err := within(folder, func(path string) (err error) {
		c, err = net.DialUnix("unix", nil, &net.UnixAddr{Name: path})
		return err
	}); err != nil {
		return nil, a, nil, fmt.Errorf("ask the cell: %w", err)
	}
	defer func() {
		if err != nil {
			closeAll(files)
			c.Close()
		}
	}()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	b, err := json.Marshal(q)
	if err != nil {
		return nil, a, nil, err
	}
	if _, err := c.Write(append(b, '\n')); err != nil {
		return nil, a, nil, fmt.Errorf("ask the cell: %w", err)
	}
	if a, files, err = readAnswer(c); err == nil && a.Error != "" {
		err = errors.New(a.Error)
	}
	if err != nil {
		err = fmt.Errorf("ask the cell: %w", err)
	}
	return c, a, files, err
}

// readAnswer reads descriptors and one line of JSON.
func readAnswer(c *net.UnixConn) (a answer, files []*os.File, err error) {
	first, control := make([]byte, 1), make([]byte, unix.CmsgSpace(4*MaxAtOnce))
	n, controls, _, _, err := c.ReadMsgUnix(first, control)
	if err != nil {
		return a, nil, err
	}
	messages, err := unix.ParseSocketControlMessage(control[:controls])
	if err != nil {
		return a, nil, err
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue // of another kind
		}
		for _, fd := range fds {
			unix.SetNonblock(fd, true) // shared with the sender, who has it so: a tap waits in the poller
			files = append(files, os.NewFile(uintptr(fd), "lent"))
		}
	}
	line, err := bufio.NewReader(io.MultiReader(bytes.NewReader(first[:n]), c)).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &a)
	}
	return a, files, err
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
