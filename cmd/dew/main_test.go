package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func runForTest(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), &console{in: strings.NewReader(""), out: &o, err: &e}, args)
	return code, o.String(), e.String()
}

func TestWrongCommandLineNamesTheRemedy(t *testing.T) {
	code, _, errOut := runForTest(t, "no-such-verb")
	if code != 2 || !strings.Contains(errOut, "dew: error: unexpected argument no-such-verb") || !strings.Contains(errOut, "dew: hint: ") {
		t.Errorf("code %d, stderr %q", code, errOut)
	}
}

func TestHelpIsNoError(t *testing.T) {
	for _, args := range [][]string{{}, {"--help"}, {"help"}, {"version", "--help"}, {"help", "version"}} {
		code, out, errOut := runForTest(t, args...)
		if code != 0 || errOut != "" || !strings.Contains(out, "Usage: dew") {
			t.Errorf("%q: code %d, stdout %q, stderr %q", args, code, out, errOut)
		}
	}
}

func TestVersionTellsTheContract(t *testing.T) {
	code, out, _ := runForTest(t, "version")
	if code != 0 || !strings.Contains(out, "guest contract 1\n") {
		t.Errorf("code %d, stdout %q", code, out)
	}
}

func TestReport(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		want string
	}{
		{nil, 0, ""},
		{errors.New("it broke"), 1, "dew: error: it broke\n"},
		{fmt.Errorf("build: %w", withHint(errors.New("no Go"), "install Go")), 1, "dew: error: build: no Go\ndew: hint: install Go\n"},
		{errors.New("two\nlines\x1b"), 1, "dew: error: two\n   lines\\x1b\n"},
		{exitStatus(137), 137, ""},
	} {
		var b bytes.Buffer
		if code := report(&b, c.err); code != c.code || b.String() != c.want {
			t.Errorf("%v: code %d, printed %q", c.err, code, b.String())
		}
	}
}
