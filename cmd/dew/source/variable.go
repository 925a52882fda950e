package source

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Variables are the values for ((names)) in a manifest: whatever YAML can say,
// by name.
type Variables map[string]*yaml.Node

// ReadFile adds the variables of a YAML file; what was there before is replaced.
func (v Variables) ReadFile(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if len(doc.Content) == 0 {
		return nil
	}
	budget := maxNodes
	top, err := plain(doc.Content[0], &budget)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if top.Kind != yaml.MappingNode {
		return fmt.Errorf("%s is not a mapping of names to values", path)
	}
	for i := 0; i+1 < len(top.Content); i += 2 {
		v[top.Content[i].Value] = top.Content[i+1]
	}
	return nil
}

// Add sets a variable from NAME=VALUE, whose value is YAML: 3 is a number.
func (v Variables) Add(text string) error {
	name, value, found := strings.Cut(text, "=")
	if !found || name == "" {
		return fmt.Errorf("variable %q is not of the form NAME=VALUE", text)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(value), &doc); err != nil || len(doc.Content) == 0 {
		v[name] = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}
		return nil
	}
	budget := maxNodes
	node, err := plain(doc.Content[0], &budget)
	v[name] = node
	return err
}

// reference is ((name)), or ((name.key)) for a key of a mapping.
var reference = regexp.MustCompile(`\(\((!?[-/.\w\pL]+)\)\)`)

// fill replaces the references below n, in keys too.
func (v Variables) fill(n *yaml.Node) error {
	missing := map[string]bool{}
	if err := v.replace(n, missing); err != nil {
		return err
	}
	if len(missing) == 0 {
		return nil
	}
	names := make([]string, 0, len(missing))
	for name := range missing {
		names = append(names, "(("+name+"))")
	}
	slices.Sort(names)
	return &MissingError{names}
}

// MissingError names the variables that a manifest wants and nobody gave.
type MissingError struct{ Names []string }

func (e *MissingError) Error() string { return "no value for " + strings.Join(e.Names, ", ") }

func (v Variables) replace(n *yaml.Node, missing map[string]bool) error {
	for _, c := range n.Content {
		if err := v.replace(c, missing); err != nil {
			return err
		}
	}
	if n.Kind != yaml.ScalarNode || !strings.Contains(n.Value, "((") {
		return nil
	}
	if whole := reference.FindStringSubmatch(n.Value); whole != nil && whole[0] == n.Value {
		if value := v.find(whole[1]); value != nil {
			line := n.Line
			*n = *value
			n.Line = line
		} else {
			missing[whole[1]] = true
		}
		return nil
	}
	var wrong error
	n.Value = reference.ReplaceAllStringFunc(n.Value, func(r string) string {
		name := r[2 : len(r)-2]
		value := v.find(name)
		switch {
		case value == nil:
			missing[name] = true
		case value.Kind != yaml.ScalarNode:
			wrong = fmt.Errorf("line %d: ((%s)) is a list or mapping and cannot be part of a text", n.Line, name)
		default:
			return value.Value
		}
		return r
	})
	n.Tag = "!!str" // 1((x)) stays a text
	return wrong
}

// find looks up a reference; an exclamation mark in front has no meaning here.
func (v Variables) find(name string) *yaml.Node {
	name, rest, nested := strings.Cut(strings.TrimPrefix(name, "!"), ".")
	n := v[name]
	for n != nil && nested {
		var key string
		key, rest, nested = strings.Cut(rest, ".")
		i := -1
		if n.Kind == yaml.MappingNode {
			i = pair(n, key)
		}
		if i < 0 {
			return nil
		}
		n = n.Content[i+1]
	}
	return n
}
