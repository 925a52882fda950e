// Package sandbox runs one command so that hostile input can do no more than
// make it fail: the Go command on a tenant's package. The stager calls it.
//
// A command gets mount, pid, network, IPC and UTS namespaces of its own, and a
// user namespace where the caller is not root; as root it runs as a user that
// owns nothing but what its Config says. It sees a file system of the folders
// that its Config names and nothing else, executes only what lies in those that are
// said to hold programs, has no network but a listener of the caller's, no
// capabilities, no way to gain any, the system calls of a table (calls.go), and limits
// by control groups and rlimits. When Run returns, every process of the sandbox has ended.
//
// The calling program is executed again as the sandbox's first process, which
// lays out the file system and starts the command: a program that uses this
// package calls Inside first thing in main, and Serve if it says so.
//
// Run owns the goroutines that it starts: one copies each output, one serves the
// listener; all end before it returns. It refuses to run a command where
// namespaces cannot be made, with an error that wraps ErrUnavailable.
//
// Sources: Linux 6.18 Documentation/admin-guide/namespaces, mount_setattr(2),
// pivot_root(2), capabilities(7), user_namespaces(7), proc(5), seccomp_filter.rst.
package sandbox
