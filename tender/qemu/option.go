package qemu

import (
	"os/exec"
	"strings"
	"sync"
)

// options are what changed from one release of QEMU to another: 8.1 and 9.1 made
// -chroot and -runas parts of -run-with.
type options struct{ chroot, user bool }

// ask reads QEMU's own summary of its options, in the background: it takes 25 ms
// and is wanted when the first guest starts.
func ask(binary string) func() options {
	answer := sync.OnceValue(func() options {
		out, err := exec.Command(binary, "-help").Output()
		if err != nil {
			return options{} // the start will fail with QEMU's own words
		}
		return parseHelp(string(out))
	})
	go answer()
	return answer
}

func parseHelp(text string) (o options) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "-run-with ") {
			o.chroot, o.user = strings.Contains(line, "chroot="), strings.Contains(line, "user=")
		}
	}
	return o
}

// jail are the arguments that put QEMU into an empty root as user and group 1.
func (o options) jail(dir string) []string {
	switch {
	case o.user:
		return []string{"-run-with", "chroot=" + strings.ReplaceAll(dir, ",", ",,") + ",user=1:1"}
	case o.chroot:
		return []string{"-run-with", "chroot=" + strings.ReplaceAll(dir, ",", ",,"), "-runas", "1:1"}
	}
	return []string{"-chroot", dir, "-runas", "1:1"}
}
