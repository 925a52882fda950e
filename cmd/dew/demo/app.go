package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
)

// App is a real program as an app of a foundation: its source, and what a team
// would write about it.
type App struct {
	Name   string
	Module string // with version, as `go mod download` takes it
	// Memory is that of an instance, as a manifest says it.
	Memory string
}

// Pushed is the app that the demo pushes.
func Pushed() App {
	return App{Name: "podinfo", Module: "github.com/stefanprodan/podinfo@v1.8.1-0.20250910200901-e86405a8674e", Memory: "128M"}
}

// Manifest is the app's, with the message that it shall show.
func (a App) Manifest(message string) string {
	return fmt.Sprintf(`applications:
- name: %s
  memory: %s
  command: ./podinfo --port $PORT --level info
  health-check-type: http
  health-check-http-endpoint: /healthz
  env:
    GO_INSTALL_PACKAGE_SPEC: ./cmd/podinfo
    PODINFO_UI_MESSAGE: %q
`, a.Name, a.Memory, message)
}

// Source fetches the source from the module proxy, or finds it in the module
// cache, and returns its folder.
func (a App) Source(ctx context.Context) (string, error) {
	c := exec.CommandContext(ctx, "go", "mod", "download", "-json", a.Module)
	c.Dir = os.TempDir() // away from the module that dew itself may be built in
	text, err := c.Output()
	var found struct{ Dir, Error string }
	if bad := json.Unmarshal(text, &found); bad != nil && err == nil {
		err = bad
	}
	if found.Error != "" {
		err = fmt.Errorf("%s", found.Error)
	}
	if err != nil {
		return "", fmt.Errorf("fetch %s: %w", a.Module, err)
	}
	return found.Dir, nil
}

// Info is what podinfo says of itself.
type Info struct {
	Hostname string `json:"hostname"` // that of the instance
	Message  string `json:"message"`
}
