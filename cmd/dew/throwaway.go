package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/dewpaas/dew/cmd/dew/client"
	"github.com/dewpaas/dew/cmd/dew/demo"
)

// throwaway is a foundation of the demo's own: `dew up` on a folder that goes with
// it, and dew's verbs as its client, run as a user runs them.
type throwaway struct {
	dew     string // this program
	dir     string // data, the client's home, the manifest
	address string
	app     demo.App
	source  string
	up      *exec.Cmd
	ended   chan error // by up
	log     bytes.Buffer
	web     http.Client // resolves every name to the foundation
}

func newThrowaway(dir string) (*throwaway, error) {
	dew, err := os.Executable()
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t := &throwaway{dew: dew, dir: dir, address: l.Addr().String(), app: demo.Pushed()}
	t.web.Transport = &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, t.address)
	}}
	return t, errors.Join(l.Close(), os.MkdirAll(t.data(), 0o700))
}

func (t *throwaway) data() string { return filepath.Join(t.dir, "data") }

// url is where the app answers.
func (t *throwaway) url() string {
	_, port, _ := strings.Cut(t.address, ":")
	return "http://" + t.app.Name + ".apps.localhost:" + port
}

// deed is one thing that is done with a foundation, and looked at.
type deed struct {
	name string
	do   func(context.Context) error
}

func (t *throwaway) deeds() []deed {
	return []deed{
		{"dew up: the API answers", t.start},
		{"dew push: the app answers at its URL", t.push},
		{"dew push again: nothing is sent that is there", t.again},
		{"dew scale -i 2: both instances answer", t.scale},
		{"dew push --strategy rolling: no request is lost", t.roll},
		{"dew rollback: the version before, no request lost", t.rollback},
		{"an instance panics: it is replaced, a record kept", t.crash},
		{"dew logs: what the app and the router wrote", t.logs},
		{"dew delete: the URL leads nowhere", t.remove},
		{"dew down: no guest is left", t.down},
	}
}

// verb runs dew as a user would, and returns what it printed to stdout.
func (t *throwaway) verb(ctx context.Context, args ...string) (string, error) {
	c := exec.CommandContext(ctx, t.dew, args...)
	c.Env = append(os.Environ(), "DEW_DATA="+t.data(), "CF_HOME="+t.dir)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("dew %s: %w\n%s", strings.Join(args, " "), err, errs.Bytes())
	}
	return out.String(), nil
}

// start runs dew up. It shares with other runs of this machine what builds leave
// in caches.
func (t *throwaway) start(ctx context.Context) (err error) {
	if t.source, err = t.app.Source(ctx); err != nil {
		return err
	}
	cache, err := cacheDir("stager")
	if err == nil {
		err = errors.Join(os.MkdirAll(cache, 0o755), os.Symlink(cache, filepath.Join(t.data(), "stager")))
	}
	if err != nil {
		return err
	}
	t.up = exec.Command(t.dew, "up", "--data", t.data(), "--listen", t.address)
	t.up.Stdout, t.up.Stderr = &t.log, &t.log
	t.up.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt is the demo's, which takes it down
	if err := t.up.Start(); err != nil {
		return err
	}
	t.ended = make(chan error, 1)
	go func() { t.ended <- t.up.Wait() }()
	return client.Poll(ctx, func() (bool, error) {
		select {
		case err := <-t.ended:
			t.ended <- err
			return false, fmt.Errorf("dew up ended: %w\n%s", err, t.log.Bytes())
		default:
		}
		r, err := t.get(ctx, "http://"+t.address+"/")
		return err == nil && r == http.StatusOK, nil
	})
}

func (t *throwaway) get(ctx context.Context, url string) (int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	a, err := t.web.Do(r)
	if err != nil {
		return 0, err
	}
	return a.StatusCode, a.Body.Close()
}

// ask is what the app says of itself at its URL.
func (t *throwaway) ask(ctx context.Context) (info demo.Info, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, t.url()+"/", nil)
	if err != nil {
		return info, err
	}
	a, err := t.web.Do(r)
	if err != nil {
		return info, err
	}
	defer a.Body.Close()
	if a.StatusCode != http.StatusOK {
		return info, fmt.Errorf("%s answers with status %d", t.url(), a.StatusCode)
	}
	return info, json.NewDecoder(a.Body).Decode(&info)
}

func (t *throwaway) expect(ctx context.Context, message string) error {
	info, err := t.ask(ctx)
	if err == nil && info.Message != message {
		err = fmt.Errorf("%s says %q, want %q", t.url(), info.Message, message)
	}
	return err
}

func (t *throwaway) pushAs(ctx context.Context, message string, flags ...string) error {
	manifest := filepath.Join(t.dir, "manifest.yml")
	if err := os.WriteFile(manifest, []byte(t.app.Manifest(message)), 0o600); err != nil {
		return err
	}
	_, err := t.verb(ctx, append([]string{"push", "-f", manifest, "-p", t.source}, flags...)...)
	return err
}

// The messages of the two versions.
const (
	firstVersion  = "the first version"
	secondVersion = "the second version"
)

func (t *throwaway) push(ctx context.Context) error {
	if err := t.pushAs(ctx, firstVersion); err != nil {
		return err
	}
	return t.expect(ctx, firstVersion)
}

func (t *throwaway) again(ctx context.Context) error {
	if err := t.pushAs(ctx, firstVersion); err != nil {
		return err
	}
	return t.expect(ctx, firstVersion)
}

func (t *throwaway) scale(ctx context.Context) error {
	if _, err := t.verb(ctx, "scale", t.app.Name, "-i", "2"); err != nil {
		return err
	}
	seen := map[string]bool{}
	return client.Poll(ctx, func() (bool, error) {
		info, err := t.ask(ctx)
		seen[info.Hostname] = true
		return len(seen) == 2, err
	})
}

func (t *throwaway) roll(ctx context.Context) error {
	err := t.underLoad(ctx, func() error { return t.pushAs(ctx, secondVersion, "--strategy", "rolling") })
	return errors.Join(err, t.expect(ctx, secondVersion))
}

func (t *throwaway) rollback(ctx context.Context) error {
	err := t.underLoad(ctx, func() error {
		_, err := t.verb(ctx, "rollback", t.app.Name, "-f")
		return err
	})
	return errors.Join(err, t.expect(ctx, firstVersion))
}

// underLoad asks the app without pause while something is done. No answer may fail.
func (t *throwaway) underLoad(ctx context.Context, do func() error) error {
	load, stop := context.WithCancel(ctx)
	var clients sync.WaitGroup
	lost := make(chan error, 2)
	for range cap(lost) {
		clients.Go(func() {
			for load.Err() == nil {
				if _, err := t.ask(load); err != nil && load.Err() == nil {
					lost <- fmt.Errorf("a request was lost: %w", err)
					return
				}
			}
		})
	}
	err := do()
	stop()
	clients.Wait()
	close(lost)
	return errors.Join(err, <-lost)
}

// crash uses one instance only: the router would ask the other one the same.
func (t *throwaway) crash(ctx context.Context) error {
	if _, err := t.verb(ctx, "scale", t.app.Name, "-i", "1"); err != nil {
		return err
	}
	before, err := t.ask(ctx)
	if err != nil {
		return err
	}
	if _, err := t.get(ctx, t.url()+"/panic"); err != nil {
		return err
	}
	err = client.Poll(ctx, func() (bool, error) {
		now, err := t.ask(ctx)
		return err == nil && now.Hostname != before.Hostname, nil
	})
	if err != nil {
		return fmt.Errorf("no other instance answers: %w", err)
	}
	record, err := t.verb(ctx, "crashes", t.app.Name)
	if err == nil && !strings.Contains(record, "Exited with status 255") {
		err = fmt.Errorf("dew crashes says %q", record)
	}
	return err
}

func (t *throwaway) logs(ctx context.Context) error {
	text, err := t.verb(ctx, "logs", t.app.Name, "--recent")
	for _, want := range []string{"APP/PROC/WEB", "RTR", "CELL"} {
		if err == nil && !strings.Contains(text, want) {
			err = fmt.Errorf("dew logs has nothing of %s", want)
		}
	}
	return err
}

func (t *throwaway) remove(ctx context.Context) error {
	if _, err := t.verb(ctx, "delete", t.app.Name, "-f", "-r"); err != nil {
		return err
	}
	return client.Poll(ctx, func() (bool, error) {
		status, err := t.get(ctx, t.url()+"/")
		return status == http.StatusNotFound, err
	})
}

// down ends the foundation. It is also how the demo leaves when it was broken off.
func (t *throwaway) down(ctx context.Context) error {
	if t.up == nil {
		return nil
	}
	_, err := t.verb(ctx, "down")
	select {
	case up := <-t.ended:
		t.up = nil
		if err == nil && up != nil {
			err = fmt.Errorf("dew up ended: %w\n%s", up, t.log.Bytes())
		}
		return err
	case <-time.After(demo.CheckTimeout):
		return errors.Join(err, errors.New("dew up does not end"), t.up.Process.Kill())
	}
}
