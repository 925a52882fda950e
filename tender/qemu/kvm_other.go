//go:build !amd64

package qemu

import "context"

// executes is false: no other CPU executes a droplet's instructions.
func executes(context.Context) bool { return false }
