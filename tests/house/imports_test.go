package house

import (
	"go/ast"
	"go/build/constraint"
	"strconv"
	"strings"
	"testing"
)

// mayImport is the table of ARCHITECTURE.md: room (first folder) to the rooms
// it may import. A room may always import its own sub-packages. "*" is every
// room. Do not relax it to fix a build: the direction is the architecture.
var mayImport = map[string][]string{
	"":          {}, // package dew embeds sources as data
	"cmd":       {"*"},
	"sim":       {"*"},
	"tests":     {"*"},
	"bench":     {"*"},
	"examples":  {},
	"cell":      {"tender", "vnet", "firewall", "droplet", "abi", "cf"},
	"tender":    {"droplet", "abi"},
	"stager":    {"droplet", "abi", "cf", "guest/shadow", "tender/cgroup", "tender/seccomp", ""}, // of tender: limits and filter of a build
	"breach":    {"tender", "stager", "vnet", "firewall", "abi", "cf"},                           // it starts real guests behind real walls
	"droplet":   {"abi"},
	"guest":     {"abi"},
	"api":       {"cf"},
	"scheduler": {"cf"},
	"vnet":      {"cf", "abi"}, // abi: the length of the header in front of each frame
	"firewall":  {"cf"},
	"router":    {"cf"},
	"bus":       {"cf"},
	"store":     {"cf"},
	"web":       {"cf"},
	"cf":        {},
	"abi":       {},
}

func TestImportsFollowTheTable(t *testing.T) {
	for dir, p := range packagesOf(t) {
		room, _, _ := strings.Cut(dir, "/")
		allowed, known := mayImport[room]
		if !known {
			t.Errorf("%s: room %q is not in the table", dir, room)
			continue
		}
		for name, f := range p.files {
			if isTest(name) {
				continue // a test may use other rooms' real parts
			}
			for _, spec := range f.Imports {
				target, _ := strconv.Unquote(spec.Path.Value)
				if !inModule(target) || permitted(room, allowed, below(target)) {
					continue
				}
				t.Errorf("%s/%s imports %s, which %q may not", dir, name, target, room)
			}
		}
	}
}

func inModule(p string) bool { return p == modulePath || strings.HasPrefix(p, modulePath+"/") }

func below(p string) string { return strings.TrimPrefix(strings.TrimPrefix(p, modulePath), "/") }

func permitted(room string, allowed []string, target string) bool {
	if room != "" && (target == room || strings.HasPrefix(target, room+"/")) {
		return true
	}
	for _, a := range allowed {
		if a == "*" || a == target || a != "" && strings.HasPrefix(target, a+"/") {
			return true
		}
	}
	return false
}

// guestMayImport is what code that the standard library's os package links in
// can import without a cycle, and without dragging weight into every droplet.
var guestMayImport = map[string]bool{
	"unsafe": true, "sync": true, "sync/atomic": true, "syscall": true, "errors": true,
	"time": true, "io": true, "io/fs": true, "path": true, "strconv": true, "math/bits": true,
	"slices": true, "sort": true, "unicode/utf8": true, "bytes": true, "runtime": true,
	"runtime/debug": true, "cmp": true, "iter": true, "math": true, "strings": true,
}

func TestGuestImportsOnlyWhatOsCould(t *testing.T) {
	for dir, p := range packagesOf(t) {
		room, _, _ := strings.Cut(dir, "/")
		// guest/shadow is data for the stager, not code of the guest.
		if room != "guest" && room != "abi" || dir == "guest/shadow" {
			continue
		}
		for name, f := range p.files {
			if isTest(name) {
				continue
			}
			inShadow := onlyInShadow(f)
			for _, spec := range f.Imports {
				target, _ := strconv.Unquote(spec.Path.Value)
				ok := guestMayImport[target] || inModule(target) ||
					inShadow && strings.HasPrefix(target, "internal/")
				if !ok {
					t.Errorf("%s/%s imports %s, which os could not import without a cycle", dir, name, target)
				}
			}
		}
	}
}

// onlyInShadow tells whether a build constraint keeps the file out of host
// builds and lets it into the shadow of the standard library.
func onlyInShadow(f *ast.File) bool {
	for _, group := range f.Comments {
		for _, c := range group.List {
			if !constraint.IsGoBuild(c.Text) {
				continue
			}
			expr, err := constraint.Parse(c.Text)
			host := func(tag string) bool { return tag == "linux" || tag == "amd64" }
			guest := func(tag string) bool { return host(tag) || tag == "dewguest" }
			return err == nil && !expr.Eval(host) && expr.Eval(guest)
		}
	}
	return false
}
