package stager

import (
	"errors"
	"fmt"
)

// Why there is no droplet. The messages are for whoever wrote the source.
var (
	ErrNotGo   = errors.New("no Go program was found")
	ErrNoMain  = errors.New("no main package was found")
	ErrCgo     = errors.New("the program needs cgo")
	ErrCompile = errors.New("the program does not build")
	ErrSource  = errors.New("the source cannot be taken")
	ErrLimit   = errors.New("the build went over a limit")
	// ErrPrebuilt is a program that was linked elsewhere.
	ErrPrebuilt = errors.New("this is a program that was built already")
)

func because(kind error, format string, args ...any) error {
	return fmt.Errorf("%w: %s", kind, fmt.Sprintf(format, args...))
}
