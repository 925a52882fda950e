package droplet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dewpaas/dew/abi"
)

// FormatVersion of the manifest. It is raised when an older reader would
// misunderstand a newer droplet.
const FormatVersion = 1

// KernelGo is the library OS of this repository, linked into the program.
const KernelGo = "go"

// Bounds of what a droplet may hold.
const (
	MaxProgram  = 512 << 20 // bytes of one ELF
	MaxImage    = 4 << 30   // bytes of the file-system image
	MaxPrograms = 64
	maxDocument = 8 << 20 // bytes of each JSON document
	maxModules  = 20_000
	maxString   = 4096
)

// ErrInvalid is every reason to refuse a droplet's bytes.
var ErrInvalid = errors.New("not a valid droplet")

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

// Manifest says what a droplet is. It is the config of the OCI artifact.
type Manifest struct {
	Format   int    `json:"format"`
	Kernel   string `json:"kernel"`
	Contract int    `json:"contract"` // abi.Version of the library OS in it
	// Programs are the ELF files, in ascending order of their names.
	Programs []Program `json:"programs"`
	// Processes are the start commands by process type, as in a Procfile.
	Processes map[string]string `json:"processes"`
	Image     *Part             `json:"image,omitempty"` // file-system image
	Workdir   string            `json:"workdir"`         // first working directory
	Toolchain string            `json:"toolchain"`       // "go1.26.8"
	Modules   []Module          `json:"modules,omitempty"`
}

// Part names bytes of a droplet.
type Part struct {
	SHA256 string `json:"sha256"` // hex, lower case
	Size   int64  `json:"size"`
}

// Program is one ELF file.
type Program struct {
	Name    string `json:"name"` // what a start command calls it
	Package string `json:"package,omitempty"`
	Part
}

// Module is a Go module that was linked in.
type Module struct {
	Path    string `json:"path"`
	Version string `json:"version,omitempty"`
	Sum     string `json:"sum,omitempty"` // "h1:", as in go.sum
}

var (
	hexDigest   = regexp.MustCompile(`^[0-9a-f]{64}$`)
	programName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._+~-]{0,127}$`)
	processType = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,254}$`)
)

// parseManifest reads and checks a manifest.
func parseManifest(b []byte) (*Manifest, error) {
	m := new(Manifest)
	if err := decode(b, m); err != nil {
		return nil, invalid("manifest: %v", err)
	}
	return m, m.check()
}

// decode reads exactly one JSON value.
func decode(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more than one JSON value")
	}
	return nil
}

func (m *Manifest) check() error {
	switch {
	case m.Format != FormatVersion:
		return invalid("format %d, this dew reads %d", m.Format, FormatVersion)
	case m.Kernel != KernelGo:
		return invalid("kernel %.40q is not known", m.Kernel)
	case m.Contract != abi.Version:
		return invalid("it was built for version %d of the contract between guest and tender, this is %d: build it again", m.Contract, abi.Version)
	case len(m.Programs) == 0 || len(m.Programs) > MaxPrograms:
		return invalid("%d programs, want 1 to %d", len(m.Programs), MaxPrograms)
	case !path.IsAbs(m.Workdir) || path.Clean(m.Workdir) != m.Workdir:
		return invalid("working directory %.100q is not absolute and clean", m.Workdir)
	case m.Image != nil && !m.Image.fits(MaxImage):
		return invalid("image %.80q of %d bytes", m.Image.SHA256, m.Image.Size)
	case len(m.Modules) > maxModules:
		return invalid("manifest is too large")
	}
	if !m.printable() {
		return invalid("manifest holds control characters or overlong texts")
	}
	for i, p := range m.Programs {
		if !programName.MatchString(p.Name) || !p.fits(MaxProgram) {
			return invalid("program %.140q, %.80q, %d bytes", p.Name, p.SHA256, p.Size)
		}
		if i > 0 && m.Programs[i-1].Name >= p.Name {
			return invalid("programs are not in ascending order of their names: %q", p.Name)
		}
	}
	return m.checkProcesses()
}

// printable tells whether every text can be shown on a terminal.
func (m *Manifest) printable() bool {
	texts := []string{m.Workdir, m.Toolchain}
	for _, p := range m.Programs {
		texts = append(texts, p.Package)
	}
	for _, command := range m.Processes {
		texts = append(texts, command)
	}
	for _, mod := range m.Modules {
		texts = append(texts, mod.Path, mod.Version, mod.Sum)
	}
	return !slices.ContainsFunc(texts, func(s string) bool {
		return len(s) > maxString || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\t' || r == utf8.RuneError })
	})
}

func (p *Part) fits(limit int64) bool {
	return hexDigest.MatchString(p.SHA256) && p.Size > 0 && p.Size <= limit
}

// checkProcesses makes sure that every process type can be started.
func (m *Manifest) checkProcesses() error {
	if len(m.Processes) > MaxPrograms {
		return invalid("%d process types are more than %d", len(m.Processes), MaxPrograms)
	}
	for _, kind := range slices.Sorted(maps.Keys(m.Processes)) {
		if !processType.MatchString(kind) {
			return invalid("process type %.100q", kind)
		}
		if _, err := m.Start(m.Processes[kind], nil); err != nil {
			return invalid("process type %s: %v", kind, err)
		}
	}
	return nil
}

// parts are all programs and the image.
func (m *Manifest) parts() []Part {
	var all []Part
	for _, p := range m.Programs {
		all = append(all, p.Part)
	}
	if m.Image != nil {
		all = append(all, *m.Image)
	}
	return all
}
