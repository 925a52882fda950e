// Package cgroup limits what a guest may use of its host, on machines with
// control groups version 1, 2, or a mix of both (Linux
// Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst, 6.18). Which
// controller lives where is probed, never assumed.
//
// tender/process makes a Group per instance, hands the open files of Procs to
// the child that will become the guest, asks OOMKilled when it has ended, and
// removes the group. Groups of callers that died are found by name: Reap.
//
// The package has no goroutines and no locks: a Group belongs to one owner. It
// refuses limits that no controller of the machine can enforce.
package cgroup
