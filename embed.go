// Package dew holds, as data, the sources that the stager links into every
// droplet: the library OS and its contract with the tender.
package dew

import (
	"embed"
	"io/fs"
)

// A folder pattern leaves out what begins with "_", hence the second one.
//
//go:embed abi guest guest/shadow/_std
var sources embed.FS

// Sources has the folders abi and guest as they are in the repository.
func Sources() fs.FS { return sources }
