package droplet

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var two = &Manifest{Workdir: "/app", Programs: []Program{{Name: "hello"}, {Name: "work"}}}

func TestStart(t *testing.T) {
	env := []string{"PORT=1", "PORT=8080", "OPTS=-a  -b ", "EMPTY="}
	for line, want := range map[string]string{
		`hello`:                        `["/app/hello"]`,
		`./hello -p $PORT`:             `["/app/hello" "-p" "8080"]`,
		`bin/work`:                     `["/app/work"]`,
		`/app/bin/work`:                `["/app/work"]`,
		`/home/vcap/app/bin/work`:      `["/app/work"]`,
		`exec hello`:                   `["/app/hello"]`,
		`hello "a b"'c'\ d`:            `["/app/hello" "a bc d"]`,
		`hello '' ""`:                  `["/app/hello" "" ""]`,
		`hello $OPTS x`:                `["/app/hello" "-a" "-b" "x"]`,
		`hello x$OPTS.y`:               `["/app/hello" "x-a" "-b" ".y"]`,
		`hello "$OPTS"`:                `["/app/hello" "-a  -b "]`,
		`hello $EMPTY $NONE "$NONE"`:   `["/app/hello" ""]`,
		`hello ${PORT}1 ${NONE:-a}`:    `["/app/hello" "80801" "a"]`,
		`hello '$PORT' \$PORT "\$"`:    `["/app/hello" "$PORT" "$PORT" "$"]`,
		`hello http://x/?a=b *.txt #1`: `["/app/hello" "http://x/?a=b" "*.txt" "#1"]`,
		`hello $ a$`:                   `["/app/hello" "$" "a$"]`,
		"hello\ta\n":                   `["/app/hello" "a"]`,
		`A=1 B="$A $PORT" hello $B`:    `["/app/hello"] A=1 B=1 8080`,
		`hello A=1`:                    `["/app/hello" "A=1"]`,
	} {
		s, err := two.Start(line, env)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		got := strings.TrimSpace(fmt.Sprintf("%q %s", s.Args, strings.Join(s.Env, " ")))
		if got != want {
			t.Errorf("%s:\n%s, want\n%s", line, got, want)
		}
	}
}

func TestStartRefuses(t *testing.T) {
	for line, want := range map[string]string{
		``: "names no program", `A=1`: "names no program", `$NONE`: "names no program",
		`other`: "the droplet has hello, work", `lib/hello`: "no program", `hello/`: "no program", `../hello/x`: "no program",
		`hello | work`: "no shell", `hello && work`: "no shell", `hello; work`: "no shell", `hello > f`: "no shell", "hello `date`": "no shell",
		`hello $(date)`: "no shell", `hello "$(date)"`: "no shell", `hello $1`: "no shell", `hello ${A:+b}`: "no shell", `hello ${A:-$B}`: "no shell",
		`hello 'a`: "not closed", `hello "a`: "not closed", `hello \`: "backslash", `hello ${A`: "no shell",
	} {
		s, err := two.Start(line, nil)
		if err == nil || s != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
}

// FuzzStart: what is understood is understood as a shell does.
func FuzzStart(f *testing.F) {
	for _, line := range []string{`hello $A "$B" '$C' ${A:-x}`, `A=1 hello a\ b $A`, `hello "a\"b" \\`, `hello $B$A`, `exec hello ""`, `hello x${E}y $E`} {
		f.Add(line)
	}
	shell, err := exec.LookPath("dash")
	if err != nil {
		f.Skip("needs dash")
	}
	f.Fuzz(func(t *testing.T, line string) {
		env := []string{"A=a", "B= b  c ", "E="}
		s, err := two.Start(line, env)
		if (s == nil) == (err == nil) {
			t.Fatalf("%v and %v", s, err)
		}
		// Patterns, comments and key words are a shell's own.
		if err != nil || strings.ContainsAny(line, "#*?[~!%") || strings.Contains(line, "exec") || !isPlain(line) {
			return
		}
		cmd := exec.Command(shell, "-fc", "hello() { printf '%s\\0' \"$#\" \"$@\"; }; "+line)
		cmd.Env = append([]string{"PATH=/nowhere"}, env...)
		out, err := cmd.Output()
		if err != nil {
			return // another first word, or one that the shell takes for a key word
		}
		args := append([]string{strconv.Itoa(len(s.Args) - 1)}, s.Args[1:]...)
		if want := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"); len(args) > 1 && !slices.Equal(args, want) {
			t.Errorf("%q: %q, the shell says %q", line, args, want)
		}
	})
}

func isPlain(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r > '~' }) < 0
}

func TestCommandIsBounded(t *testing.T) {
	if _, err := two.Start(strings.Repeat("hello ", maxCommand), nil); err == nil || errors.Is(err, errShell) {
		t.Error(err)
	}
}
