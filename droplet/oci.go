package droplet

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	oci "github.com/opencontainers/image-spec/specs-go/v1"
)

// Media types of a droplet and its parts.
const (
	TypeDroplet    = "application/vnd.dew.droplet.v1+json"  // artifactType
	TypeManifest   = "application/vnd.dew.manifest.v1+json" // config
	TypeProgram    = "application/vnd.dew.program.v1+elf"
	TypeImage      = "application/vnd.dew.image.v1" // docs/format/image.md
	TypeSBOM       = "application/vnd.cyclonedx+json"
	TypeProvenance = "application/vnd.in-toto+json"
)

// artifact is an OCI manifest that was read and checked together with the
// droplet's own manifest.
type artifact struct {
	digest     string // of raw, hex
	raw        []byte // the OCI manifest
	config     []byte // the droplet's manifest
	manifest   *Manifest
	sbom       Part
	provenance Part
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

func partOf(b []byte) Part { return Part{sum(b), int64(len(b))} }

func (p Part) descriptor(mediaType string) oci.Descriptor {
	return oci.Descriptor{MediaType: mediaType, Digest: digest.NewDigestFromEncoded(digest.SHA256, p.SHA256), Size: p.Size}
}

// newArtifact makes the OCI manifest of a droplet. Its bytes depend on nothing
// but the arguments.
func newArtifact(m *Manifest, sbom, provenance Part) (*artifact, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	config, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	o := oci.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: oci.MediaTypeImageManifest, ArtifactType: TypeDroplet,
		Config: partOf(config).descriptor(TypeManifest)}
	for _, p := range m.Programs {
		d := p.descriptor(TypeProgram)
		d.Annotations = map[string]string{oci.AnnotationTitle: p.Name}
		o.Layers = append(o.Layers, d)
	}
	if m.Image != nil {
		o.Layers = append(o.Layers, m.Image.descriptor(TypeImage))
	}
	o.Layers = append(o.Layers, sbom.descriptor(TypeSBOM), provenance.descriptor(TypeProvenance))
	raw, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	return parseArtifact(raw, config)
}

// parseOCI reads an OCI manifest as far as to know its config.
func parseOCI(raw []byte) (*oci.Manifest, error) {
	o := new(oci.Manifest)
	if err := decode(raw, o); err != nil {
		return nil, invalid("OCI manifest: %v", err)
	}
	if o.SchemaVersion != 2 || o.MediaType != oci.MediaTypeImageManifest || o.ArtifactType != TypeDroplet || o.Config.MediaType != TypeManifest {
		return nil, invalid("an OCI artifact of type %.80q, want %s", o.ArtifactType, TypeDroplet)
	}
	if _, err := partFrom(o.Config, maxDocument); err != nil {
		return nil, err
	}
	return o, nil
}

func partFrom(d oci.Descriptor, limit int64) (Part, error) {
	if d.Digest.Validate() != nil || d.Digest.Algorithm() != digest.SHA256 {
		return Part{}, invalid("digest %.100q is no sha256", d.Digest)
	}
	p := Part{d.Digest.Encoded(), d.Size}
	if !p.fits(limit) {
		return Part{}, invalid("%s of %d bytes, want 1 to %d", d.MediaType, d.Size, limit)
	}
	return p, nil
}

// parseArtifact reads both manifests, which must tell the same: each layer is
// named by the droplet's manifest, and the other way round.
func parseArtifact(raw, config []byte) (*artifact, error) {
	o, err := parseOCI(raw)
	if err != nil {
		return nil, err
	}
	if p := partOf(config); o.Config.Digest.Encoded() != p.SHA256 || o.Config.Size != p.Size {
		return nil, invalid("the manifest's digest is not the one that was announced")
	}
	m, err := parseManifest(config)
	if err != nil {
		return nil, err
	}
	a := &artifact{digest: sum(raw), raw: raw, config: config, manifest: m}
	return a, a.layers(o.Layers)
}

func (a *artifact) layers(layers []oci.Descriptor) error {
	if len(layers) > MaxPrograms+3 {
		return invalid("%d layers", len(layers))
	}
	of := map[string][]Part{}
	limits := map[string]int64{TypeProgram: MaxProgram, TypeImage: MaxImage, TypeSBOM: maxDocument, TypeProvenance: maxDocument}
	for _, d := range layers {
		p, err := partFrom(d, limits[d.MediaType]) // an unknown type has limit 0
		if err != nil {
			return err
		}
		of[d.MediaType] = append(of[d.MediaType], p)
	}
	var programs, image []Part
	for _, p := range a.manifest.Programs {
		programs = append(programs, p.Part)
	}
	if a.manifest.Image != nil {
		image = append(image, *a.manifest.Image)
	}
	if !slices.Equal(of[TypeProgram], programs) || !slices.Equal(of[TypeImage], image) || len(of[TypeSBOM]) != 1 || len(of[TypeProvenance]) != 1 {
		return invalid("the layers are not those that the manifest names")
	}
	a.sbom, a.provenance = of[TypeSBOM][0], of[TypeProvenance][0]
	return a.consistent()
}

// consistent refuses one digest with two sizes: only one can be true.
func (a *artifact) consistent() error {
	size := map[string]int64{}
	for _, p := range a.parts() {
		if s, ok := size[p.SHA256]; ok && s != p.Size {
			return invalid("%s has two sizes", p.SHA256)
		}
		size[p.SHA256] = p.Size
	}
	return nil
}

// parts are all blobs but the OCI manifest.
func (a *artifact) parts() []Part {
	return append(a.manifest.parts(), a.sbom, a.provenance, partOf(a.config))
}

// index is the index.json of an image layout with this one artifact.
func (a *artifact) index() []byte {
	d := partOf(a.raw).descriptor(oci.MediaTypeImageManifest)
	d.ArtifactType = TypeDroplet
	b, err := json.Marshal(oci.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: oci.MediaTypeImageIndex, Manifests: []oci.Descriptor{d}})
	if err != nil {
		panic(err) // strings and numbers marshal
	}
	return b
}

// parseIndex finds the one droplet that a layout holds.
func parseIndex(b []byte) (Part, error) {
	var i oci.Index
	if err := decode(b, &i); err != nil {
		return Part{}, invalid("index: %v", err)
	}
	if i.SchemaVersion != 2 || len(i.Manifests) != 1 {
		return Part{}, invalid("the layout holds %d artifacts, want one", len(i.Manifests))
	}
	return partFrom(i.Manifests[0], maxDocument)
}

// checkLayout reads the file oci-layout.
func checkLayout(b []byte) error {
	var l oci.ImageLayout
	if err := decode(b, &l); err != nil {
		return invalid("%s: %v", oci.ImageLayoutFile, err)
	}
	if l.Version != oci.ImageLayoutVersion {
		return fmt.Errorf("%w: image layout version %.20q", ErrInvalid, l.Version)
	}
	return nil
}
