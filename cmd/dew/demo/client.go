package demo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// maxBody bounds what is read of an answer, in bytes.
const maxBody = 64 << 20

// answer is an HTTP response that was read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// get fetches http://addr/path.
func get(ctx context.Context, addr, path string) (*answer, error) {
	return do(ctx, "GET", addr, path, nil)
}

func do(ctx context.Context, method, addr, path string, body []byte) (*answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+addr+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/octet-stream")
	}
	// A transport of its own: a check must not profit from another's connection.
	t := &http.Transport{}
	defer t.CloseIdleConnections()
	resp, err := t.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return nil, fmt.Errorf("read the body of %s: %w", path, err)
	}
	return &answer{resp.StatusCode, resp.Header, b}, nil
}

// statusIs checks the status of a GET.
func statusIs(path string, want int) func(context.Context, string) error {
	return func(ctx context.Context, addr string) error {
		a, err := get(ctx, addr, path)
		if err != nil {
			return err
		}
		if a.status != want {
			return fmt.Errorf("GET %s: status %d, want %d", path, a.status, want)
		}
		return nil
	}
}

// bodyHas checks that a GET answers 200 and a body with every one of want in it.
func bodyHas(path string, want ...string) func(context.Context, string) error {
	return func(ctx context.Context, addr string) error {
		a, err := get(ctx, addr, path)
		if err != nil {
			return err
		}
		if a.status != http.StatusOK {
			return fmt.Errorf("GET %s: status %d", path, a.status)
		}
		for _, w := range want {
			if !strings.Contains(string(a.body), w) {
				return fmt.Errorf("GET %s: %q is not in the body of %d bytes", path, w, len(a.body))
			}
		}
		return nil
	}
}
