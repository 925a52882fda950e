package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// configVersion is that of cf version 8 and 9; cf forgets a file with another.
const configVersion = 4

// Named is an organization or a space as the file keeps it.
type Named struct {
	GUID string `json:"GUID"`
	Name string `json:"Name"`
}

// Settings are the fields of the file that dew reads and writes. Their names
// are cf's.
type Settings struct {
	Version      int    `json:"ConfigVersion"`
	Target       string `json:"Target"`
	APIVersion   string `json:"APIVersion"`
	Login        string `json:"AuthorizationEndpoint"`
	UAA          string `json:"UaaEndpoint"`
	LogCache     string `json:"LogCacheEndPoint"`
	Policies     string `json:"NetworkPolicyV1Endpoint"`
	Doppler      string `json:"DopplerEndPoint"`
	Routing      string `json:"RoutingAPIEndpoint"`
	SkipTLS      bool   `json:"SSLDisabled"`
	AccessToken  string `json:"AccessToken"` // with its type: "bearer xyz"
	RefreshToken string `json:"RefreshToken"`
	Grant        string `json:"UAAGrantType"`
	OAuthClient  string `json:"UAAOAuthClient"`
	OAuthSecret  string `json:"UAAOAuthClientSecret"`
	SSHClient    string `json:"SSHOAuthClient"`
	Org          Named  `json:"OrganizationFields"`
	Space        Named  `json:"SpaceFields"`
}

// Config is the file that cf and dew share.
type Config struct {
	Settings
	path string
	was  Settings // as they are in the file
}

// ConfigPath is where the file is: below $CF_HOME, or the home folder.
func ConfigPath() (string, error) {
	home := os.Getenv("CF_HOME")
	if home == "" {
		var err error
		if home, err = os.UserHomeDir(); err != nil {
			return "", fmt.Errorf("find the home folder: %w", err)
		}
	}
	return filepath.Join(home, ".cf", "config.json"), nil
}

// LoadConfig reads the file. One that is not there, or that a much older cf
// wrote, is as good as empty.
func LoadConfig(path string) (*Config, error) {
	c := &Config{path: path}
	fields, err := c.read()
	if err != nil || fields == nil {
		return c, err
	}
	b, err := json.Marshal(fields)
	if err == nil {
		err = json.Unmarshal(b, &c.Settings)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if c.Version != configVersion {
		c.Settings = Settings{}
	}
	c.was = c.Settings
	return c, nil
}

// read returns all fields of the file, nil when there is none.
func (c *Config) read() (map[string]json.RawMessage, error) {
	b, err := os.ReadFile(c.path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(bytes.TrimSpace(b)) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		return nil, fmt.Errorf("read %s: %w", c.path, err)
	}
	return fields, nil
}

// Save writes what has changed since it was read, and leaves all else in the
// file as it is now, whoever wrote it.
func (c *Config) Save() error {
	if c.Settings == c.was {
		return nil
	}
	fields, err := c.read()
	if err != nil {
		return err
	}
	if fields == nil {
		fields = map[string]json.RawMessage{}
	}
	c.Version = configVersion
	now, before := encode(c.Settings), encode(c.was)
	for name, value := range now {
		if _, there := fields[name]; !there || !bytes.Equal(value, before[name]) {
			fields[name] = value
		}
	}
	b, err := json.MarshalIndent(fields, "", "  ")
	if err == nil {
		err = replace(c.path, append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	c.was = c.Settings
	return nil
}

func encode(s Settings) map[string]json.RawMessage {
	b, err := json.Marshal(s)
	fields := map[string]json.RawMessage{}
	if err == nil {
		err = json.Unmarshal(b, &fields)
	}
	if err != nil {
		panic(err) // strings, numbers and booleans can all be written
	}
	return fields
}

// replace puts b in place of a file, which is whole at every moment. A link
// stays one.
func replace(path string, b []byte) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "temp-config") // 0600; cf removes leftovers of this name
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone when it was renamed
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
