package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const patience = 2 * time.Minute

// build compiles the main package in a folder and returns the program.
func build(t *testing.T, dir string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), filepath.Base(dir))
	c := exec.Command("go", "build", "-o", program, ".")
	c.Dir = dir
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("go build in %s: %v\n%s", dir, err, out)
	}
	return program
}

// freeAddress is one of loopback that nobody listens on now.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start runs a program until the test ends, and waits until it listens.
func start(t *testing.T, address string, env []string, program string, args ...string) {
	t.Helper()
	c := exec.Command(program, args...)
	c.Env = append(os.Environ(), env...)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var log bytes.Buffer
	c.Stdout, c.Stderr = &log, &log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	t.Cleanup(func() {
		c.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(patience):
			c.Process.Kill()
		}
	})
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			return
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%s ended: %v\n%s", program, err, log.String())
		case <-deadline:
			t.Fatalf("%s does not listen on %s", program, address)
		case <-tick.C:
		}
	}
}

// platform is an API that runs, and who talks to it.
type platform struct {
	t          *testing.T
	url, token string
	client     *http.Client // nil: the default one
}

// newPlatform starts `dew api` on a folder of its own.
func newPlatform(t *testing.T) *platform {
	dew := build(t, filepath.Join("..", "..", "cmd", "dew"))
	address, data := freeAddress(t), t.TempDir()
	start(t, address, nil, dew, "api", "--data", data, "--listen", address, "--domain", "apps.test")
	p := &platform{t: t, url: "http://" + address}
	p.login(data)
	return p
}

// login makes p the admin of a foundation with that data folder.
func (p *platform) login(data string) {
	t := p.t
	t.Helper()
	p.do("GET", "/", "") // it listens before it is ready to answer
	password, err := os.ReadFile(filepath.Join(data, "admin-password"))
	if err != nil {
		t.Fatal(err)
	}
	form := url.Values{"grant_type": {"password"}, "username": {"admin"}, "password": {strings.TrimSpace(string(password))}}
	r, err := http.NewRequest(http.MethodPost, p.url+"/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("cf", "")
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	_, body := p.send(r)
	p.token, _ = body["access_token"].(string)
	if p.token == "" {
		t.Fatalf("no token in %v", body)
	}
}

func (p *platform) send(r *http.Request) (*http.Response, map[string]any) {
	p.t.Helper()
	if p.token != "" {
		r.Header.Set("Authorization", "bearer "+p.token)
	}
	client := cmp.Or(p.client, http.DefaultClient)
	answer, err := client.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	body := map[string]any{}
	if err := json.Unmarshal(text, &body); err != nil && len(text) > 0 {
		body["text"] = string(text)
	}
	return answer, body
}

// do makes a request, follows the job that it starts, and wants success.
func (p *platform) do(method, path, body string) map[string]any {
	p.t.Helper()
	r, err := http.NewRequest(method, p.url+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	answer, got := p.send(r)
	if answer.StatusCode/100 != 2 {
		p.t.Fatalf("%s %s: %d %v", method, path, answer.StatusCode, got)
	}
	if job := answer.Header.Get("Location"); job != "" {
		p.finish(job)
	}
	return got
}

func (p *platform) finish(job string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, job, nil)
		if err != nil {
			p.t.Fatal(err)
		}
		_, got := p.send(r)
		switch got["state"] {
		case "COMPLETE":
			return
		case "FAILED":
			p.t.Fatalf("job: %v", got)
		}
		select {
		case <-ctx.Done():
			p.t.Fatalf("the job does not end: %v", got)
		case <-tick.C:
		}
	}
}

// guid is that of a resource, or of the first of a list.
func guid(v map[string]any) string {
	if list, ok := v["resources"].([]any); ok && len(list) > 0 {
		v, _ = list[0].(map[string]any)
	}
	g, _ := v["guid"].(string)
	return g
}

func to(name, guid string) string { return fmt.Sprintf(`%q:{"data":{"guid":%q}}`, name, guid) }

// space makes an organization with a space.
func (p *platform) space() string {
	org := guid(p.do("POST", "/v3/organizations", `{"name":"o"}`))
	return guid(p.do("POST", "/v3/spaces", `{"name":"s","relationships":{`+to("organization", org)+`}}`))
}
