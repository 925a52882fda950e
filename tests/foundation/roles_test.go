package foundation

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsclient "github.com/nats-io/nats.go"

	"github.com/dewpaas/dew/cmd/dew/identity"
	"github.com/dewpaas/dew/store/postgres/pgtest"
)

// fleet is a foundation of single roles: two of each, a PostgreSQL and a NATS
// server, all on loopback.
type fleet struct {
	*testing.T
	dew, dir, psql string
	temp           string // their folder for temporary files
	env, bare      []string
	bus            *server.Server
	parts          map[string]*part
	routers        []string // URLs
	token          string
}

// part is one process.
type part struct {
	name string
	args []string
	env  []string

	mu   sync.Mutex // guards what follows
	cmd  *exec.Cmd
	said bytes.Buffer
}

func (p *part) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.Write(b)
}

// newFleet starts one. change sees each process before it is started.
func newFleet(t *testing.T, dew func(*testing.T) string, change func(*part)) *fleet {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: cells make network namespaces")
	}
	if testing.Short() {
		t.Skip("needs minutes where nothing is compiled yet")
	}
	f := &fleet{T: t, dew: dew(t), dir: t.TempDir(), temp: t.TempDir(), parts: map[string]*part{}}
	f.psql = pgtest.Server(t)
	f.query("CREATE DATABASE dew TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
	f.psql = strings.Replace(f.psql, "dbname=postgres", "dbname=dew", 1)
	f.env = append(os.Environ(), "DEW_STORE="+f.storeURL(), "DEW_BUS="+f.nats(), "DEW_APIS=", "TMPDIR="+f.temp)
	f.bare = append(os.Environ(), "DEW_STORE=", "DEW_BUS=", "DEW_APIS=", "TMPDIR="+f.temp) // of those who ask APIs
	apis := []string{freeAddress(t), freeAddress(t)}
	for n, at := range apis {
		other := "https://" + apis[1-n]
		f.add("api", n, "--private", at, "--apis", other, "--listen", freeAddress(t), "--url", "http://api.apps.localhost", "--domain", "apps.localhost")
	}
	known := "https://" + apis[0] + ",https://" + apis[1]
	for n := range 2 {
		f.add("stager", n, "--apis", known)
		f.add("scheduler", n)
		f.add("cell", n, "--apis", known, "--private", freeAddress(t), "--guests", fmt.Sprintf("10.251.%d.0/24", n+1), "--memory", "4G", "--no-uplink", "--zone", fmt.Sprint("z", n+1))
		at := freeAddress(t)
		f.routers = append(f.routers, "http://"+at)
		f.add("router", n, "--apis", known, "--listen", at)
	}
	for _, p := range f.parts {
		change(p)
	}
	t.Cleanup(f.end)
	f.start("api-1")
	f.until("the first API is up", func() bool { return f.up("api-1") })
	key, err := os.ReadFile(filepath.Join(f.dir, "api-1", "token-key.pem"))
	if err == nil {
		err = os.WriteFile(filepath.Join(f.dir, "api-2", "token-key.pem"), key, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for name := range f.parts {
		if name != "api-1" {
			f.start(name)
		}
	}
	for name := range f.parts {
		f.until(name+" is up", func() bool { return f.up(name) })
	}
	f.login()
	return f
}

// storeURL is the ledger as processes are told of it.
func (f *fleet) storeURL() string {
	q := url.Values{}
	for _, word := range strings.Fields(f.psql) {
		key, value, _ := strings.Cut(word, "=")
		if key != "dbname" {
			q.Set(key, value)
		}
	}
	return "postgres:///dew?" + q.Encode()
}

// query asks PostgreSQL.
func (f *fleet) query(sql string) string {
	out, err := exec.Command("psql", f.psql, "-qtAc", sql).CombinedOutput()
	if err != nil {
		f.Fatalf("psql: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// nats starts a server that only APIs and schedulers may use.
func (f *fleet) nats() string {
	f.bus = startNATS(f.T, f.identity("bus", "nats-1"), filepath.Join(f.dir, "ca", "ca.pem"), "scheduler")
	return "tls://" + f.bus.Addr().String()
}

func (f *fleet) identity(role, name string) string {
	f.Helper()
	file := filepath.Join(f.dir, role+"-"+name+".pem")
	if out, err := exec.Command(f.dew, "identity", role, name, "--ca", filepath.Join(f.dir, "ca"), "--out", file).CombinedOutput(); err != nil {
		f.Fatalf("dew identity: %v\n%s", err, out)
	}
	return file
}

// add makes a process of a role, with a data folder of its own.
func (f *fleet) add(role string, n int, args ...string) {
	f.Helper()
	name := fmt.Sprintf("%s-%d", role, n+1)
	data := filepath.Join(f.dir, name)
	if err := os.MkdirAll(data, 0o700); err != nil {
		f.Fatal(err)
	}
	if role == "stager" {
		(&site{T: f.T, data: data}).share()
	}
	args = append([]string{role, "--data", data, "--identity", f.identity(role, name)}, args...)
	env := f.bare
	if role == "api" || role == "scheduler" {
		env = f.env
	}
	f.parts[name] = &part{name: name, args: args, env: env}
}

func (f *fleet) start(name string) {
	f.Helper()
	p := f.parts[name]
	cmd := exec.Command(f.dew, p.args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = p.env, p, p
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		f.Fatal(err)
	}
	p.mu.Lock()
	p.cmd = cmd
	p.said.Reset()
	p.mu.Unlock()
}

// kill ends a process as a power cut would.
func (f *fleet) kill(name string) {
	p := f.parts[name]
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// up tells whether a process says that it is up, and fails when it has ended.
func (f *fleet) up(name string) bool {
	p := f.parts[name]
	p.mu.Lock()
	defer p.mu.Unlock()
	if syscall.Kill(p.cmd.Process.Pid, 0) != nil {
		f.Fatalf("%s ended:\n%s", name, &p.said)
	}
	if bytes.Contains(p.said.Bytes(), []byte("dew: error")) {
		f.Fatalf("%s:\n%s", name, &p.said)
	}
	return bytes.Contains(p.said.Bytes(), []byte("msg=up"))
}

// again kills a process and starts it anew.
func (f *fleet) again(name string) {
	f.Helper()
	f.kill(name)
	f.start(name)
	f.until(name+" is up again", func() bool { return f.up(name) })
}

func (f *fleet) until(what string, ok func() bool) {
	f.Helper()
	if !becomes(20*time.Millisecond, ok) {
		f.Fatalf("not in %v: %s", patience, what)
	}
}

// end takes everything down, first the cells, which tell APIs what becomes of their
// guests, and checks that no guest is left.
func (f *fleet) end() {
	for name, p := range f.parts {
		if p.cmd != nil && strings.HasPrefix(name, "cell") {
			if out, err := exec.Command(f.dew, "down", "--data", filepath.Join(f.dir, name)).CombinedOutput(); err != nil {
				f.Errorf("dew down: %v\n%s", err, out)
			}
		}
	}
	for name, p := range f.parts {
		if p.cmd != nil && !strings.HasPrefix(name, "cell") {
			p.cmd.Process.Signal(syscall.SIGTERM)
		}
	}
	for name, p := range f.parts {
		if p.cmd == nil {
			continue
		}
		ended := make(chan struct{})
		go func() { p.cmd.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(time.Minute):
			f.Errorf("%s does not end", name)
			p.cmd.Process.Kill()
			<-ended
		}
		if f.Failed() {
			f.Logf("%s said:\n%s", name, &p.said)
		}
	}
	f.until("the keepers end", func() bool { return len(f.keepers("cell-1"))+len(f.keepers("cell-2")) == 0 })
	for _, cell := range []string{"cell-1", "cell-2"} {
		checkLeft(f.T, filepath.Join(f.dir, cell), f.temp)
	}
	checkRaces(f.T)
}

func (f *fleet) keepers(cell string) []string {
	return (&site{T: f.T, data: filepath.Join(f.dir, cell)}).keepers()
}

// guests is how many a cell has.
func (f *fleet) guests(cell string) int {
	return (&site{T: f.T, data: filepath.Join(f.dir, cell)}).guests()
}

// login gets a token of admin.
func (f *fleet) login() {
	f.Helper()
	password, err := os.ReadFile(filepath.Join(f.dir, "api-1", "admin-password"))
	if err != nil {
		f.Fatal(err)
	}
	form := url.Values{"grant_type": {"password"}, "username": {"admin"}, "password": {strings.TrimSpace(string(password))}}
	q, err := http.NewRequest("POST", f.routers[0]+"/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		f.Fatal(err)
	}
	q.Host = "api.apps.localhost"
	q.SetBasicAuth("cf", "")
	q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := f.do(q, &answer); err != nil {
		f.Fatal(err)
	}
	f.token = answer.Token
}

func (f *fleet) do(q *http.Request, into any) error {
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err == nil && a.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s: %s", q.Method, q.URL.Path, a.Status, b)
	}
	if err == nil && into != nil {
		err = json.Unmarshal(b, into)
	}
	return err
}

// ask sends a request to the API by one router. body is JSON, or a form.
func (f *fleet) ask(router int, method, path, kind string, body []byte, into any) error {
	q, err := http.NewRequest(method, f.routers[router]+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	q.Host = "api.apps.localhost"
	q.Header.Set("Authorization", "bearer "+f.token)
	q.Header.Set("Content-Type", kind)
	return f.do(q, into)
}

// thing is a resource as far as the test looks at one.
type thing struct {
	GUID, State string
	Instances   int
	Droplet     struct{ GUID string }
	Status      struct{ Value, Reason string }
	Resources   []struct{ GUID, State string }
}

// api asks until it is answered: by either router.
func (f *fleet) api(method, path, body string) (t thing) {
	f.Helper()
	var last error
	n := 0
	f.until("an answer", func() bool {
		n++
		t = thing{}
		last = f.ask(n%2, method, path, "application/json", []byte(body), &t)
		if last != nil && n%100 == 0 {
			f.Log(last)
		}
		return last == nil
	})
	return t
}

// push makes an app of the test's program and returns its GUID.
func (f *fleet) push(name string) string {
	f.Helper()
	space := f.space()
	app := f.api("POST", "/v3/apps", fmt.Sprintf(`{"name":%q,"relationships":{"space":{"data":{"guid":%q}}}}`, name, space)).GUID
	pack := f.upload(app)
	b := f.api("POST", "/v3/builds", fmt.Sprintf(`{"package":{"guid":%q}}`, pack)).GUID
	f.staged(app, b)
	domain := f.api("GET", "/v3/domains?names=apps.localhost", "").Resources[0].GUID
	route := f.api("POST", "/v3/routes", fmt.Sprintf(`{"host":%q,"relationships":{"space":{"data":{"guid":%q}},"domain":{"data":{"guid":%q}}}}`, name, space, domain)).GUID
	if err := f.ask(0, "POST", "/v3/routes/"+route+"/destinations", "application/json", fmt.Appendf(nil, `{"destinations":[{"app":{"guid":%q}}]}`, app), nil); err != nil {
		f.Fatal(err)
	}
	f.api("PATCH", "/v3/processes/"+f.web(app), `{"health_check":{"type":"port"}}`)
	if err := f.ask(0, "POST", "/v3/processes/"+f.web(app)+"/actions/scale", "application/json", []byte(`{"memory_in_mb":64}`), nil); err != nil {
		f.Fatal(err)
	}
	f.api("POST", "/v3/apps/"+app+"/actions/start", "")
	return app
}

func (f *fleet) space() string {
	f.Helper()
	if list := f.api("GET", "/v3/spaces?names=s", "").Resources; len(list) > 0 {
		return list[0].GUID
	}
	org := f.api("POST", "/v3/organizations", `{"name":"o"}`).GUID
	return f.api("POST", "/v3/spaces", fmt.Sprintf(`{"name":"s","relationships":{"organization":{"data":{"guid":%q}}}}`, org)).GUID
}

// upload makes a package of the test's program.
func (f *fleet) upload(app string) string {
	f.Helper()
	pack := f.api("POST", "/v3/packages", fmt.Sprintf(`{"type":"bits","relationships":{"app":{"data":{"guid":%q}}}}`, app)).GUID
	body, kind, err := bits()
	if err != nil {
		f.Fatal(err)
	}
	if err := f.ask(1, "POST", "/v3/packages/"+pack+"/upload", kind, body, nil); err != nil {
		f.Fatal(err)
	}
	return pack
}

// staged waits for a build and makes its droplet the app's.
func (f *fleet) staged(app, build string) {
	f.Helper()
	var b thing
	f.until("the app is staged", func() bool {
		b = f.api("GET", "/v3/builds/"+build, "")
		return b.State != "STAGING"
	})
	if b.State != "STAGED" {
		f.Fatalf("the build is %s", b.State)
	}
	f.api("PATCH", "/v3/apps/"+app+"/relationships/current_droplet", fmt.Sprintf(`{"data":{"guid":%q}}`, b.Droplet.GUID))
}

func (f *fleet) web(app string) string {
	f.Helper()
	return f.api("GET", "/v3/apps/"+app+"/processes/web", "").GUID
}

// scale tells what was acknowledged: an error says that nothing was.
func (f *fleet) scale(router int, app string, n int) error {
	return f.ask(router, "POST", "/v3/apps/"+app+"/processes/web/actions/scale", "application/json", fmt.Appendf(nil, `{"instances":%d}`, n), nil)
}

func (f *fleet) running(app string) int {
	n := 0
	for _, i := range f.api("GET", "/v3/apps/"+app+"/processes/web/stats", "").Resources {
		if i.State == "RUNNING" {
			n++
		}
	}
	return n
}

// get asks an app by one router.
func (f *fleet) get(router int, app string) (string, error) {
	return ask(context.Background(), f.routers[router], app)
}

// load sends requests as a load balancer would: to the other router when one does
// not answer. stop returns how many were answered, and those that were by neither.
func (f *fleet) load(app string) (stop func() (int64, []string)) {
	ctx, cancel := context.WithCancel(context.Background())
	var sent atomic.Int64
	var failures []string
	var all sync.WaitGroup
	all.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			_, err := f.get(n%2, app)
			if err != nil {
				var second error
				if _, second = f.get((n+1)%2, app); second != nil {
					failures = append(failures, fmt.Sprintf("%s %v; %v", time.Now().Format(time.StampMilli), err, second))
					continue
				}
			}
			sent.Add(1)
		}
	})
	return func() (int64, []string) {
		cancel()
		all.Wait()
		return sent.Load(), failures
	}
}

// instances are the GUIDs that answer, by index, once there are as many.
func (f *fleet) instances(app string, want int) map[string]string {
	f.Helper()
	seen, n := map[string]string{}, 0
	f.until(fmt.Sprintf("%d instances of %s answer", want, app), func() bool {
		n++
		b, err := f.get(n%2, app)
		if w := strings.Fields(b); err == nil && len(w) == 4 {
			seen[w[1]] = w[2]
		}
		return len(seen) >= want
	})
	return seen
}

// keepPushing pushes an app again and again, in the storm: what is refused or cut off
// is asked for again, but a build that fails or a deployment that gets stuck is a
// failure. stop has it push once more, and returns how often it did.
func (f *fleet) keepPushing(app string) (stop func() (int, error)) {
	stopping, ended := make(chan struct{}), make(chan error, 1)
	n := 0
	go func() {
		for last := false; ; n++ {
			if err := f.pushAgain(app); err != nil || last {
				ended <- err
				return
			}
			select {
			case <-stopping:
				last = true
			default:
			}
		}
	}()
	return func() (int, error) {
		close(stopping)
		err := <-ended
		return n + 1, err
	}
}

// pushAgain makes a package, a build and a deployment of an app, and sees it through.
func (f *fleet) pushAgain(app string) error {
	bits, kind, err := bits()
	if err != nil {
		return err
	}
	tries := 0
	var last error
	insist := func(what string, do func(router int) (done bool, err error)) error {
		if !becomes(50*time.Millisecond, func() bool {
			tries++
			done, err := do(tries % 2)
			if err != nil {
				last = err
			}
			return done && err == nil
		}) {
			return fmt.Errorf("%s: not in %v, last %v", what, patience, last)
		}
		return nil
	}
	var pack, build, deployment, now thing
	post := func(path, body string, into *thing) func(int) (bool, error) {
		return func(router int) (bool, error) {
			return true, f.ask(router, "POST", path, "application/json", []byte(body), into)
		}
	}
	err = insist("make a package", post("/v3/packages", fmt.Sprintf(`{"type":"bits","relationships":{"app":{"data":{"guid":%q}}}}`, app), &pack))
	if err == nil {
		err = insist("upload", func(router int) (bool, error) {
			err := f.ask(router, "POST", "/v3/packages/"+pack.GUID+"/upload", kind, bits, nil)
			if err != nil && f.ask(router, "GET", "/v3/packages/"+pack.GUID, "application/json", nil, &now) == nil && now.State == "READY" {
				err = nil // it went through, and the answer did not
			}
			return true, err
		})
	}
	if err == nil {
		err = insist("make a build", post("/v3/builds", fmt.Sprintf(`{"package":{"guid":%q}}`, pack.GUID), &build))
	}
	if err == nil {
		err = insist("build", func(router int) (bool, error) {
			err := f.ask(router, "GET", "/v3/builds/"+build.GUID, "application/json", nil, &build)
			return build.State != "STAGING", err
		})
	}
	if err == nil && build.State != "STAGED" {
		err = fmt.Errorf("the build is %s", build.State)
	}
	if err == nil {
		err = insist("make a deployment", post("/v3/deployments", fmt.Sprintf(`{"droplet":{"guid":%q},"relationships":{"app":{"data":{"guid":%q}}}}`, build.Droplet.GUID, app), &deployment))
	}
	if err == nil {
		err = insist("deploy", func(router int) (bool, error) {
			err := f.ask(router, "GET", "/v3/deployments/"+deployment.GUID, "application/json", nil, &deployment)
			return deployment.Status.Value == "FINALIZED", err
		})
	}
	if err == nil && deployment.Status.Reason != "DEPLOYED" {
		err = fmt.Errorf("the deployment is %s", deployment.Status.Reason)
	}
	return err
}

// bits is the test's program as it is uploaded.
func bits() (body []byte, kind string, err error) {
	var packed, form bytes.Buffer
	z := zip.NewWriter(&packed)
	if err := errors.Join(z.AddFS(os.DirFS("testdata/app")), z.Close()); err != nil {
		return nil, "", err
	}
	w := multipart.NewWriter(&form)
	part, err := w.CreateFormFile("bits", "app.zip")
	if err == nil {
		_, err = part.Write(packed.Bytes())
	}
	err = errors.Join(err, w.Close()) // which writes the end of the form
	return form.Bytes(), w.FormDataContentType(), err
}

// holder is who has a lease.
func (f *fleet) holder(like string) string {
	return f.query("SELECT doc::jsonb->>'holder' FROM leases WHERE guid LIKE '" + like + "' LIMIT 1")
}

// TestRoles: two of each role; every one is killed, again and again. What was
// acknowledged holds, guests never notice, requests find another way, and work
// that dies with one is done by the other.
func TestRoles(t *testing.T) {
	f := newFleet(t, dew, func(*part) {})
	app := f.push("app")
	if err := f.scale(0, app, 4); err != nil {
		t.Fatal(err)
	}
	stays := f.instances("app", 4)
	f.until("instances are on both cells", func() bool { return f.guests("cell-1") == 2 && f.guests("cell-2") == 2 })
	other := f.push("other")

	t.Log("the leader is killed, and stays away")
	leader := f.holder("scheduler")
	f.kill(leader)
	acknowledged := 2
	if err := f.scale(0, other, acknowledged); err != nil {
		t.Fatal(err)
	}
	f.until("the other scheduler does it", func() bool { return f.running(other) == acknowledged })
	if now := f.holder("scheduler"); now == leader {
		t.Errorf("%s leads, and is dead", now)
	}
	f.start(leader)

	t.Log("the stager that builds is killed, and stays away")
	b := f.api("POST", "/v3/builds", fmt.Sprintf(`{"package":{"guid":%q}}`, f.upload(other))).GUID
	var builder string
	f.until("somebody builds", func() bool { builder = f.holder("build-" + b); return builder != "" })
	f.kill(builder)
	f.staged(other, b)
	f.start(builder)

	t.Log("a storm")
	stop := f.load("app")
	third := f.push("third")
	pushed := f.keepPushing(third)
	r := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	var names []string
	for name := range f.parts {
		names = append(names, name)
	}
	slices.Sort(names)
	r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for round, name := range names {
		want := 1 + r.IntN(3)
		changed := make(chan error, 1)
		go func() { changed <- f.scale(round%2, other, want) }()
		pause := time.NewTimer(time.Duration(r.IntN(200)) * time.Millisecond)
		<-pause.C
		f.again(name)
		err := <-changed
		is := f.api("GET", "/v3/processes/"+f.web(other), "").Instances
		if err == nil && is != want || err != nil && is != want && is != acknowledged {
			t.Errorf("%s killed: %d instances are wanted; %d were, and %d asked for: %v", name, is, acknowledged, want, err)
		}
		acknowledged = is
		stayed(t, name+" killed", stays, f.instances("app", 4))
	}
	sent, failures := stop()
	if len(failures) > 0 || sent < 50 {
		t.Errorf("%d of %d requests were answered by neither router, first %s", len(failures), sent, append(failures, "none")[0])
	}
	if n, problem := pushed(); problem != nil || n < 2 {
		t.Errorf("%d pushes went through, the last of them when nobody was killed any more: %v", n, problem)
	}
	f.until("all that is wanted runs, and nothing else", func() bool {
		return f.running(other) == acknowledged && f.running(app) == 4 && f.running(third) == 1 && f.guests("cell-1")+f.guests("cell-2") == 5+acknowledged
	})
	if a, b := len(f.keepers("cell-1")), len(f.keepers("cell-2")); a != 1 || b != 1 {
		t.Errorf("%d and %d keepers", a, b)
	}
	t.Logf("%d requests", sent)
	f.strangers()

	t.Log("the ledger is gone, and comes back")
	back := f.hideLedger()
	f.until("the API says so", func() bool {
		err := f.ask(0, "GET", "/v3/apps", "application/json", nil, nil)
		return err != nil && strings.Contains(err.Error(), "503") && strings.Contains(err.Error(), "CF-ServiceUnavailable")
	})
	for n := range 20 {
		if _, err := f.get(n%2, "app"); err != nil {
			t.Errorf("without the ledger: %v", err)
		}
	}
	back()
	f.api("GET", "/v3/apps", "")
	stayed(t, "the ledger was gone", stays, f.instances("app", 4))

	t.Log("both APIs are gone, and come back")
	f.kill("api-1")
	f.kill("api-2")
	for n := range 20 {
		if _, err := f.get(n%2, "app"); err != nil {
			t.Errorf("without an API: %v", err)
		}
	}
	f.start("api-1")
	f.start("api-2")
	f.api("POST", "/v3/apps/"+other+"/processes/web/actions/scale", `{"instances":1}`)
	f.until("what is wanted then runs", func() bool { return f.running(other) == 1 })
	stayed(t, "the APIs were gone", stays, f.instances("app", 4))
	f.takenOver(app)

	t.Log("the bus is gone")
	f.bus.Shutdown()
	f.bus.WaitForShutdown()
	f.api("POST", "/v3/apps/"+other+"/processes/web/actions/scale", `{"instances":3}`)
	f.until("what is wanted runs all the same", func() bool { return f.running(other) == 3 })
}

// hideLedger cuts everybody off from PostgreSQL, until the function it returns is
// called.
func (f *fleet) hideLedger() (back func()) {
	f.Helper()
	words := map[string]string{}
	for _, w := range strings.Fields(f.psql) {
		key, value, _ := strings.Cut(w, "=")
		words[key] = value
	}
	socket := filepath.Join(words["host"], ".s.PGSQL."+words["port"])
	if err := os.Rename(socket, socket+".hidden"); err != nil {
		f.Skipf("needs a PostgreSQL server of the test's own: %v", err)
	}
	end := exec.Command("psql", "host=127.0.0.1 port="+words["port"]+" user=dew dbname=postgres", "-qc", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'dew'")
	end.Env = append(os.Environ(), "PGPASSWORD="+pgtest.Password)
	if out, err := end.CombinedOutput(); err != nil {
		f.Fatalf("psql: %v\n%s", err, out)
	}
	return func() {
		if err := os.Rename(socket+".hidden", socket); err != nil {
			f.Fatal(err)
		}
	}
}

// takenOver: with the identity of cell-1 nobody gets onto the bus, or anything from an
// API that is not cell-1's; the same questions are answered to those whose they are.
func (f *fleet) takenOver(app string) {
	f.Helper()
	file := filepath.Join(f.dir, "cell-cell-1.pem")
	id, err := identity.Load(file)
	if err != nil {
		f.Fatal(err)
	}
	if c, err := natsclient.Connect("tls://"+f.bus.Addr().String(), natsclient.Secure(id.Client("bus", ""))); err == nil {
		c.Close()
		f.Error("a cell gets onto the bus")
	}
	at := f.parts["api-1"].args[slices.Index(f.parts["api-1"].args, "--private")+1]
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: id.Client("api", "")}}
	get := func(path string) (int, string) {
		f.Helper()
		a, err := client.Get("https://" + at + path)
		if err != nil {
			f.Fatal(err)
		}
		defer a.Body.Close()
		b, err := io.ReadAll(a.Body)
		if err != nil {
			f.Fatal(err)
		}
		return a.StatusCode, string(b)
	}
	mine := f.query("SELECT guid FROM placements WHERE cell_id = 'cell-1' LIMIT 1")
	theirs := f.query("SELECT guid FROM placements WHERE cell_id = 'cell-2' LIMIT 1")
	if code, got := get("/desk/placed"); code != 200 || !strings.Contains(got, mine) || strings.Contains(got, theirs) {
		f.Errorf("what is placed on a cell: %d, with %s: %v, with %s of another: %v", code, mine, strings.Contains(got, mine), theirs, strings.Contains(got, theirs))
	}
	droplet := f.query("SELECT doc::jsonb->'launch'->>'droplet_sha256' FROM placements WHERE guid = '" + mine + "'")
	if code, got := get("/depot/droplets/" + droplet); code != 200 || len(got) < 1<<20 {
		f.Errorf("a droplet of its own: %d, %d bytes", code, len(got))
	}
	pack := f.query("SELECT doc::jsonb->>'checksum' FROM packages WHERE app_guid = '" + app + "' LIMIT 1")
	hash := f.query("SELECT doc::jsonb->>'hash' FROM accounts LIMIT 1")
	for _, path := range []string{"/depot/droplets/" + strings.Repeat("0", 64), "/depot/packages/" + pack, "/desk/routing", "/v3/apps", "/v3/apps/" + app + "/env", "/oauth/token"} {
		if code, got := get(path); code != http.StatusForbidden || strings.Contains(got, hash) {
			f.Errorf("a cell asks for %s: %d %.200s", path, code, got)
		}
	}
}

// strangers: what is on the network answers nobody without an identity.
func (f *fleet) strangers() {
	for name, p := range f.parts {
		at := slices.Index(p.args, "--private")
		if at < 0 {
			continue
		}
		c, err := net.Dial("tcp", p.args[at+1])
		if err != nil {
			f.Errorf("%s: %v", name, err)
			continue
		}
		io.WriteString(c, "GET /v3 HTTP/1.1\r\nHost: x\r\n\r\n")
		c.SetDeadline(time.Now().Add(time.Minute))
		if b, _ := io.ReadAll(c); bytes.Contains(b, []byte("200 OK")) || bytes.Contains(b, []byte("links")) {
			f.Errorf("%s answers a stranger: %s", name, b)
		}
		c.Close()
	}
}
