package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// envCmd is `dew env`.
type envCmd struct {
	App  string `arg:"" help:"Name of the app."`
	JSON bool   `name:"json" help:"Print JSON."`
}

// environment is all that the platform tells an app through variables.
type environment struct {
	Variables   map[string]string          `json:"variables"`
	Running     map[string]string          `json:"running_group"`
	Staging     map[string]string          `json:"staging_group"`
	System      map[string]json.RawMessage `json:"system"`
	Application map[string]json.RawMessage `json:"application"`
}

func (e *envCmd) Run(ctx context.Context, c *console) error {
	s, app, err := c.findApp(ctx, e.App)
	if err != nil {
		return err
	}
	answer, err := s.environment(ctx, app.GUID)
	if err != nil {
		return err
	}
	if e.JSON {
		return s.json(answer)
	}
	s.tellVariables("set for this app", answer.Variables)
	s.tellVariables("set for all running apps", answer.Running)
	s.tellVariables("set for all builds", answer.Staging)
	for _, group := range []map[string]json.RawMessage{answer.System, answer.Application} {
		for _, name := range slices.Sorted(maps.Keys(group)) {
			fmt.Fprintf(s.out, "%s=%s\n", s.paint(cyan, printable(name)), printable(string(group[name])))
		}
	}
	return nil
}

// environment asks for what an app is told.
func (s *session) environment(ctx context.Context, app string) (environment, error) {
	var answer struct {
		Variables   map[string]string          `json:"environment_variables"`
		Running     map[string]string          `json:"running_env_json"`
		Staging     map[string]string          `json:"staging_env_json"`
		System      map[string]json.RawMessage `json:"system_env_json"`
		Application map[string]json.RawMessage `json:"application_env_json"`
	}
	err := s.Do(ctx, http.MethodGet, "/v3/apps/"+app+"/env", nil, &answer)
	return environment(answer), err
}

func (s *session) tellVariables(title string, vars map[string]string) {
	if len(vars) == 0 {
		return
	}
	fmt.Fprintf(s.out, "%s\n", s.paint(bold, "# "+title))
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		fmt.Fprintf(s.out, "%s=%s\n", s.paint(cyan, printable(name)), printable(vars[name]))
	}
	fmt.Fprintln(s.out)
}

// setEnvCmd is `dew set-env`.
type setEnvCmd struct {
	App       string   `arg:"" help:"Name of the app."`
	Variables []string `arg:"" placeholder:"NAME=VALUE" help:"Variables, each NAME=VALUE; or one as NAME VALUE, as cf has it."`
}

func (e *setEnvCmd) Run(ctx context.Context, c *console) error {
	vars, err := e.variables()
	if err != nil {
		return err
	}
	return c.patchEnv(ctx, e.App, vars)
}

func (e *setEnvCmd) variables() (map[string]any, error) {
	list := e.Variables
	if len(list) == 2 && !strings.Contains(list[0], "=") {
		return map[string]any{list[0]: list[1]}, nil
	}
	vars := map[string]any{}
	for _, text := range list {
		name, value, found := strings.Cut(text, "=")
		if !found || name == "" {
			return nil, withHint(fmt.Errorf("%q is no NAME=VALUE", text), "`dew set-env APP NAME=VALUE ...`")
		}
		vars[name] = value
	}
	return vars, nil
}

// unsetEnvCmd is `dew unset-env`.
type unsetEnvCmd struct {
	App   string   `arg:"" help:"Name of the app."`
	Names []string `arg:"" help:"Variables to remove."`
}

func (e *unsetEnvCmd) Run(ctx context.Context, c *console) error {
	vars := map[string]any{}
	for _, name := range e.Names {
		if name == "" {
			return errors.New("a variable has a name")
		}
		vars[name] = nil
	}
	return c.patchEnv(ctx, e.App, vars)
}

func (c *console) patchEnv(ctx context.Context, name string, vars map[string]any) error {
	s, app, err := c.findApp(ctx, name)
	if err != nil {
		return err
	}
	if err := s.Do(ctx, http.MethodPatch, "/v3/apps/"+app.GUID+"/environment_variables", map[string]any{"var": vars}, nil); err != nil {
		return err
	}
	if app.State == "STARTED" {
		fmt.Fprintf(s.err, "dew: instances see it from their next start on: `dew restart %s`\n", app.Name)
	}
	return nil
}
