package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/abi/image"
	"github.com/dewpaas/dew/droplet"
)

// inspectCmd is `dew inspect`.
type inspectCmd struct {
	Droplet    string `arg:"" help:"Droplet: a file, or a folder with an OCI image layout." type:"path"`
	JSON       bool   `name:"json" xor:"what" help:"Print digest and manifest as JSON."`
	SBOM       bool   `name:"sbom" xor:"what" help:"Print the bill of materials, CycloneDX JSON."`
	Provenance bool   `xor:"what" help:"Print how it was built, an in-toto statement."`
	Files      bool   `xor:"what" help:"List the files that the program finds."`
}

// Run tells what is in a droplet, after all of it was verified.
func (i *inspectCmd) Run(c *console) error {
	d, err := droplet.Open(i.Droplet)
	if err != nil {
		return err
	}
	defer d.Close()
	files, err := verified(d)
	if err != nil {
		return err
	}
	switch {
	case i.JSON:
		return c.json(map[string]any{"digest": "sha256:" + d.Digest(), "size": d.Size(), "manifest": d.Manifest()})
	case i.SBOM:
		return document(c.out, d.SBOM)
	case i.Provenance:
		return document(c.out, d.Provenance)
	case i.Files:
		for _, f := range files {
			fmt.Fprintln(c.out, printable(f))
		}
		return nil
	}
	return describe(c.out, d, len(files))
}

func document(w io.Writer, get func() ([]byte, error)) error {
	b, err := get()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", b)
	return err
}

// describe writes it for people.
func describe(out io.Writer, d *droplet.Droplet, files int) error {
	m := d.Manifest()
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintf(w, "digest\tsha256:%s\nsize\t%s\nkernel\t%s, contract %d\ntoolchain\t%s\n", d.Digest(), megabytes(d.Size()), m.Kernel, m.Contract, m.Toolchain)
	for _, p := range m.Programs {
		fmt.Fprintf(w, "program\t%s\t%s\t%s\n", p.Name, megabytes(p.Size), p.Package)
	}
	for _, kind := range slices.Sorted(maps.Keys(m.Processes)) {
		fmt.Fprintf(w, "process\t%s\t%s\n", kind, m.Processes[kind])
	}
	if m.Image != nil {
		fmt.Fprintf(w, "files\t%d\t%s\t%s\n", files, megabytes(m.Image.Size), m.Workdir)
	}
	for _, mod := range m.Modules {
		fmt.Fprintf(w, "module\t%s\t%s\n", mod.Path, mod.Version)
	}
	return w.Flush()
}

// verified reads all of a droplet and returns its files.
func verified(d *droplet.Droplet) ([]string, error) {
	for _, p := range d.Manifest().Programs {
		f, err := d.Program(p.Name)
		if err != nil {
			return nil, err
		}
		f.Close()
	}
	f, err := d.Image()
	if f == nil || err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := unix.Mmap(int(f.Fd()), 0, int(d.Manifest().Image.Size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the file-system image: %w", err)
	}
	defer unix.Munmap(b)
	r, err := image.Open(b)
	if err != nil {
		return nil, err
	}
	var files []string
	err = list(r, 0, "", &files)
	return files, err
}

func list(r *image.Reader, dir image.Ino, path string, files *[]string) error {
	d, err := r.Stat(dir)
	if err != nil {
		return err
	}
	for n := range d.Size {
		e, err := r.Entry(d, n)
		if err != nil {
			return err
		}
		i, err := r.Stat(e.Ino)
		if err != nil {
			return err
		}
		name := path + "/" + string(e.Name)
		switch i.Mode & image.ModeKind {
		case image.ModeDir:
			err = list(r, e.Ino, name, files)
		case image.ModeSymlink:
			var to []byte
			to, err = r.Target(i)
			*files = append(*files, name+" -> "+string(to))
		default:
			*files = append(*files, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
