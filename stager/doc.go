// Package stager turns source into droplets: it finds the programs of a Go
// module, builds them with the shadow of the installed Go (stager/goroot) in a
// sandbox, makes them bootable (stager/pvh) and writes them, the files beside
// them, a bill of materials and the provenance into a droplet. `dew build` and
// the platform's staging call it.
//
// Equal source, Go release and dew give an equal digest, bit for bit, whatever
// the folder, the machine and the state of caches.
//
// Source is hostile. It is copied first, within limits and without links that
// lead out. The go command runs in stager/sandbox, where it sees the copy, Go and
// its caches; its environment is ours alone, so no GOFLAGS, toolchain line or
// cgo directive of a tenant runs anything; the network is stager/modproxy. No
// code of the package runs at build time. Where no sandbox can be had, Config
// decides whether to refuse or to go on without, which is right only for one's
// own source.
//
// A Builder owns its cache folder and is safe for concurrent use, also by several
// processes on one folder. Build starts goroutines that end before it returns,
// and leaves nothing behind but caches and the droplet.
package stager
