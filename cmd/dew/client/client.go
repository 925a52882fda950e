package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Client speaks to the foundation that its Config names.
type Client struct {
	Config *Config
	// Warn is told what the API warns of; nil: nobody is.
	Warn func(string)
	// Again logs in anew when tokens have ended; nil: the user has to.
	Again func(context.Context) error

	http  *http.Client
	agent string
	mu    sync.Mutex // guards the tokens in Config
}

// dialTime is how long a foundation may take to accept a connection, as cf has it.
const dialTime = 6 * time.Second

// New makes a client; agent is its name in the foundation's logs.
func New(c *Config, agent string) *Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DialContext = (&net.Dialer{Timeout: dialTime}).DialContext
	t.TLSClientConfig = &tls.Config{InsecureSkipVerify: c.SkipTLS} // the user's own choice, kept with the target
	t.MaxIdleConnsPerHost = 8
	return &Client{Config: c, http: &http.Client{Transport: t}, agent: agent}
}

// Trust has the client believe certificates (PEM) besides those of the machine.
func (c *Client) Trust(pem []byte) {
	t := c.http.Transport.(*http.Transport)
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a machine without any
	}
	pool.AppendCertsFromPEM(pem)
	t.TLSClientConfig.RootCAs = pool
}

// Body is a body that is not made from a Go value.
type Body struct {
	Type string
	Data []byte
}

// Do sends one request to the API and reads its answer. in is nil, a Body, or
// becomes JSON; out is nil or takes JSON. An answer that is not 2xx is an *Error.
func (c *Client) Do(ctx context.Context, method, path string, in, out any) error {
	_, err := c.do(ctx, method, path, in, out)
	return err
}

func (c *Client) do(ctx context.Context, method, path string, in, out any) (http.Header, error) {
	header := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}}
	var data []byte
	switch in := in.(type) {
	case nil:
	case Body:
		header.Set("Content-Type", in.Type)
		data = in.Data
	default:
		var err error
		if data, err = json.Marshal(in); err != nil {
			return nil, err
		}
	}
	r, err := c.Send(ctx, method, path, header, data)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	if r.StatusCode >= 300 {
		return nil, failed(r)
	}
	if out == nil {
		_, err := io.Copy(io.Discard, io.LimitReader(r.Body, maxAnswer)) // so that the connection is used again
		return r.Header, err
	}
	if text, ok := out.(*[]byte); ok {
		*text, err = io.ReadAll(io.LimitReader(r.Body, maxAnswer))
		return r.Header, err
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, maxAnswer)).Decode(out); err != nil {
		return nil, fmt.Errorf("read the answer to %s %s: %w", method, path, err)
	}
	return r.Header, nil
}

// Send sends a request with the user's token, and anew after a new login when
// the token has ended. The caller closes the answer's body, whatever its status.
func (c *Client) Send(ctx context.Context, method, path string, header http.Header, data []byte) (*http.Response, error) {
	for try := 0; ; try++ {
		token, err := c.token(ctx)
		if err != nil {
			return nil, err
		}
		header.Set("Authorization", token)
		r, err := c.once(ctx, method, path, header, data)
		switch {
		case err != nil:
			if try < 2 && method == http.MethodGet && ctx.Err() == nil {
				continue // the foundation may just restart
			}
			return nil, err
		case r.StatusCode == http.StatusUnauthorized && try == 0:
			r.Body.Close()
			if err := c.renew(ctx, token); err != nil {
				return nil, err
			}
			continue
		}
		return r, nil
	}
}

func (c *Client) once(ctx context.Context, method, path string, header http.Header, data []byte) (*http.Response, error) {
	target, err := c.at(path)
	if err != nil {
		return nil, err
	}
	var body io.Reader
	if data != nil {
		body = bytes.NewReader(data)
	}
	r, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, err
	}
	r.Header = header.Clone()
	return c.send(r)
}

// send adds who asks, and tells warnings.
func (c *Client) send(r *http.Request) (*http.Response, error) {
	r.Header.Set("User-Agent", c.agent)
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, unreachable(r, err)
	}
	if c.Warn != nil {
		for _, w := range strings.Split(answer.Header.Get("X-Cf-Warnings"), ",") {
			if text, err := url.QueryUnescape(w); err == nil && text != "" {
				c.Warn(text)
			}
		}
	}
	return answer, nil
}

// UnreachableError says that nothing answers at the target's address.
type UnreachableError struct {
	Host string
	Err  error
}

func (e *UnreachableError) Error() string { return fmt.Sprintf("reach %s: %v", e.Host, e.Err) }
func (e *UnreachableError) Unwrap() error { return e.Err }

// unreachable takes the URL, which may hold secrets, out of an error.
func unreachable(r *http.Request, err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if err := r.Context().Err(); err != nil {
		return err
	}
	return &UnreachableError{r.URL.Host, err}
}

// at is a path of the API as a URL. The API names its pages and jobs by whole
// URLs: their host is left out, so that a token goes to the target only, and
// that a foundation works from behind a forwarded port. The log cache and the
// policy server may have hosts of their own.
func (c *Client) at(path string) (string, error) {
	if c.Config.Target == "" {
		return "", ErrNoTarget
	}
	if u, err := url.Parse(path); err == nil && u.Host != "" {
		for _, own := range []string{c.Config.LogCache, c.Config.Settings.Policies} {
			if o, err := url.Parse(own); err == nil && o.Scheme == u.Scheme && o.Host == u.Host {
				return path, nil
			}
		}
		path = u.RequestURI()
	}
	return strings.TrimSuffix(c.Config.Target, "/") + "/" + strings.TrimPrefix(path, "/"), nil
}

// List reads all pages of a list.
func List[T any](ctx context.Context, c *Client, path string, query url.Values) ([]T, error) {
	if query == nil {
		query = url.Values{}
	}
	if !query.Has("per_page") {
		query.Set("per_page", "500")
	}
	all := []T{}
	for next := path + "?" + query.Encode(); next != ""; {
		var page struct {
			Resources  []T `json:"resources"`
			Pagination struct {
				Next *struct {
					Href string `json:"href"`
				} `json:"next"`
			} `json:"pagination"`
		}
		if err := c.Do(ctx, http.MethodGet, next, nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Resources...)
		next = ""
		if page.Pagination.Next != nil {
			next = page.Pagination.Next.Href
		}
	}
	return all, nil
}

// Work sends a request whose answer may be a job, and waits for its end.
func (c *Client) Work(ctx context.Context, method, path string, in any) error {
	header, err := c.do(ctx, method, path, in, nil)
	if err != nil || header.Get("Location") == "" {
		return err
	}
	return Poll(ctx, func() (bool, error) {
		var job struct {
			State    string    `json:"state"`
			Errors   []Problem `json:"errors"`
			Warnings []struct {
				Detail string `json:"detail"`
			} `json:"warnings"`
		}
		if err := c.Do(ctx, http.MethodGet, header.Get("Location"), nil, &job); err != nil {
			return false, err
		}
		switch job.State {
		case "COMPLETE":
			for _, w := range job.Warnings {
				if c.Warn != nil {
					c.Warn(w.Detail)
				}
			}
			return true, nil
		case "FAILED":
			if len(job.Errors) == 0 {
				return false, errors.New("the job failed and does not say why")
			}
			return false, &Error{Status: http.StatusUnprocessableEntity, Problems: job.Errors}
		}
		return false, nil
	})
}

// Poll asks until the answer is true: often at first, then once a second.
func Poll(ctx context.Context, done func() (bool, error)) error {
	return PollWithin(ctx, time.Second, done)
}

// PollWithin is Poll with another longest wait.
func PollWithin(ctx context.Context, longest time.Duration, done func() (bool, error)) error {
	for wait := 20 * time.Millisecond; ; wait = min(wait*3/2, longest) {
		ok, err := done()
		if err != nil || ok {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
