package source

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Manifest is a list of apps, as in manifest.yml.
type Manifest struct {
	Apps []*App
	head []*yaml.Node // of the other keys of the file: key, value, key, value
}

// App is one app of a manifest. Keys that are not understood here stay in it.
type App struct {
	node *yaml.Node // a mapping
	dir  string     // what path is relative to
}

// NewManifest has one app with nothing but a name.
func NewManifest(name string) *Manifest {
	a := &App{node: &yaml.Node{Kind: yaml.MappingNode}}
	a.Set("name", name)
	return &Manifest{Apps: []*App{a}}
}

// FindManifest looks for manifest.yml or manifest.yaml in a folder; it returns
// "" when there is none.
func FindManifest(dir string) string {
	for _, name := range []string{"manifest.yml", "manifest.yaml"} {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path
		}
	}
	return ""
}

// ReadManifest reads a file and fills in its variables.
func ReadManifest(path string, vars Variables) (*Manifest, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(b, vars)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, a := range m.Apps {
		a.dir = filepath.Dir(path)
	}
	return m, nil
}

func parseManifest(b []byte, vars Variables) (*Manifest, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return nil, err
	}
	if len(doc.Content) == 0 {
		return nil, errors.New("it is empty")
	}
	budget := maxNodes
	top, err := plain(doc.Content[0], &budget)
	if err == nil {
		err = vars.fill(top)
	}
	if err != nil {
		return nil, err
	}
	if top.Kind != yaml.MappingNode {
		return nil, errors.New("it is not a mapping with the key applications")
	}
	m := new(Manifest)
	for i := 0; i+1 < len(top.Content); i += 2 {
		switch key := top.Content[i]; key.Value {
		case "applications":
			err = m.addApps(top.Content[i+1])
		case "version":
			m.head = append(m.head, key, top.Content[i+1])
		}
		if err != nil {
			return nil, err
		}
	}
	if len(m.Apps) == 0 {
		return nil, errors.New("it has no applications")
	}
	return m, nil
}

func (m *Manifest) addApps(list *yaml.Node) error {
	if list.Kind != yaml.SequenceNode {
		return fmt.Errorf("line %d: applications is not a list", list.Line)
	}
	for _, node := range list.Content {
		if node.Kind != yaml.MappingNode {
			return fmt.Errorf("line %d: an application is not a mapping", node.Line)
		}
		m.Apps = append(m.Apps, &App{node: node})
	}
	return nil
}

// maxNodes bounds what the aliases of a manifest may unfold to.
const maxNodes = 100_000

var errTooLarge = errors.New("its aliases unfold to too much")

// plain copies a node with its aliases and merge keys unfolded, because the
// keys that they point to are not sent.
func plain(n *yaml.Node, budget *int) (*yaml.Node, error) {
	if *budget--; *budget < 0 {
		return nil, errTooLarge
	}
	if n.Kind == yaml.AliasNode {
		return plain(n.Alias, budget)
	}
	made := &yaml.Node{Kind: n.Kind, Style: n.Style, Tag: n.Tag, Value: n.Value, Line: n.Line}
	if n.Kind == yaml.MappingNode {
		return made, mapping(n, made, budget)
	}
	for _, c := range n.Content {
		p, err := plain(c, budget)
		if err != nil {
			return nil, err
		}
		made.Content = append(made.Content, p)
	}
	return made, nil
}

// mapping copies the pairs of n to made: its own first, then those that it
// merges in and does not have.
func mapping(n, made *yaml.Node, budget *int) error {
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		value, err := plain(n.Content[i+1], budget)
		if err != nil {
			return err
		}
		if n.Content[i].Tag == "!!merge" {
			merged = append(merged, value)
			continue
		}
		key, err := plain(n.Content[i], budget)
		if err != nil {
			return err
		}
		made.Content = append(made.Content, key, value)
	}
	for _, m := range merged {
		sources := []*yaml.Node{m}
		if m.Kind == yaml.SequenceNode {
			sources = m.Content
		}
		for _, s := range sources {
			if s.Kind != yaml.MappingNode {
				return fmt.Errorf("line %d: << merges what is not a mapping", n.Line)
			}
			for i := 0; i+1 < len(s.Content); i += 2 {
				if pair(made, s.Content[i].Value) < 0 {
					made.Content = append(made.Content, s.Content[i], s.Content[i+1])
				}
			}
		}
	}
	return nil
}

// pair is the index of a key in a mapping, or -1.
func pair(n *yaml.Node, key string) int {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return i
		}
	}
	return -1
}

// YAML writes the manifest as it is sent.
func (m *Manifest) YAML() ([]byte, error) {
	list := &yaml.Node{Kind: yaml.SequenceNode}
	for _, a := range m.Apps {
		list.Content = append(list.Content, a.node)
	}
	key := &yaml.Node{Kind: yaml.ScalarNode, Value: "applications"}
	top := &yaml.Node{Kind: yaml.MappingNode, Content: append(slices.Clone(m.head), key, list)}
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(top); err != nil {
		return nil, fmt.Errorf("write the manifest: %w", err)
	}
	return b.Bytes(), nil
}

// Only leaves the app with that name. A nameless single app gets it.
func (m *Manifest) Only(name string) error {
	if len(m.Apps) == 1 {
		m.Apps[0].Set("name", name)
		return nil
	}
	for _, a := range m.Apps {
		if a.Name() == name {
			m.Apps = []*App{a}
			return nil
		}
	}
	return fmt.Errorf("the manifest has no app named %q", name)
}

// Name of the app, or "".
func (a *App) Name() string { return a.Text("name") }

// Text is the value of a key if it is a scalar, or "".
func (a *App) Text(key string) string {
	if i := pair(a.node, key); i >= 0 && a.node.Content[i+1].Kind == yaml.ScalarNode && a.node.Content[i+1].Tag != "!!null" {
		return a.node.Content[i+1].Value
	}
	return ""
}

// Has tells whether the app has a key, with whatever value.
func (a *App) Has(key string) bool { return pair(a.node, key) >= 0 }

// Set gives a key a string, number, boolean or nil.
func (a *App) Set(key string, value any) {
	v := new(yaml.Node)
	if err := v.Encode(value); err != nil {
		panic(err) // the kinds that callers pass can all be written
	}
	if i := pair(a.node, key); i >= 0 {
		a.node.Content[i+1] = v
		return
	}
	a.node.Content = append(a.node.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key}, v)
}

// Drop removes a key.
func (a *App) Drop(key string) {
	if i := pair(a.node, key); i >= 0 {
		a.node.Content = slices.Delete(a.node.Content, i, i+2)
	}
}

// Dir is where the app's files are: its path, seen from the manifest, or
// otherwise where the push was called.
func (a *App) Dir() string {
	path := a.Text("path")
	switch {
	case path == "" && a.dir == "":
		return "."
	case filepath.IsAbs(path):
		return path
	}
	return filepath.Join(a.dir, path)
}
