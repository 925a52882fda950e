package foundation

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds every wait; a passing run never needs it. A build from
// nothing takes minutes on a busy machine.
const patience = 8 * time.Minute

// site is one dew up and who uses it.
type site struct {
	*testing.T
	dew, data, home, listen string
	temp                    string   // its folder for temporary files
	flags                   []string // of dew up, more than those of every test
	up                      *exec.Cmd
	said                    bytes.Buffer
	mu                      sync.Mutex // guards said
}

// newSite starts a foundation in an empty folder, or in the one given.
func newSite(t *testing.T, data string, flags ...string) *site {
	t.Helper()
	return newSiteOf(t, dew, data, flags...)
}

func newSiteOf(t *testing.T, dew func(*testing.T) string, data string, flags ...string) *site {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: dew up makes network namespaces")
	}
	if testing.Short() {
		t.Skip("needs minutes where nothing is compiled yet")
	}
	s := &site{T: t, dew: dew(t), data: data, home: t.TempDir(), temp: t.TempDir(), listen: freeAddress(t), flags: flags}
	if data == "" {
		s.data = filepath.Join(t.TempDir(), "data")
	}
	s.share()
	t.Cleanup(s.end)
	s.start()
	return s
}

// share gives the foundation the user's build caches, so that the standard
// library is compiled once on a machine and not once a test.
func (s *site) share() {
	s.Helper()
	cache, err := os.UserCacheDir()
	if err == nil {
		err = errors.Join(os.MkdirAll(filepath.Join(cache, "dew", "stager"), 0o755), os.MkdirAll(s.data, 0o700))
	}
	if err == nil {
		err = os.Symlink(filepath.Join(cache, "dew", "stager"), filepath.Join(s.data, "stager"))
	}
	if err != nil {
		s.Fatal(err)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start begins dew up and waits until the API answers.
func (s *site) start() {
	s.Helper()
	s.spawn()
	s.until("the API answers", func() bool {
		a, err := http.Get("http://" + s.listen + "/v3/info")
		if err != nil {
			return false
		}
		a.Body.Close()
		return a.StatusCode == http.StatusOK
	})
}

func (s *site) spawn() {
	s.Helper()
	s.up = exec.Command(s.dew, append([]string{"up", "--data", s.data, "--listen", s.listen, "--memory", "8G"}, s.flags...)...)
	s.up.Stdout, s.up.Stderr = s, s
	s.up.Env = append(os.Environ(), "TMPDIR="+s.temp)
	s.up.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	foreign, err := os.Create(s.foreign())
	if err != nil {
		s.Fatal(err)
	}
	defer foreign.Close()
	s.up.ExtraFiles = []*os.File{foreign}
	if err := s.up.Start(); err != nil {
		s.Fatal(err)
	}
}

// Write keeps what dew up says.
func (s *site) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.Write(b)
}

func (s *site) log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.String()
}

// kill ends dew up as a power cut would.
func (s *site) kill() {
	s.up.Process.Kill()
	s.up.Wait()
}

// end takes everything down and checks that nothing is left.
func (s *site) end() {
	if s.up.ProcessState != nil {
		s.spawn()
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for { // it may not listen yet
		out, err := exec.CommandContext(ctx, s.dew, "down", "--data", s.data).CombinedOutput()
		if err != nil {
			s.Errorf("dew down: %v\n%s", err, out)
			s.up.Process.Kill()
			break
		}
		if !strings.Contains(string(out), "does not run") {
			break
		}
	}
	s.up.Wait()
	s.until("the keeper ends", func() bool { return len(s.keepers()) == 0 })
	checkLeft(s.T, s.data, s.temp)
	checkRaces(s.T)
	if s.Failed() {
		s.Logf("dew up said:\n%s", s.log())
	}
}

// keepers are the processes that hold guests of this foundation.
func (s *site) keepers() []string {
	out, _ := exec.Command("pgrep", "-f", "keep "+filepath.Join(s.data, "cell")+"$").Output()
	return strings.Fields(string(out))
}

// foreign is a file that dew up was started with, as with the lock or the pipe
// of a script.
func (s *site) foreign() string { return filepath.Join(s.home, "foreign") }

// checkDescriptors: what outlives dew up holds nothing of its caller's.
func (s *site) checkDescriptors() {
	s.Helper()
	for _, pid := range s.keepers() {
		fds, err := filepath.Glob("/proc/" + pid + "/fd/*")
		if err != nil || len(fds) == 0 {
			s.Error("keeper without descriptors", err)
		}
		for _, fd := range fds {
			if to, _ := os.Readlink(fd); to == s.foreign() {
				s.Errorf("the keeper holds %s, which is of whoever started dew up", to)
			}
		}
	}
}

func (s *site) until(what string, ok func() bool) {
	s.Helper()
	if !becomes(10*time.Millisecond, ok) {
		s.Fatalf("%s: not in %v. dew up said:\n%s", what, patience, s.log())
	}
}

// becomes looks every so often whether it is ok by now, as long as patience lasts.
func becomes(every time.Duration, ok func() bool) bool {
	tick := time.NewTicker(every)
	defer tick.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			return false
		}
	}
	return true
}

// run runs a verb of dew as a user would.
func (s *site) run(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.dew, args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+s.temp, "HOME="+s.home, "CF_HOME="+s.home, "DEW_DATA="+s.data)
	cmd.Dir = "testdata/app"
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (s *site) must(args ...string) string {
	s.Helper()
	out, err := s.run(args...)
	if err != nil {
		s.Fatalf("dew %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// get asks an app at its route.
func (s *site) get(ctx context.Context, app, path string) (string, error) {
	return ask(ctx, "http://"+s.listen+path, app)
}

// ask asks an app by a router; other answers than 200 are errors.
func ask(ctx context.Context, url, app string) (string, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	q.Host = app + ".apps.localhost"
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		return "", err
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err == nil && a.StatusCode != http.StatusOK {
		err = fmt.Errorf("%d %s", a.StatusCode, b)
	}
	return string(b), err
}

// instances are the GUIDs of an app's instances that answer, by index.
func (s *site) instances(app string, want int) map[string]string {
	s.Helper()
	seen := map[string]string{}
	s.until(fmt.Sprintf("%d instances answer", want), func() bool {
		b, err := s.get(s.Context(), app, "/")
		if f := strings.Fields(b); err == nil && len(f) == 4 {
			seen[f[1]] = f[2]
		}
		return len(seen) >= want
	})
	return seen
}

// load sends requests until stop, and returns those that failed.
func (s *site) load(app string, clients int) (stop func() (sent int, failures []string)) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	var mu sync.Mutex
	sent, failures := 0, []string(nil)
	for range clients {
		all.Go(func() {
			for ctx.Err() == nil {
				_, err := s.get(context.Background(), app, "/")
				mu.Lock()
				sent++
				if err != nil {
					failures = append(failures, time.Now().Format(time.StampMilli)+" "+err.Error())
				}
				mu.Unlock()
			}
		})
	}
	return func() (int, []string) {
		cancel()
		all.Wait()
		return sent, failures
	}
}

// TestNoRequestFails: not while the app is pushed anew, scaled up and down, its
// instances restarted one by one, and one of two crashing.
func TestNoRequestFails(t *testing.T) {
	s := newSite(t, "")
	s.must("push", "app", "-m", "64M", "-i", "2")
	s.instances("app", 2)
	stop := s.load("app", 4)
	steps := []struct {
		name string
		args []string
	}{
		{"pushed anew", []string{"push", "app", "-m", "64M", "-i", "2", "--strategy", "rolling"}},
		{"scaled up", []string{"scale", "app", "-i", "4"}},
		{"scaled down", []string{"scale", "app", "-i", "2"}},
		{"restarted", []string{"restart", "app", "--strategy", "rolling"}},
	}
	for _, step := range steps {
		if out, err := s.run(step.args...); err != nil {
			t.Errorf("%s: %v\n%s", step.name, err, out)
		}
	}
	s.instances("app", 2)
	s.crash("app")
	s.instances("app", 2)
	sent, failures := stop()
	if len(failures) > 0 || sent < 100 {
		t.Errorf("%d of %d requests failed, first %s", len(failures), sent, failures[0])
	}
	if events := s.must("events", "app"); !strings.Contains(events, "audit.app.process.crash") {
		t.Errorf("no event of the crash:\n%s", events)
	}
	if record := s.must("crashes", "app", "last"); !strings.Contains(record, "status    3\n") || !strings.Contains(record, "main\n") || !strings.Contains(record, "version 1\n") {
		t.Errorf("the record of the crash:\n%s", record)
	}
	if boot := s.must("boot", "app"); strings.Count(boot, "  healthy\n") != 2 {
		t.Errorf("two instances came up:\n%s", boot)
	}
	t.Logf("%d requests", sent)
}

// crash has one instance end itself. The request is one that a router may not
// send to another instance when this one fails.
func (s *site) crash(app string) {
	s.Helper()
	q, err := http.NewRequestWithContext(s.Context(), http.MethodPost, "http://"+s.listen+"/exit", nil)
	if err != nil {
		s.Fatal(err)
	}
	q.Host = app + ".apps.localhost"
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		s.Fatal(err)
	}
	a.Body.Close()
	if a.StatusCode != http.StatusBadGateway {
		s.Errorf("the request that ended its instance: %s", a.Status)
	}
}

// TestRequestsUnderWayEnd: an instance that is stopped while it answers, answers.
func TestRequestsUnderWayEnd(t *testing.T) {
	s := newSite(t, "")
	s.must("push", "app", "-m", "64M", "-i", "1")
	s.instances("app", 1)
	answers := make(chan error, 1)
	begun := make(chan struct{})
	go func() {
		close(begun)
		b, err := s.get(context.Background(), "app", "/slow")
		if err == nil && b != "slow" {
			err = errors.New(b)
		}
		answers <- err
	}()
	<-begun
	s.until("the request is under way", func() bool {
		b, err := s.get(t.Context(), "app", "/")
		return err == nil && b != ""
	})
	s.must("stop", "app")
	if err := <-answers; err != nil {
		t.Errorf("the request under way: %v", err)
	}
}

// TestKillStorm: dew up is killed again and again while users change things.
// Guests never notice, what was acknowledged holds, and nothing is left over.
func TestKillStorm(t *testing.T) {
	s := newSite(t, "")
	s.must("push", "app", "-m", "64M", "-i", "2")
	s.must("push", "other", "-m", "64M", "-i", "1")
	s.checkDescriptors()
	stays := s.instances("app", 2)
	r := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	acknowledged := 1 // instances of other
	for round := range 8 {
		want := 1 + r.IntN(4)
		changed := make(chan error, 1)
		go func() {
			_, err := s.api("POST", s.process("other")+"/actions/scale", fmt.Sprintf(`{"instances":%d}`, want))
			changed <- err
		}()
		delay := time.NewTimer(time.Duration(r.IntN(300)) * time.Millisecond)
		<-delay.C
		s.kill()
		err := <-changed
		s.start()
		if err == nil {
			acknowledged = want
		} else if is := s.wanted("other"); is != want && is != acknowledged {
			t.Errorf("round %d: %d instances are wanted, not %d nor %d", round, is, want, acknowledged)
		} else {
			acknowledged = is
		}
		if is := s.wanted("other"); is != acknowledged {
			t.Errorf("round %d: %d instances are wanted, %d were acknowledged", round, is, acknowledged)
		}
		stayed(t, fmt.Sprint("round ", round), stays, s.instances("app", 2))
	}
	s.until("everything that is wanted runs, and nothing else", func() bool { return s.guests() == 2+acknowledged && s.running("other") == acknowledged })
	if n := len(s.keepers()); n != 1 {
		t.Errorf("%d keepers", n)
	}
	s.pushStorm(r, acknowledged)
	stayed(t, "pushes of another app", stays, s.instances("app", 2))
}

// stayed: no instance was replaced. before and now are the GUIDs by index.
func stayed(t *testing.T, when string, before, now map[string]string) {
	t.Helper()
	for index, guid := range now {
		if before[index] != guid {
			t.Errorf("%s: instance %s of app was replaced", when, index)
		}
	}
}

// pushStorm: dew up is killed at any moment of pushes, which either went through or can
// be repeated; what is left half done is no obstacle, and does not stay.
func (s *site) pushStorm(r *rand.Rand, instances int) {
	push := []string{"push", "other", "-m", "64M", "-i", fmt.Sprint(instances), "--strategy", "rolling"}
	whole := time.Now()
	s.must(push...)
	took := time.Since(whole)
	for round := range 6 {
		ended := make(chan error, 1)
		go func() { _, err := s.run(push...); ended <- err }()
		delay := time.NewTimer(time.Duration(r.Int64N(int64(took))))
		select {
		case <-delay.C:
		case err := <-ended: // before it was killed: all is well then
			if err != nil {
				s.Errorf("round %d: a push of a quiet foundation failed: %v", round, err)
			}
			ended <- nil
		}
		s.kill()
		s.start()
		<-ended
	}
	s.must(push...)
	s.until("everything that is wanted runs, and nothing else", func() bool { return s.guests() == 2+instances && s.running("other") == instances })
	for _, path := range []string{"/v3/builds?states=STAGING", "/v3/deployments?status_values=ACTIVE"} {
		s.until(path+" is empty", func() bool { return s.count(path) == 0 })
	}
}

// TestKeeperIsKilled: all guests are gone, and all come back.
func TestKeeperIsKilled(t *testing.T) {
	s := newSite(t, "")
	s.must("push", "app", "-m", "64M", "-i", "2")
	before := s.instances("app", 2)
	for _, pid := range s.keepers() {
		exec.Command("kill", "-9", pid).Run()
	}
	s.until("others answer", func() bool {
		b, err := s.get(t.Context(), "app", "/")
		f := strings.Fields(b)
		return err == nil && len(f) == 4 && f[2] != before[f[1]]
	})
	s.instances("app", 2)
	if n := len(s.keepers()); n != 1 {
		t.Errorf("%d keepers", n)
	}
}

// TestFullDisk: errors say so, guests go on, and all is well when there is room.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts a small file system")
	}
	disk := t.TempDir()
	if err := unix.Mount("small", disk, "tmpfs", 0, "size=96m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	s := newSite(t, filepath.Join(disk, "data"))
	s.must("push", "app", "-m", "64M", "-i", "1")
	before := s.instances("app", 1)
	fill := filepath.Join(disk, "fill")
	f, err := os.Create(fill)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1 << 20, 4 << 10, 1} {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
	}
	f.Close()
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	answer, err := s.api("POST", "/v3/organizations", `{"name":"more"}`)
	if err == nil {
		t.Errorf("the disk is full and all is well: %s", answer)
	} else if strings.Contains(err.Error(), "UnknownError") {
		t.Errorf("a full disk is told as %v", err)
	}
	stayed(t, "the disk is full", before, s.instances("app", 1))
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	s.until("the ledger is written again", func() bool {
		_, err := s.api("POST", "/v3/organizations", `{"name":"more"}`)
		return err == nil
	})
	s.must("scale", "app", "-i", "2")
	s.instances("app", 2)
	s.kill()
	s.start()
	if got := s.instances("app", 2); got["0"] != before["0"] {
		t.Errorf("%v, was %v", got, before)
	}
}

// api asks the API as its admin. Answers that are no success are errors.
func (s *site) api(method, path, body string) (string, error) {
	out, err := s.run("curl", path, "-X", method, "-d", body)
	if err == nil && strings.Contains(out, `"errors":`) {
		err = errors.New("refused")
	}
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", method, path, err, out)
	}
	return out, nil
}

// process is the path of an app's web process.
func (s *site) process(app string) string {
	return "/v3/apps/" + s.guid(app) + "/processes/web"
}

func (s *site) guid(app string) string {
	var list struct {
		Resources []struct{ GUID string } `json:"resources"`
	}
	s.read("/v3/apps?names="+app, &list)
	if len(list.Resources) != 1 {
		return "none"
	}
	return list.Resources[0].GUID
}

func (s *site) read(path string, into any) {
	out, err := s.run("curl", path)
	if err == nil {
		err = json.Unmarshal([]byte(out), into)
	}
	if err != nil {
		s.Logf("%s: %v", path, err) // in a storm nobody may be there
	}
}

// wanted is how many instances of an app the ledger wants.
func (s *site) wanted(app string) int {
	var p struct{ Instances int }
	s.read(s.process(app), &p)
	return p.Instances
}

// running is how many of them run.
func (s *site) running(app string) int {
	var list struct {
		Resources []struct{ State string } `json:"resources"`
	}
	s.read(s.process(app)+"/stats", &list)
	n := 0
	for _, i := range list.Resources {
		if i.State == "RUNNING" {
			n++
		}
	}
	return n
}

// guests is how many processes the keeper has as children.
func (s *site) guests() int {
	n := 0
	for _, keeper := range s.keepers() {
		out, _ := exec.Command("pgrep", "-P", keeper).Output()
		n += len(strings.Fields(string(out)))
	}
	return n
}
