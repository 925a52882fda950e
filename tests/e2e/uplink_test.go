package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/miekg/dns"
	"github.com/vishvananda/netlink"

	"github.com/dewpaas/dew/store/postgres/pgtest"
	"github.com/dewpaas/dew/vnet"
)

// town is a machine with a foundation, and what is outside of it, each in a
// network of its own:
//
//	guests - dew up - machine 10.77.0.1 - world 10.77.0.2 (a database), 203.0.113.5 (the public)
type town struct {
	t              *testing.T
	machine, world *vnet.Network
	dew, data      string
	listen         string
	resolv         string // what /etc/resolv.conf is on the machine
	up             *exec.Cmd
	said           lockedBuffer
	platform       *platform
	login          sync.Once // of cf
}

const publicAddr = "203.0.113.5"

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newTown(t *testing.T) *town {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	w := &town{t: t, listen: "127.0.0.1:18100", data: filepath.Join(t.TempDir(), "data"), dew: build(t, filepath.Join("..", "..", "cmd", "dew"))}
	for _, n := range []**vnet.Network{&w.machine, &w.world} {
		made, err := vnet.New()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { made.Close() })
		*n = made
	}
	there, err := w.world.Space()
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	w.in(w.machine, func() error {
		return errors.Join(netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "w0", PeerNamespace: netlink.NsFd(there)}),
			addressed("eth0", "10.77.0.1/24"), routed("eth0", "10.77.0.2"))
	})
	w.in(w.world, func() error {
		return errors.Join(addressed("w0", "10.77.0.2/24"), addressed("lo", publicAddr+"/32"))
	})
	w.resolv = filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(w.resolv, []byte("nameserver 10.77.0.2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return w
}

func addressed(name, addr string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	a, err := netlink.ParseAddr(addr)
	if err != nil {
		return err
	}
	return errors.Join(netlink.AddrAdd(l, a), netlink.LinkSetUp(l))
}

func routed(name, via string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}, Gw: net.ParseIP(via)})
}

func (w *town) in(n *vnet.Network, f func() error) {
	w.t.Helper()
	if err := n.Within(f); err != nil {
		w.t.Fatal(err)
	}
}

// spawn starts dew up on the machine, with the machine's resolv.conf.
func (w *town) spawn() {
	w.t.Helper()
	w.up = exec.Command("unshare", "-m", "sh", "-c", `mount --bind "$1" /etc/resolv.conf && shift && exec "$@"`, "sh", w.resolv,
		w.dew, "up", "--data", w.data, "--listen", w.listen, "--memory", "4G")
	w.up.Stdout, w.up.Stderr = &w.said, &w.said
	w.up.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	w.in(w.machine, w.up.Start)
	w.await("the API answers", func() error {
		r, err := w.platform.client.Get("http://" + w.listen + "/v3/info")
		if err == nil {
			r.Body.Close()
		}
		return err
	})
}

// kill ends dew up as a power cut would.
func (w *town) kill() {
	w.up.Process.Kill()
	w.up.Wait()
}

// open begins the foundation; when the test ends it must leave nothing on the
// machine.
func (w *town) open() {
	w.t.Helper()
	shareCaches(w.t, w.data)
	dial := func(ctx context.Context, network, addr string) (c net.Conn, err error) {
		err = w.machine.Within(func() (err error) { c, err = new(net.Dialer).DialContext(ctx, network, addr); return err })
		return c, err
	}
	w.platform = &platform{t: w.t, url: "http://" + w.listen, client: &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
	before := w.traces()
	w.spawn()
	w.t.Cleanup(func() {
		w.dewDo("down", "--data", w.data)
		w.up.Wait()
		if after := w.traces(); after != before {
			w.t.Errorf("left on the machine:\n%swant\n%s", after, before)
		}
		if w.t.Failed() {
			w.t.Logf("dew up said:\n%s", w.said.String())
		}
	})
	w.platform.login(w.data)
}

// traces are what a way out may leave on a machine.
func (w *town) traces() string {
	var b strings.Builder
	w.in(w.machine, func() error {
		list, err := net.Interfaces()
		for _, i := range list {
			on, failed := os.ReadFile("/proc/sys/net/ipv4/conf/" + i.Name + "/forwarding")
			err = errors.Join(err, failed)
			fmt.Fprintf(&b, "%s forwards %s", i.Name, on)
		}
		if nft, missing := exec.LookPath("nft"); missing == nil {
			out, failed := exec.Command(nft, "list", "ruleset").CombinedOutput()
			err = errors.Join(err, failed)
			b.Write(out)
		}
		return err
	})
	return b.String()
}

// dewDo runs a verb of dew on the machine.
func (w *town) dewDo(args ...string) string {
	w.t.Helper()
	cmd := exec.Command(w.dew, args...)
	cmd.Env = append(os.Environ(), "CF_HOME="+filepath.Dir(w.data), "DEW_DATA="+w.data)
	var out []byte
	err := w.machine.Within(func() (err error) { out, err = cmd.CombinedOutput(); return err })
	if err != nil {
		w.t.Fatalf("dew %s: %v\n%s\ndew up said:\n%s", strings.Join(args, " "), err, out, w.said.String())
	}
	return string(out)
}

// await asks until there is no error any more.
func (w *town) await(what string, ask func() error) {
	w.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			w.t.Fatalf("%s: %v\ndew up said:\n%s", what, err, w.said.String())
		}
	}
}

// ask asks an app at its route.
func (w *town) ask(method, app, path, body string) (int, string, error) {
	r, err := http.NewRequest(method, "http://"+w.listen+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	r.Host = app + ".apps.localhost"
	answer, err := w.platform.client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}

func (w *town) wants(app, path string, status int, part string) {
	w.t.Helper()
	w.await(fmt.Sprintf("GET %s%s: %d with %q", app, path, status, part), func() error {
		got, text, err := w.ask("GET", app, path, "")
		if err == nil && (got != status || !strings.Contains(text, part)) {
			err = fmt.Errorf("%d %q", got, text)
		}
		return err
	})
}

// logged waits until an app's log has a line with all of the parts.
func (w *town) logged(app string, parts ...string) {
	w.t.Helper()
	w.await(fmt.Sprintf("%q in the log of %s", parts, app), func() error {
		log := w.dewDo("logs", app, "--recent")
		for line := range strings.Lines(log) {
			found := 0
			for _, p := range parts {
				if strings.Contains(line, p) {
					found++
				}
			}
			if found == len(parts) {
				return nil
			}
		}
		return errors.New(log)
	})
}

// names answers for db.example.test with the database, and for rebind.example.test
// with the machine itself.
func (w *town) names() {
	w.t.Helper()
	var packets net.PacketConn
	w.in(w.world, func() (err error) { packets, err = net.ListenPacket("udp4", "10.77.0.2:53"); return err })
	server := &dns.Server{PacketConn: packets, Handler: dns.HandlerFunc(func(out dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		addr, known := map[string]string{"db.example.test.": "10.77.0.2", "rebind.example.test.": "10.77.0.1"}[strings.ToLower(q.Question[0].Name)]
		if !known {
			m.Rcode = dns.RcodeNameError
		} else if q.Question[0].Qtype == dns.TypeA {
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.ParseIP(addr)}}
		}
		out.WriteMsg(m)
	})}
	go server.ActivateAndServe()
	w.t.Cleanup(func() { packets.Close() })
}

// ticks counts what pulse says to an address of the world.
func (w *town) ticks(addr string) *atomic.Int64 {
	w.t.Helper()
	var l net.Listener
	w.in(w.world, func() (err error) { l, err = net.Listen("tcp4", addr); return err })
	w.t.Cleanup(func() { l.Close() })
	var n atomic.Int64
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if from, _ := netip.ParseAddrPort(c.RemoteAddr().String()); from.Addr().String() != "10.77.0.1" {
				w.t.Errorf("a guest came as %v: want the machine's address", from)
			}
			go func() {
				defer c.Close()
				for lines := bufio.NewScanner(c); lines.Scan(); {
					n.Add(1)
				}
			}()
		}
	}()
	return &n
}

func (w *town) grows(what string, n *atomic.Int64) {
	w.t.Helper()
	before := n.Load()
	w.await(what, func() error {
		if now := n.Load(); now < before+3 {
			return fmt.Errorf("%d ticks, %d before", now, before)
		}
		return nil
	})
}

// vendored is a copy of a module with all that it imports: the machine has no
// module proxy.
func vendored(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), filepath.Base(dir))
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("go", "mod", "vendor")
	c.Dir, c.Env = to, append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("go mod vendor: %v\n%s", err, out)
	}
	return to
}

// TestGuestsReachTheirDatabase: an app in a unikernel keeps its entries in a real
// database outside of the machine, bound by a broker, as long as a security group
// allows it, and never else.
func TestGuestsReachTheirDatabase(t *testing.T) {
	w := newTown(t)
	runtime.LockOSThread() // processes that are to die with their parent die with the thread that started them
	defer runtime.UnlockOSThread()
	var admin string
	w.in(w.world, func() error { admin = pgtest.ServerAt(t, "10.77.0.2"); return nil })
	config, err := pgx.ParseConfig(admin)
	if err != nil {
		t.Fatal(err)
	}
	w.names()
	public, private := w.ticks(publicAddr+":7000"), w.ticks("10.77.0.2:7000")
	w.open()
	p := w.platform
	broker := build(t, filepath.Join("..", "..", "examples", "postgres-broker"))
	w.in(w.machine, func() error {
		start(t, "127.0.0.1:18101", []string{"ADMIN_URL=" + admin, "BROKER_USER=u", "BROKER_PASSWORD=p", "PORT=18101", "PUBLIC_HOST=db.example.test:" + itoa(config.Port)}, broker)
		return nil
	})
	space := p.space()
	w.dewDo("target", "-o", "o", "-s", "s")

	// Public networks are reached by default, names are found, private ones are denied.
	w.dewDo("push", "pulse", "-p", filepath.Join("testdata", "pulse"), "--no-start", "-m", "64M")
	w.dewDo("set-env", "pulse", "TARGET", publicAddr+":7000")
	w.dewDo("push", "pulse", "-p", filepath.Join("testdata", "pulse"), "-m", "64M")
	w.grows("pulse reaches the public", public)
	w.wants("pulse", "/lookup/db.example.test", 200, "[10.77.0.2]")
	w.wants("pulse", "/lookup/rebind.example.test", 200, "no such host")

	p.do("POST", "/v3/service_brokers", `{"name":"pg","url":"http://127.0.0.1:18101","authentication":{"type":"basic","credentials":{"username":"u","password":"p"}}}`)
	plan := guid(p.do("GET", "/v3/service_plans?service_offering_names=postgres", ""))
	p.do("POST", "/v3/service_instances", `{"type":"managed","name":"guestbook-db","relationships":{`+to("space", space)+`,`+to("service_plan", plan)+`}}`)
	book := vendored(t, filepath.Join("..", "..", "examples", "guestbook"))
	w.dewDo("push", "-p", book, "-f", filepath.Join(book, "manifest.yml"), "--no-wait")
	port := itoa(config.Port)
	w.logged("guestbook", "egress-denied", `"dst_ip":"10.77.0.2"`, `"dst_port":`+port, "none of the security groups")

	// The operator adds a group: in force at once.
	w.createGroup("database", `[{"protocol":"tcp","destination":"10.77.0.2","ports":"`+port+`","log":true}]`)
	w.bindGroup("database", space)
	w.dewDo("restart", "guestbook")
	w.await("an entry is written", func() error {
		status, text, err := w.ask("POST", "guestbook", "/", "first")
		if err == nil && status != http.StatusCreated {
			err = fmt.Errorf("%d %s", status, text)
		}
		return err
	})
	w.wants("guestbook", "/", 200, "first")
	w.logged("guestbook", "egress-allowed", `"dst_port":`+port, "security group database rule 1")

	// dew up is killed: guests keep their way out, and the connections that they have.
	backend := backendOf(t, admin)
	w.kill()
	w.grows("pulse reaches the public while dew up is dead", public)
	w.spawn()
	w.wants("guestbook", "/", 200, "first")
	if now := backendOf(t, admin); now != backend {
		t.Errorf("the connection to the database is another one: %s, before %s", now, backend)
	}

	// Without the group the connection is cut, live; with it there is another one.
	w.unbindGroup("database", space)
	if status, text, err := w.ask("GET", "guestbook", "/", ""); err != nil || status != http.StatusServiceUnavailable {
		t.Errorf("the guestbook answers %d %q, %v: want no database", status, text, err)
	}
	w.bindGroup("database", space)
	w.wants("guestbook", "/", 200, "first")
	w.dewDo("set-env", "pulse", "TARGET", "10.77.0.2:7000")
	w.dewDo("restart", "pulse")
	w.logged("pulse", "egress-denied", `"dst_port":7000`)
	if n := private.Load(); n != 0 {
		t.Errorf("%d ticks on a port that no rule allows", n)
	}
	// A group for every space, by a range of addresses and of ports.
	w.createGroup("everybody", `[{"protocol":"tcp","destination":"10.77.0.2-10.77.0.9","ports":"6999-7001"}]`)
	if !w.cf("bind-running-security-group", "everybody") {
		p.do("PATCH", strings.TrimSuffix(w.group("everybody"), "/relationships/running_spaces"), `{"globally_enabled":{"running":true}}`)
	}
	w.grows("pulse reaches what the group for everybody allows", private)
}

// cf runs the real cf CLI, if $CF names it, as the operator of space s in
// organization o.
func (w *town) cf(args ...string) (ran bool) {
	w.t.Helper()
	program := os.Getenv("CF")
	if program == "" {
		return false
	}
	do := func(args ...string) {
		w.t.Helper()
		c := exec.Command(program, args...)
		c.Env = append(os.Environ(), "CF_HOME="+filepath.Join(filepath.Dir(w.data), "cf"))
		var out []byte
		if err := w.machine.Within(func() (err error) { out, err = c.CombinedOutput(); return err }); err != nil {
			w.t.Fatalf("cf %s: %v\n%s", args[0], err, out)
		}
	}
	w.login.Do(func() {
		password, err := os.ReadFile(filepath.Join(w.data, "admin-password"))
		if err == nil {
			err = os.MkdirAll(filepath.Join(filepath.Dir(w.data), "cf"), 0o700)
		}
		if err != nil {
			w.t.Fatal(err)
		}
		do("api", "http://"+w.listen)
		do("auth", "admin", strings.TrimSpace(string(password)))
	})
	do(args...)
	return true
}

// Security groups as an operator uses them: by cf where it is, else by the API.
func (w *town) createGroup(name, rules string) {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "rules.json")
	if err := os.WriteFile(file, []byte(rules), 0o644); err != nil {
		w.t.Fatal(err)
	}
	if !w.cf("create-security-group", name, file) {
		w.platform.do("POST", "/v3/security_groups", `{"name":"`+name+`","rules":`+rules+`}`)
	}
}

func (w *town) group(name string) string {
	return "/v3/security_groups/" + guid(w.platform.do("GET", "/v3/security_groups?names="+name, "")) + "/relationships/running_spaces"
}

func (w *town) bindGroup(name, space string) {
	w.t.Helper()
	if !w.cf("bind-security-group", name, "o", "--space", "s") {
		w.platform.do("POST", w.group(name), `{"data":[{"guid":"`+space+`"}]}`)
	}
}

func (w *town) unbindGroup(name, space string) {
	w.t.Helper()
	if !w.cf("unbind-security-group", name, "o", "s") {
		w.platform.do("DELETE", w.group(name)+"/"+space, "")
	}
}

// backendOf is the server's end of the guestbook's connection.
func backendOf(t *testing.T, admin string) (pid string) {
	t.Helper()
	ctx := context.Background()
	c := connect(t, admin)
	defer c.Close(ctx)
	if err := c.QueryRow(ctx, `SELECT string_agg(pid || ' ' || client_addr || ' ' || client_port, ',' ORDER BY pid) FROM pg_stat_activity WHERE usename LIKE 'user\_%'`).Scan(&pid); err != nil {
		t.Fatalf("look for the guestbook's connection: %v", err)
	}
	return pid
}

// TestRunReachesOutside: `dew run --uplink` lets one program out, finds names for
// it, and leaves nothing, also after one that was killed.
func TestRunReachesOutside(t *testing.T) {
	w := newTown(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	w.names()
	ticks := w.ticks("10.77.0.2:7000")
	before := w.traces()
	run := func(target string) *exec.Cmd {
		c := exec.Command("unshare", "-m", "sh", "-c", `mount --bind "$1" /etc/resolv.conf && shift && exec "$@"`, "sh", w.resolv,
			w.dew, "run", "--uplink", "-m", "64M", "-p", w.listen+":8080", "-e", "TARGET="+target, filepath.Join("testdata", "pulse"))
		c.Stdout, c.Stderr = &w.said, &w.said
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		w.in(w.machine, c.Start)
		t.Cleanup(func() { c.Process.Kill(); c.Wait() })
		return c
	}
	killed := run("db.example.test:7000")
	w.grows("the program reaches what the host reaches", ticks)
	killed.Process.Kill()
	killed.Wait()
	if w.traces() == before {
		t.Fatal("the test does not see what a run leaves that was killed")
	}
	second := run("10.77.0.1:22")
	w.await("the host is denied", func() error {
		if said := w.said.String(); !strings.Contains(said, "denied tcp from 10.255.0.2 to 10.77.0.1:22") {
			return errors.New(said)
		}
		return nil
	})
	second.Process.Signal(syscall.SIGTERM)
	second.Wait()
	if after := w.traces(); after != before {
		t.Errorf("left on the machine:\n%swant\n%s\n%s", after, before, w.said.String())
	}
}
