package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	ok, err := summarize(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "summary: error:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// event is one line of test2json (go doc test2json).
type event struct {
	Action, Package, Test, Output, ImportPath string
	Elapsed                                   float64
}

type testKey struct{ pkg, test string }

type summary struct {
	out                     io.Writer
	output                  map[testKey][]string // what a test that has not ended yet printed
	passed, failed, skipped int
	skips                   []string
	failedIn                map[string]bool // packages with a failed test
}

// summarize copies the essence of in to out and tells whether all went well.
func summarize(in io.Reader, out io.Writer) (bool, error) {
	s := &summary{out: out, output: map[testKey][]string{}, failedIn: map[string]bool{}}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintln(out, lines.Text()) // a tool's own message, not an event
			continue
		}
		s.take(e)
	}
	if err := lines.Err(); err != nil {
		return false, err
	}
	for _, line := range s.skips {
		fmt.Fprintln(out, line)
	}
	fmt.Fprintf(out, "%d passed, %d failed, %d skipped\n", s.passed, s.failed, s.skipped)
	return s.failed == 0 && s.passed > 0, nil
}

func (s *summary) take(e event) {
	key := testKey{e.Package, e.Test}
	switch e.Action {
	case "output":
		s.output[key] = append(s.output[key], e.Output)
	case "build-output":
		fmt.Fprint(s.out, e.Output)
	case "build-fail":
		s.failed++
	case "pass", "fail", "skip":
		s.end(key, e)
		delete(s.output, key)
	}
}

func (s *summary) end(key testKey, e event) {
	if e.Test == "" { // a whole package
		s.endPackage(key, e)
		return
	}
	switch e.Action {
	case "pass":
		s.passed++
	case "fail":
		s.failed++
		s.failedIn[e.Package] = true
		fmt.Fprint(s.out, strings.Join(s.output[key], ""))
	case "skip":
		s.skipped++
		s.skips = append(s.skips, fmt.Sprintf("skipped %s %s: %s", e.Package, e.Test, reason(s.output[key])))
	}
}

func (s *summary) endPackage(key testKey, e event) {
	switch e.Action {
	case "fail":
		fmt.Fprint(s.out, strings.Join(s.output[key], ""))
		if !s.failedIn[e.Package] { // a panic outside a test, a time-out
			s.failed++
		}
	case "pass":
		fmt.Fprintf(s.out, "ok %s %.1fs\n", e.Package, e.Elapsed)
	}
}

// reason finds what a skipped test printed: the line that t.Skip wrote.
func reason(output []string) string {
	for _, line := range output {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "===") || strings.HasPrefix(line, "---") {
			continue
		}
		if _, text, ok := strings.Cut(line, ".go:"); ok {
			if _, text, ok = strings.Cut(text, ": "); ok {
				return text
			}
		}
		return line
	}
	return "no reason given"
}
