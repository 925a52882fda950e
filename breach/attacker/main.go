package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
	"unsafe"
)

// step is one attack. It returns what stopped it, for people.
type step func(a args) error

// args are the words behind a step's name.
type args []string

// text is word n, or nothing.
func (a args) text(n int) string {
	if n < len(a) {
		return a[n]
	}
	return ""
}

// number is word n, decimal or 0x.
func (a args) number(n int) uintptr {
	v, err := strconv.ParseUint(a.text(n), 0, 64)
	if err != nil {
		fmt.Printf("argument %d is no number: %q\n", n, a.text(n))
		os.Exit(9)
	}
	return uintptr(v)
}

func main() {
	known := steps()
	for i, line := range os.Args[1:] {
		words := strings.Fields(line)
		if words[0] == "contain" { // the rest is made in a container, by the same program
			contain(words[1:], os.Args[i+2:])
		}
		do, ok := known[words[0]]
		if !ok {
			fmt.Println("unknown step", words[0])
			os.Exit(9)
		}
		if err := do(words[1:]); err != nil {
			fmt.Printf("%s: %v\n", words[0], err)
		} else {
			fmt.Printf("%s: made\n", words[0])
		}
	}
}

// steps are all that the attacker can do, by name.
func steps() map[string]step {
	all := map[string]step{"hold": hold, "neighbour": neighbour}
	for _, some := range []map[string]step{fileSteps(), neighbourSteps(), privilegeSteps(), resourceSteps(), controlSteps(), frameSteps(), metalSteps()} {
		for name, do := range some {
			all[name] = do
		}
	}
	return all
}

// hold stays, with everything that was opened, until the harness ends it.
func hold(args) error {
	fmt.Println("holding")
	time.Sleep(time.Hour)
	return nil
}

// loot is what a neighbour keeps in memory. Its address is the same in every
// process of this program.
var loot [128]byte

// neighbour keeps a token in its environment and memory, and waits.
func neighbour(args) error {
	copy(loot[:], os.Getenv("LOOT"))
	fmt.Printf("ready %d\n", uintptr(unsafe.Pointer(&loot)))
	return hold(nil)
}
