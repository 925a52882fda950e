package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The files by which a foundation on this machine is found in its data folder.
const (
	// AddressFile holds the URL of the API, while and after it runs.
	AddressFile = "api-url"
	// PasswordFile holds the password of the user admin.
	PasswordFile = "admin-password"
	// CAFile holds the certificate of its development CA, if it has one.
	CAFile = "tls/ca.pem"
)

// LocalAdmin is who uses a foundation on this machine without a login.
const LocalAdmin = "admin"

// Local is a foundation on this machine: who may read its data folder owns it.
type Local struct {
	URL      string
	Password string
	CA       string // PEM of its development CA; "": it has none
}

// FindLocal reads a data folder. Without one, or without the right to read it,
// the error is fs.ErrNotExist or fs.ErrPermission.
func FindLocal(dir string) (*Local, error) {
	url, err := os.ReadFile(filepath.Join(dir, AddressFile))
	if err != nil {
		return nil, fmt.Errorf("find a foundation on this machine: %w", err)
	}
	password, err := os.ReadFile(filepath.Join(dir, PasswordFile))
	if err != nil {
		return nil, fmt.Errorf("use the foundation on this machine: %w", err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, CAFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("use the foundation on this machine: %w", err)
	}
	return &Local{strings.TrimSpace(string(url)), strings.TrimSpace(string(password)), string(ca)}, nil
}

// Publish writes where the API is, for FindLocal.
func Publish(dir, url string) error {
	if err := replace(filepath.Join(dir, AddressFile), []byte(url+"\n")); err != nil {
		return fmt.Errorf("tell where the API is: %w", err)
	}
	return nil
}

// Login makes it the target, as its admin.
func (l *Local) Login(ctx context.Context, c *Client) error {
	if err := c.Choose(ctx, l.URL); err != nil {
		return err
	}
	return c.LoginUser(ctx, LocalAdmin, l.Password)
}

// Absent tells whether an error of FindLocal only says that there is nothing.
func Absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)
}
