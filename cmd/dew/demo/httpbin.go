package demo

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
)

func httpbin() Program {
	return Program{
		Name:    "go-httpbin",
		Package: "github.com/mccutchen/go-httpbin/v2/cmd/go-httpbin@v2.26.0",
		Env:     []string{"PORT=8080", "HOST=0.0.0.0"},
		Port:    8080,
		Checks: []Check{
			{"query is echoed", bodyHas("/get?drop=dew", `"drop"`, `"dew"`)},
			{"status 418", statusIs("/status/418", 418)},
			{"1 MiB goes in and comes back", httpbinPost},
			{"chunked stream of 50 lines", httpbinStream},
			{"gzip", bodyHas("/gzip", `"gzipped": true`)},
			{"server-sent events", bodyHas("/sse?count=3&duration=100ms", "event: ping")},
			{"range of a file", httpbinRange},
			{"50 clients at once", httpbinConcurrent},
		},
	}
}

// httpbinPost sends bytes that no text encoding leaves alone and compares them
// with what the program says it got.
func httpbinPost(ctx context.Context, addr string) error {
	sent := make([]byte, 1<<20-1024) // go-httpbin's own limit is 1 MiB
	for i := range sent {
		sent[i] = byte(i ^ i>>8)
	}
	a, err := do(ctx, "POST", addr, "/post", sent)
	if err != nil {
		return err
	}
	var got struct{ Data string }
	if err := json.Unmarshal(a.body, &got); err != nil {
		return fmt.Errorf("status %d: %w", a.status, err)
	}
	const prefix = "data:application/octet-stream;base64,"
	data, err := base64.URLEncoding.DecodeString(strings.TrimPrefix(got.Data, prefix))
	if err != nil {
		return err
	}
	if sha256.Sum256(data) != sha256.Sum256(sent) {
		return fmt.Errorf("%d bytes came back and differ from the %d sent", len(data), len(sent))
	}
	return nil
}

func httpbinStream(ctx context.Context, addr string) error {
	a, err := get(ctx, addr, "/stream/50")
	if err != nil {
		return err
	}
	lines := 0
	for s := bufio.NewScanner(bytes.NewReader(a.body)); s.Scan(); lines++ {
		if !json.Valid(s.Bytes()) {
			return fmt.Errorf("line %d is not JSON", lines)
		}
	}
	if lines != 50 {
		return fmt.Errorf("%d lines, want 50", lines)
	}
	return nil
}

func httpbinRange(ctx context.Context, addr string) error {
	a, err := get(ctx, addr, "/range/65536")
	if err != nil {
		return err
	}
	if len(a.body) != 65536 {
		return fmt.Errorf("%d bytes, want 65536", len(a.body))
	}
	return nil
}

func httpbinConcurrent(ctx context.Context, addr string) error {
	var wg sync.WaitGroup
	errs := make(chan error, 50)
	for i := range cap(errs) {
		wg.Go(func() {
			errs <- bodyHas(fmt.Sprintf("/get?client=%d", i), fmt.Sprintf(`"%d"`, i))(ctx, addr)
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
