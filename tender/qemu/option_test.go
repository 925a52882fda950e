package qemu

import (
	"slices"
	"strings"
	"testing"
)

func TestTheJailIsAskedForInEachReleasesWords(t *testing.T) {
	for help, want := range map[string]string{
		"-chroot dir     chroot to dir just before starting the VM\n-runas user     change to user id user\n": "-chroot /j,j -runas 1:1",
		"-run-with [async-teardown=on|off][,chroot=dir]\n-runas user\n":                                       "-run-with chroot=/j,,j -runas 1:1",
		"x\n-run-with [async-teardown=on|off][,chroot=dir][user=username|uid:gid]\n":                          "-run-with chroot=/j,,j,user=1:1",
		"": "-chroot /j,j -runas 1:1",
	} {
		if got := strings.Join(parseHelp(help).jail("/j,j"), " "); got != want {
			t.Errorf("%q: %s, want %s", help, got, want)
		}
	}
}

func TestQEMUHasAWordForTheJail(t *testing.T) {
	o := ask(installed(t))()
	if words := o.jail("/j"); !slices.Contains(words, "-chroot") && !o.chroot {
		t.Errorf("%+v: %v", o, words)
	}
}
