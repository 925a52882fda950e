package droplet

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Start is what a command line comes to: a program, its arguments, and the
// variables that the line sets for it.
type Start struct {
	Program Program
	// Args[0] is the program's path in the guest.
	Args []string
	Env  []string // K=V
}

// Start reads a start command as a shell would: words, quotes, $NAME, ${NAME}
// and ${NAME:-default} from env (K=V, the last of a name counts), assignments
// in front, "exec". The first word is the program. What a shell can do beyond
// that has no shell to do it in a guest, and is an error that says so. Patterns
// such as *.txt are passed on as they are.
func (m *Manifest) Start(command string, env []string) (*Start, error) {
	c, err := parseCommand(command)
	if err != nil {
		return nil, fmt.Errorf("start command %q: %w", command, err)
	}
	values := map[string]string{}
	for _, kv := range env {
		k, v, _ := strings.Cut(kv, "=")
		values[k] = v
	}
	s := new(Start)
	// A shell expands the words before the assignments take effect.
	for _, w := range c.words {
		s.Args = append(s.Args, w.expand(values, true)...)
	}
	for _, a := range c.assignments {
		v := strings.Join(a.value.expand(values, false), "")
		values[a.name] = v
		s.Env = append(s.Env, a.name+"="+v)
	}
	if len(s.Args) == 0 {
		return nil, fmt.Errorf("start command %q: it names no program; the droplet has %s", command, m.names())
	}
	if s.Program, err = m.find(s.Args[0]); err != nil {
		return nil, fmt.Errorf("start command %q: %w", command, err)
	}
	s.Args[0] = path.Join(m.Workdir, s.Program.Name)
	return s, nil
}

// find takes a program by its name, in whatever folder buildpacks leave one.
func (m *Manifest) find(word string) (Program, error) {
	dir, name := path.Split(word)
	dir = strings.TrimPrefix(path.Clean("/"+strings.TrimPrefix(path.Clean(dir), m.Workdir)), "/")
	i := slices.IndexFunc(m.Programs, func(p Program) bool { return p.Name == name })
	if i < 0 || !slices.Contains([]string{"", "bin", "home/vcap/app", "home/vcap/app/bin"}, dir) {
		return Program{}, fmt.Errorf("there is no program %q: the droplet has %s", word, m.names())
	}
	return m.Programs[i], nil
}

func (m *Manifest) names() string {
	var names []string
	for _, p := range m.Programs {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}

// command is a start command that was read, not yet expanded.
type command struct {
	assignments []assignment
	words       []word
}

type assignment struct {
	name  string
	value word
}

// word is what becomes one argument, or several, or none, when the variables
// in it are replaced.
type word []piece

type piece struct {
	text     string // literal; or the name of a variable
	variable bool
	fallback string // when the variable is absent or empty
	quoted   bool
}

var errShell = errors.New("there is no shell in a guest: only words, quotes and variables are understood")

const maxCommand = 16 << 10

func parseCommand(line string) (*command, error) {
	if len(line) > maxCommand {
		return nil, fmt.Errorf("longer than %d bytes", maxCommand)
	}
	l := &lexer{rest: line}
	c := new(command)
	for {
		w, ok, err := l.next()
		if err != nil {
			return nil, err
		}
		if !ok {
			return c, nil
		}
		if name, value, ok := w.assignment(); ok && len(c.words) == 0 {
			c.assignments = append(c.assignments, assignment{name, value})
			continue
		}
		if len(c.words) == 0 && len(w) == 1 && w[0] == (piece{text: "exec"}) {
			continue
		}
		c.words = append(c.words, w)
	}
}

// assignment takes NAME=value apart.
func (w word) assignment() (name string, value word, ok bool) {
	if len(w) == 0 || w[0].variable || w[0].quoted {
		return "", nil, false
	}
	name, text, ok := strings.Cut(w[0].text, "=")
	if n := nameLength(name); !ok || n == 0 || n != len(name) {
		return "", nil, false
	}
	return name, append(word{{text: text}}, w[1:]...), true
}

// expand replaces variables. Values that are not quoted are split at blanks,
// as a shell does, if split is set.
func (w word) expand(values map[string]string, split bool) []string {
	var out []string
	open := false // the last element of out is still being added to
	add := func(s string) {
		if !open {
			out, open = append(out, ""), true
		}
		out[len(out)-1] += s
	}
	for _, p := range w {
		switch {
		case !p.variable:
			add(p.text)
		case p.quoted || !split:
			add(p.value(values))
		default:
			v := p.value(values)
			fields := strings.Fields(v)
			if v != "" && strings.TrimLeft(v, blanks) != v {
				open = false
			}
			for i, f := range fields {
				open = open && i == 0
				add(f)
			}
			if v != "" && strings.TrimRight(v, blanks) != v {
				open = false
			}
		}
	}
	return out
}

func (p piece) value(values map[string]string) string {
	if v := values[p.text]; v != "" {
		return v
	}
	return p.fallback
}

const blanks = " \t\n\r\v\f"

// lexer reads the words of a line, quoted as POSIX says (Shell Command
// Language, section 2.2).
type lexer struct{ rest string }

// next returns the next word, ok false at the end.
func (l *lexer) next() (w word, ok bool, err error) {
	l.rest = strings.TrimLeft(l.rest, blanks)
	if l.rest == "" {
		return nil, false, nil
	}
	for l.rest != "" && !strings.ContainsRune(blanks, rune(l.rest[0])) {
		if w, err = l.piece(w); err != nil {
			return nil, false, err
		}
	}
	return w, true, nil
}

func (l *lexer) piece(w word) (word, error) {
	switch c := l.rest[0]; c {
	case '\'':
		text, rest, ok := strings.Cut(l.rest[1:], "'")
		if !ok {
			return nil, errors.New("a quote ' is not closed")
		}
		l.rest = rest
		return append(w, piece{text: text, quoted: true}), nil
	case '"':
		return l.double(w)
	case '$':
		p, err := l.variable(false)
		return append(w, p), err
	case '\\':
		if len(l.rest) < 2 {
			return nil, errors.New("a backslash at the end")
		}
		w = append(w, piece{text: l.rest[1:2], quoted: true})
		l.rest = l.rest[2:]
		return w, nil
	case '|', '&', ';', '<', '>', '(', ')', '`':
		return nil, fmt.Errorf("%q: %w", c, errShell)
	}
	n := strings.IndexAny(l.rest, blanks+"'\"$\\|&;<>()`")
	if n < 0 {
		n = len(l.rest)
	}
	w = append(w, piece{text: l.rest[:n]})
	l.rest = l.rest[n:]
	return w, nil
}

// double reads what is in double quotes.
func (l *lexer) double(w word) (word, error) {
	w = append(w, piece{quoted: true}) // "" is a word of its own
	l.rest = l.rest[1:]
	for l.rest != "" {
		switch c := l.rest[0]; {
		case c == '"':
			l.rest = l.rest[1:]
			return w, nil
		case c == '$':
			p, err := l.variable(true)
			if err != nil {
				return nil, err
			}
			w = append(w, p)
		case c == '`':
			return nil, fmt.Errorf("%q: %w", c, errShell)
		case c == '\\' && len(l.rest) > 1 && strings.IndexByte("$`\"\\", l.rest[1]) >= 0:
			w = append(w, piece{text: l.rest[1:2], quoted: true})
			l.rest = l.rest[2:]
		default:
			w = append(w, piece{text: l.rest[:1], quoted: true})
			l.rest = l.rest[1:]
		}
	}
	return nil, errors.New(`a quote " is not closed`)
}

// variable reads $NAME, ${NAME} or ${NAME:-default}.
func (l *lexer) variable(quoted bool) (piece, error) {
	s := l.rest[1:]
	if n := nameLength(s); n > 0 {
		l.rest = s[n:]
		return piece{text: s[:n], variable: true, quoted: quoted}, nil
	}
	if !strings.HasPrefix(s, "{") {
		if s == "" || strings.IndexByte(blanks+`"'`, s[0]) >= 0 { // a dollar by itself
			l.rest = s
			return piece{text: "$", quoted: true}, nil
		}
		return piece{}, fmt.Errorf("%.20q: %w", l.rest, errShell)
	}
	inner, rest, ok := strings.Cut(s[1:], "}")
	n := nameLength(inner)
	if !ok || n == 0 {
		return piece{}, fmt.Errorf("%.20q: %w", l.rest, errShell)
	}
	fallback, has := strings.CutPrefix(inner[n:], ":-")
	if !has && inner[n:] != "" || strings.ContainsAny(fallback, "$`\"'\\{") {
		return piece{}, fmt.Errorf("%.40q: %w", l.rest, errShell)
	}
	l.rest = rest
	return piece{text: inner[:n], variable: true, fallback: fallback, quoted: quoted}, nil
}

// nameLength is the length of the variable name that s begins with.
func nameLength(s string) int {
	n := 0
	for n < len(s) {
		c := s[n]
		if c != '_' && (c|0x20 < 'a' || c|0x20 > 'z') && (n == 0 || c < '0' || c > '9') {
			break
		}
		n++
	}
	return n
}

// CommandName is the name of the program that a start command starts, without
// its folder.
func CommandName(line string) (string, error) {
	c, err := parseCommand(line)
	if err != nil {
		return "", fmt.Errorf("start command %q: %w", line, err)
	}
	var args []string
	for _, w := range c.words {
		args = append(args, w.expand(nil, true)...)
	}
	if len(args) == 0 {
		return "", fmt.Errorf("start command %q names no program", line)
	}
	return path.Base(args[0]), nil
}
