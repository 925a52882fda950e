package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
)

// File is a file of a package as the foundation's cache knows it.
type File struct {
	Path     string   `json:"path"`
	Mode     string   `json:"mode"` // octal
	Checksum Checksum `json:"checksum"`
	Size     int64    `json:"size_in_bytes"`
}

// Checksum is a SHA-1 digest in hex.
type Checksum struct {
	Value string `json:"value"`
}

// matchAtOnce is how many files one question may name, as cf has it.
const matchAtOnce = 1000

// Match tells which files the foundation has already.
func (c *Client) Match(ctx context.Context, files []File) ([]File, error) {
	var known []File
	for len(files) > 0 {
		n := min(len(files), matchAtOnce)
		var answer struct {
			Resources []File `json:"resources"`
		}
		if err := c.Do(ctx, http.MethodPost, "/v3/resource_matches", map[string]any{"resources": files[:n]}, &answer); err != nil {
			return nil, err
		}
		known = append(known, answer.Resources...)
		files = files[n:]
	}
	return known, nil
}

// uploadTries is how often an upload that broke off is begun anew.
const uploadTries = 3

// Upload sends the bits of a package: the files that the foundation has, by
// name, and a zip of the others; nil when there are none. sent is told how many
// bytes of the zip are gone, from the beginning again when it starts anew.
func (c *Client) Upload(ctx context.Context, pkg string, known []File, zip io.ReadSeeker, sent func(int64)) error {
	for try := 1; ; try++ {
		err := c.upload(ctx, pkg, known, zip, sent)
		var broken *UnreachableError
		if try == uploadTries || !errors.As(err, &broken) || ctx.Err() != nil {
			return err
		}
	}
}

func (c *Client) upload(ctx context.Context, pkg string, known []File, zip io.ReadSeeker, sent func(int64)) error {
	token, err := c.token(ctx)
	if err != nil {
		return err
	}
	head, tail, kind, err := form(known, zip != nil)
	if err != nil {
		return err
	}
	body, length := io.MultiReader(bytes.NewReader(head), bytes.NewReader(tail)), int64(len(head)+len(tail))
	if zip != nil {
		size, err := zip.Seek(0, io.SeekEnd)
		if err == nil {
			_, err = zip.Seek(0, io.SeekStart)
		}
		if err != nil {
			return err
		}
		body = io.MultiReader(bytes.NewReader(head), &counted{zip, 0, sent}, bytes.NewReader(tail))
		length += size
	}
	target, err := c.at("/v3/packages/" + pkg + "/upload")
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target, body)
	if err != nil {
		return err
	}
	r.ContentLength = length
	r.Header.Set("Content-Type", kind)
	r.Header.Set("Authorization", token)
	answer, err := c.send(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 300 {
		return failed(answer)
	}
	return nil
}

// form makes what stands before and after the zip in a multipart body.
func form(known []File, zip bool) (head, tail []byte, kind string, err error) {
	if known == nil {
		known = []File{}
	}
	list, err := json.Marshal(known)
	if err != nil {
		return nil, nil, "", err
	}
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	if err := w.WriteField("resources", string(list)); err != nil {
		return nil, nil, "", err
	}
	if zip {
		if _, err := w.CreateFormFile("bits", "package.zip"); err != nil {
			return nil, nil, "", err
		}
	}
	cut := b.Len()
	if err := w.Close(); err != nil {
		return nil, nil, "", err
	}
	return b.Bytes()[:cut:cut], b.Bytes()[cut:], w.FormDataContentType(), nil
}

type counted struct {
	r    io.Reader
	n    int64
	sent func(int64)
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	if c.sent != nil {
		c.sent(c.n)
	}
	return n, err
}

// AwaitPackage waits until the foundation has looked at an upload.
func (c *Client) AwaitPackage(ctx context.Context, pkg string) error {
	return Poll(ctx, func() (bool, error) {
		var p struct {
			State string `json:"state"`
			Data  struct {
				Error string `json:"error"`
			} `json:"data"`
		}
		if err := c.Do(ctx, http.MethodGet, "/v3/packages/"+pkg, nil, &p); err != nil {
			return false, err
		}
		switch p.State {
		case "FAILED", "EXPIRED":
			return false, fmt.Errorf("the package is %s: %s", p.State, p.Data.Error)
		}
		return p.State == "READY", nil
	})
}
