// Package bustest is the suite that every bus must pass. It owns the buses it
// is given and closes them.
package bustest
