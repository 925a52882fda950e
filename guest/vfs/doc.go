// Package vfs is the guest's one file system: the droplet's read-only image
// below, everything that the program changes in memory above it, and the
// synthetic files of package guest/proc beside both. What is written is gone
// when the guest ends.
//
// Package guest/syscall calls it with paths and keeps the descriptors. A Node
// is a file, whatever names it has; a Handle is an open file description.
//
// Image files become Nodes when they are first met, and keep pointing into the
// mapped image until they are written to; then the touched file, not the tree
// above it, is copied page by page. Memory is bounded by a quota that counts
// pages, nodes and names; beyond it calls answer ENOSPC.
//
// The guest's user is root, as in a container whose user namespace maps it to
// nobody outside: permission bits are kept and shown, not enforced, except
// that executing needs an execute bit (access(2)).
//
// Locks, in this order: FS.mu guards the tree, names and metadata; Node.mu
// guards one file's content. FS.mu is not held while content is copied.
//
// Semantics follow Linux 6.18 (fs/namei.c, fs/open.c, fs/libfs.c) and POSIX.1-2024.
package vfs
