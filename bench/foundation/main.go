package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dewpaas/dew/cmd/dew/client"
)

func main() {
	b := &bench{}
	flag.StringVar(&b.site.dew, "dew", "dew", "the binary of dew")
	flag.StringVar(&b.site.data, "data", "", "folder of the foundation; a temporary one unless given")
	flag.StringVar(&b.site.listen, "listen", "127.0.0.1:18444", "address of the foundation")
	flag.StringVar(&b.stager, "stager", "", "folder of build caches to use, so that the standard library is not compiled again")
	flag.StringVar(&b.cf, "cf", "", "the cf CLI, to time `cf apps` with")
	flag.IntVar(&b.apps, "apps", 200, "how many apps")
	flag.IntVar(&b.instances, "instances", 500, "how many instances in all")
	flag.IntVar(&b.clients, "clients", 4, "how many pushes at a time")
	flag.DurationVar(&b.idle, "idle", 30*time.Second, "how long to watch the idle foundation")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
	defer cancel()
	if err := b.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "foundation:", err)
		os.Exit(1)
	}
}

// bench is one run.
type bench struct {
	site                     site
	stager, cf               string
	apps, instances, clients int
	idle                     time.Duration

	space, domain, droplet string
}

func (b *bench) run(ctx context.Context) (err error) {
	if b.site.data == "" {
		dir, err := os.MkdirTemp("", "dew-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		b.site.data = dir
	}
	if err := b.caches(); err != nil {
		return err
	}
	if _, err := b.site.start(ctx); err != nil {
		return err
	}
	defer func() {
		if b.site.up.ProcessState == nil {
			err = errors.Join(err, b.site.down())
		}
	}()
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"push the first app, built from source", b.first}, {"make and start the others", b.others}, {"all run", b.running}, {"ask every app once, through the router", b.ask},
		{"list apps", b.list}, {"memory", b.memory}, {"idle", b.rest}, {"dew up is killed and comes back", b.restart}, {"ask every app again", b.ask},
		{"stop all", b.stopAll}, {"delete all", b.deleteAll},
	} {
		begun := time.Now()
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		fmt.Printf("%-45s %8.2f s\n", step.name, time.Since(begun).Seconds())
	}
	return nil
}

// caches are linked into the data folder.
func (b *bench) caches() error {
	if err := os.MkdirAll(b.site.data, 0o700); err != nil || b.stager == "" {
		return err
	}
	return os.Symlink(b.stager, filepath.Join(b.site.data, "stager"))
}

// size is how many instances the n-th app has: as even as it goes.
func (b *bench) size(n int) int {
	size := b.instances / b.apps
	if n < b.instances%b.apps {
		size++
	}
	return size
}

func name(n int) string { return fmt.Sprintf("app-%03d", n) }

func (b *bench) first(ctx context.Context) error {
	if err := b.site.run(ctx, "push", name(0), "-p", "bench/foundation/testdata/app", "-m", "64M", "-i", fmt.Sprint(b.size(0))); err != nil {
		return err
	}
	var apps, spaces, domains, droplets struct{ Resources []client.Thing }
	for path, into := range map[string]any{"/v3/apps?names=" + name(0): &apps, "/v3/spaces": &spaces, "/v3/domains": &domains} {
		if err := b.site.api.Do(ctx, "GET", path, nil, into); err != nil {
			return err
		}
	}
	for _, d := range domains.Resources {
		if !d.Internal {
			b.domain = d.GUID
		}
	}
	b.space = spaces.Resources[0].GUID
	err := b.site.api.Do(ctx, "GET", "/v3/droplets?app_guids="+apps.Resources[0].GUID, nil, &droplets)
	if err == nil {
		b.droplet = droplets.Resources[0].GUID
	}
	return err
}

// each does something with the apps from a number on, some at a time.
func (b *bench) each(from int, do func(n int) error) error {
	var next atomic.Int64
	next.Store(int64(from))
	errs := make([]error, b.clients)
	var all sync.WaitGroup
	for c := range b.clients {
		all.Go(func() {
			for n := int(next.Add(1)) - 1; n < b.apps && errs[c] == nil; n = int(next.Add(1)) - 1 {
				if err := do(n); err != nil {
					errs[c] = fmt.Errorf("%s: %w", name(n), err)
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

type obj = map[string]any

// others makes apps from the first one's droplet.
func (b *bench) others(ctx context.Context) error {
	return b.each(1, func(n int) error {
		var app, droplet, route client.Thing
		do := func(method, path string, in any, out *client.Thing) error {
			if out == nil {
				return b.site.api.Do(ctx, method, path, in, nil)
			}
			return b.site.api.Do(ctx, method, path, in, out)
		}
		to := func(what, guid string) obj { return obj{what: client.To(guid)} }
		err := do("POST", "/v3/apps", obj{"name": name(n), "relationships": to("space", b.space)}, &app)
		for _, step := range []func() error{
			func() error {
				return do("POST", "/v3/droplets?source_guid="+b.droplet, obj{"relationships": to("app", app.GUID)}, &droplet)
			},
			func() error {
				return do("PATCH", "/v3/apps/"+app.GUID+"/relationships/current_droplet", client.To(droplet.GUID), nil)
			},
			func() error {
				return do("POST", "/v3/apps/"+app.GUID+"/processes/web/actions/scale", obj{"instances": b.size(n), "memory_in_mb": 64}, nil)
			},
			func() error {
				return do("POST", "/v3/routes", obj{"host": name(n), "relationships": obj{"space": client.To(b.space), "domain": client.To(b.domain)}}, &route)
			},
			func() error {
				return do("POST", "/v3/routes/"+route.GUID+"/destinations", obj{"destinations": []obj{{"app": obj{"guid": app.GUID}}}}, nil)
			},
			func() error { return do("POST", "/v3/apps/"+app.GUID+"/actions/start", nil, nil) },
		} {
			if err == nil {
				err = step()
			}
		}
		return err
	})
}

// processes asks what `cf apps` asks.
func (b *bench) processes(ctx context.Context) ([]client.Process, error) {
	return client.List[client.Process](ctx, b.site.api, "/v3/processes", url.Values{"embed": {"process_instances"}, "space_guids": {b.space}})
}

// count is how many instances are in a state.
func (b *bench) count(ctx context.Context, state string) int {
	list, err := b.processes(ctx)
	n := 0
	for _, p := range list {
		for _, i := range p.Brief {
			if err == nil && i.State == state {
				n++
			}
		}
	}
	return n
}

func (b *bench) running(ctx context.Context) error {
	return until(ctx, func() bool { return b.count(ctx, "RUNNING") == b.instances })
}

func (b *bench) ask(ctx context.Context) error {
	return b.each(0, func(n int) error {
		q, err := http.NewRequestWithContext(ctx, "GET", "http://"+b.site.listen+"/", nil)
		if err != nil {
			return err
		}
		q.Host = name(n) + ".apps.localhost"
		a, err := http.DefaultClient.Do(q)
		if err != nil {
			return err
		}
		defer a.Body.Close()
		if text, err := io.ReadAll(a.Body); err != nil || a.StatusCode != http.StatusOK {
			return fmt.Errorf("%s %s %w", a.Status, text, err)
		}
		return nil
	})
}

func (b *bench) list(ctx context.Context) error {
	if b.cf == "" {
		_, err := b.processes(ctx)
		return err
	}
	home := filepath.Join(b.site.data, "cf")
	if err := os.MkdirAll(home, 0o700); err != nil {
		return err
	}
	password, err := os.ReadFile(filepath.Join(b.site.data, client.PasswordFile))
	if err != nil {
		return err
	}
	for _, args := range [][]string{{"login", "-a", "http://" + b.site.listen, "-u", "admin", "-p", string(password[:len(password)-1])}, {"apps"}} {
		cmd := exec.CommandContext(ctx, b.cf, args...)
		cmd.Env = append(os.Environ(), "CF_HOME="+home)
		begun := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("cf %s: %w: %s", args[0], err, out)
		}
		fmt.Printf("  cf %-8s %6.3f s\n", args[0], time.Since(begun).Seconds())
	}
	return nil
}

func (b *bench) memory(context.Context) error {
	guests, err := b.site.guests()
	if err != nil {
		return err
	}
	keeper, err := b.site.keeper()
	sum, most := 0, 0
	for _, pid := range guests {
		n := pss(pid)
		sum, most = sum+n, max(most, n)
	}
	const mib = 1 << 20
	fmt.Printf("  %d guests: PSS %.2f MiB each, the largest %.2f; dew up %.0f MiB, keeper %.0f MiB\n", len(guests), float64(sum)/float64(len(guests))/mib, float64(most)/mib,
		float64(pss(b.site.up.Process.Pid))/mib, float64(pss(keeper))/mib)
	return err
}

// rest looks at what an idle foundation uses.
func (b *bench) rest(ctx context.Context) error {
	guests, err := b.site.guests()
	if err != nil {
		return err
	}
	keeper, err := b.site.keeper()
	if err != nil {
		return err
	}
	used := func() (up, keep, all time.Duration) {
		for _, pid := range guests {
			all += cpu(pid)
		}
		return cpu(b.site.up.Process.Pid), cpu(keeper), all
	}
	up, keep, all := used()
	begun := time.Now()
	select {
	case <-time.After(b.idle):
	case <-ctx.Done():
		return ctx.Err()
	}
	up2, keep2, all2 := used()
	percent := func(d time.Duration) float64 { return 100 * d.Seconds() / time.Since(begun).Seconds() }
	fmt.Printf("  of one CPU: dew up %.1f %%, keeper %.1f %%, %d guests together %.1f %%\n", percent(up2-up), percent(keep2-keep), len(guests), percent(all2-all))
	return nil
}

// restart kills dew up and checks that all guests were adopted.
func (b *bench) restart(ctx context.Context) error {
	before, err := b.site.guests()
	if err != nil {
		return err
	}
	b.site.kill()
	took, err := b.site.start(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("  the API answers after %.2f s\n", took.Seconds())
	if err := b.running(ctx); err != nil {
		return err
	}
	after, err := b.site.guests()
	if err == nil && (len(after) != len(before) || len(before) != b.instances) {
		return fmt.Errorf("%d guests, then %d, of %d", len(before), len(after), b.instances)
	}
	there := map[int]bool{}
	for _, pid := range before {
		there[pid] = true
	}
	for _, pid := range after {
		if !there[pid] {
			return errors.New("a guest was replaced")
		}
	}
	return err
}

func (b *bench) stopAll(ctx context.Context) error {
	err := b.eachApp(ctx, func(guid string) error {
		return b.site.api.Do(ctx, "POST", "/v3/apps/"+guid+"/actions/stop", nil, nil)
	})
	if err != nil {
		return err
	}
	return until(ctx, func() bool {
		list, err := b.site.guests()
		return err == nil && len(list) == 0
	})
}

func (b *bench) deleteAll(ctx context.Context) error {
	return b.eachApp(ctx, func(guid string) error { return b.site.api.Work(ctx, "DELETE", "/v3/apps/"+guid, nil) })
}

func (b *bench) eachApp(ctx context.Context, do func(guid string) error) error {
	apps, err := client.List[client.App](ctx, b.site.api, "/v3/apps", url.Values{"space_guids": {b.space}, "order_by": {"name"}})
	if err != nil {
		return err
	}
	if len(apps) != b.apps {
		return fmt.Errorf("%d apps of %d", len(apps), b.apps)
	}
	return b.each(0, func(n int) error { return do(apps[n].GUID) })
}
