package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
)

// curlCmd is `dew curl`.
type curlCmd struct {
	Path    string   `arg:"" help:"Path of the API, as /v3/apps."`
	Method  string   `short:"X" help:"Method; GET, or POST with -d, unless given."`
	Data    string   `short:"d" help:"Body; @FILE is what is in a file, @- what comes in."`
	Headers []string `short:"H" sep:"none" placeholder:"NAME: VALUE" help:"Header of the request."`
	Include bool     `short:"i" help:"Print the answer's headers too."`
	Fail    bool     `short:"f" help:"Exit with 22, and print nothing, when the answer is 400 or more."`
}

// curlFailed is curl's own status for -f, which cf has too.
const curlFailed = exitStatus(22)

func (k *curlCmd) Run(ctx context.Context, c *console) error {
	s, err := c.session(ctx)
	if err != nil {
		return err
	}
	data, err := k.data(c.in)
	if err != nil {
		return err
	}
	header := http.Header{"Content-Type": {"application/json"}}
	for _, h := range k.Headers {
		name, value, found := strings.Cut(h, ":")
		if !found {
			return fmt.Errorf("header %q has no colon", h)
		}
		header.Set(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	method := k.Method
	switch {
	case method == "" && data == nil:
		method = http.MethodGet
	case method == "":
		method = http.MethodPost
	}
	r, err := s.Send(ctx, strings.ToUpper(method), k.Path, header, data)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if k.Fail && r.StatusCode >= 400 {
		fmt.Fprintf(c.err, "dew: error: the API answers %s\n", r.Status)
		return curlFailed
	}
	if k.Include {
		fmt.Fprintf(c.out, "%s %s\n", r.Proto, r.Status)
		for _, name := range slices.Sorted(maps.Keys(r.Header)) {
			for _, value := range r.Header[name] {
				fmt.Fprintf(c.out, "%s: %s\n", name, printable(value))
			}
		}
		fmt.Fprintln(c.out)
	}
	_, err = io.Copy(c.out, r.Body)
	return err
}

func (k *curlCmd) data(in io.Reader) ([]byte, error) {
	path, isFile := strings.CutPrefix(k.Data, "@")
	switch {
	case k.Data == "":
		return nil, nil
	case !isFile:
		return []byte(k.Data), nil
	case path == "":
		return nil, errors.New("-d @ names no file")
	case path == "-":
		return io.ReadAll(in)
	}
	return os.ReadFile(path)
}
