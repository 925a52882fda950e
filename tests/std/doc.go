// Package std runs the standard library's own tests, and the guest that watches
// pointers while stacks move, inside a guest behind the process wall. What is
// left out, and why, stands in docs/std-tests.md, from where the tests read it.
//
// It needs root, and is skipped with that reason without it. It owns no code:
// only its tests.
package std
