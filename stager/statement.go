package stager

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/dewpaas/dew/droplet"
)

// libraryOS is how bills and statements call it.
const libraryOS = "github.com/dewpaas/dew/guest"

// sbom is the bill of materials: the modules that the linker recorded, the
// standard library and the library OS. It tells no time and has no serial
// number, so that it is the same for the same droplet.
func (w *work) sbom(main *buildinfo.BuildInfo, modules []droplet.Module) ([]byte, error) {
	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{Component: component(cdx.ComponentTypeApplication, droplet.Module{Path: main.Path, Version: strings.TrimSuffix(main.Main.Version, "(devel)")})}
	parts := []cdx.Component{
		*component(cdx.ComponentTypeLibrary, droplet.Module{Path: "std", Version: w.root.Version}),
		*component(cdx.ComponentTypeLibrary, droplet.Module{Path: libraryOS, Version: w.root.Digest}),
	}
	for _, m := range modules {
		if m.Path != main.Main.Path {
			parts = append(parts, *component(cdx.ComponentTypeLibrary, m))
		}
	}
	bom.Components = &parts
	var b bytes.Buffer
	err := cdx.NewBOMEncoder(&b, cdx.BOMFileFormatJSON).SetEscapeHTML(false).EncodeVersion(bom, cdx.SpecVersion1_6)
	if err != nil {
		return nil, fmt.Errorf("write the bill of materials: %w", err)
	}
	return b.Bytes(), nil
}

func component(kind cdx.ComponentType, m droplet.Module) *cdx.Component {
	c := &cdx.Component{BOMRef: purl(m), Type: kind, Name: m.Path, Version: m.Version, PackageURL: purl(m)}
	if m.Sum != "" {
		c.Properties = &[]cdx.Property{{Name: "dew:go.sum", Value: m.Sum}}
	}
	return c
}

// purl is a package URL (purl-spec, type golang).
func purl(m droplet.Module) string {
	s := "pkg:golang/" + m.Path
	if m.Version != "" {
		s += "@" + strings.ReplaceAll(m.Version, "+", "%2B")
	}
	return s
}

// What an in-toto statement with a SLSA provenance predicate holds:
// in-toto.io/Statement/v1, slsa.dev/provenance/v1.
type (
	statement struct {
		Type          string     `json:"_type"`
		Subject       []material `json:"subject"`
		PredicateType string     `json:"predicateType"`
		Predicate     predicate  `json:"predicate"`
	}
	material struct {
		Name   string            `json:"name,omitempty"`
		URI    string            `json:"uri,omitempty"`
		Digest map[string]string `json:"digest"`
	}
	predicate struct {
		BuildDefinition definition `json:"buildDefinition"`
		RunDetails      details    `json:"runDetails"`
	}
	definition struct {
		BuildType string            `json:"buildType"`
		External  map[string]any    `json:"externalParameters"`
		Internal  map[string]string `json:"internalParameters"`
		Depends   []material        `json:"resolvedDependencies"`
	}
	details struct {
		Builder builder `json:"builder"`
	}
	builder struct {
		ID      string            `json:"id"`
		Version map[string]string `json:"version"`
	}
)

// provenance tells of what and how the droplet was made. The programs and the
// image are its subjects; the droplet that holds it cannot be.
func (w *work) provenance(p *plan, modules []droplet.Module, subjects []material) ([]byte, error) {
	external := map[string]any{"packages": paths(p.programs)}
	for _, k := range slices.Sorted(maps.Keys(w.Env)) {
		if k == "GO_LINKER_SYMBOL" || k == "GO_LINKER_VALUE" {
			external[k] = w.Env[k]
		}
	}
	var depends []material
	if w.Module != "" {
		external["source"] = w.Module
	} else {
		external["source"] = "files"
		depends = append(depends, material{Name: "source", Digest: map[string]string{"dirHash1": w.digest}})
	}
	for _, m := range modules {
		if sum, ok := strings.CutPrefix(m.Sum, "h1:"); ok {
			depends = append(depends, material{URI: purl(m), Digest: map[string]string{"goModuleH1": sum}})
		}
	}
	return json.Marshal(statement{Type: "https://in-toto.io/Statement/v1", Subject: subjects, PredicateType: "https://slsa.dev/provenance/v1",
		Predicate: predicate{
			BuildDefinition: definition{BuildType: "https://github.com/dewpaas/dew/build/go/v1", External: external, Depends: depends,
				Internal: map[string]string{"go": w.root.Version, "libraryOS": w.root.Digest, "target": "linux/amd64, CGO_ENABLED=0, -trimpath"}},
			RunDetails: details{builder{ID: "https://github.com/dewpaas/dew/stager", Version: map[string]string{"libraryOS": w.root.Digest}}},
		}})
}
