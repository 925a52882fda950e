package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

func podinfo() Program {
	return Program{
		Name: "podinfo",
		// The module has no /v6 in its path, so its releases are reached by commit.
		Package: "github.com/stefanprodan/podinfo/cmd/podinfo@v1.8.1-0.20250910200901-e86405a8674e",
		Args:    []string{"--port", "9898", "--level", "info", "--data-path", "/tmp"},
		Env:     []string{"PODINFO_UI_MESSAGE=greetings from a droplet"},
		Port:    9898,
		Checks: []Check{
			{"information", bodyHas("/", `"goos": "linux"`, `"message": "greetings from a droplet"`)},
			{"healthy", statusIs("/healthz", 200)},
			{"environment", bodyHas("/env", "PODINFO_UI_MESSAGE=greetings from a droplet")},
			{"metrics of the runtime", bodyHas("/metrics", "go_goroutines", "http_request_duration_seconds")},
			{"body is echoed", podinfoEcho},
			{"a file is stored and read back", podinfoStore},
			{"a token is signed and checked", podinfoToken},
			{"a handler that waits a second", statusIs("/delay/1", 200)},
		},
	}
}

func podinfoEcho(ctx context.Context, addr string) error {
	sent := bytes.Repeat([]byte("dew "), 10_000)
	a, err := do(ctx, "POST", addr, "/echo", sent)
	if err != nil {
		return err
	}
	if !bytes.Equal(a.body, sent) {
		return fmt.Errorf("status %d: %d bytes came back, %d were sent", a.status, len(a.body), len(sent))
	}
	return nil
}

// podinfoStore uses the transient files: podinfo writes below --data-path.
func podinfoStore(ctx context.Context, addr string) error {
	content := []byte("this file lives as long as its instance")
	a, err := do(ctx, "POST", addr, "/store", content)
	if err != nil {
		return err
	}
	var stored struct{ Hash string }
	if err := json.Unmarshal(a.body, &stored); err != nil || stored.Hash == "" {
		return fmt.Errorf("status %d, no hash in %.80q", a.status, a.body)
	}
	read, err := get(ctx, addr, "/store/"+stored.Hash)
	if err != nil {
		return err
	}
	if !bytes.Equal(read.body, content) {
		return fmt.Errorf("status %d, read back %.80q", read.status, read.body)
	}
	return nil
}

func podinfoToken(ctx context.Context, addr string) error {
	a, err := do(ctx, "POST", addr, "/token", []byte("dew"))
	if err != nil {
		return err
	}
	var issued struct{ Token string }
	if err := json.Unmarshal(a.body, &issued); err != nil || issued.Token == "" {
		return fmt.Errorf("status %d, no token in %.80q", a.status, a.body)
	}
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+addr+"/token/validate", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+issued.Token)
	t := &http.Transport{DisableKeepAlives: true}
	resp, err := t.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var seen struct {
		TokenName string `json:"token_name"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&seen); err != nil || !strings.Contains(seen.TokenName, "dew") {
		return fmt.Errorf("status %d, token name %q", resp.StatusCode, seen.TokenName)
	}
	return nil
}
