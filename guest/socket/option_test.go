package socket

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

var update = flag.Bool("update", false, "write docs/socket-options.md anew")

// optionPage is docs/socket-options.md: the table in words.
func optionPage() string {
	var b strings.Builder
	b.WriteString("# Socket options of a guest\n\nGenerated from guest/socket/option.go by `go test ./guest/socket -update`: what setsockopt(2) and\n" +
		"getsockopt(2) know on sockets of AF_INET. Without a note an option does what its manual page says. An\n" +
		"option that is not here is answered ENOPROTOOPT and reported once to the platform's log. Unix and netlink\n" +
		"sockets have the few that matter to them.\n\n| level | option | get | set | note |\n|---|---|---|---|---|\n")
	levels := map[int]string{syscall.SOL_SOCKET: "socket", syscall.IPPROTO_IP: "IP", syscall.IPPROTO_TCP: "TCP", syscall.IPPROTO_UDP: "UDP"}
	yes := func(b bool) string {
		if b {
			return "yes"
		}
		return "no"
	}
	for _, o := range options {
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s | %s |\n", levels[o.level], o.text, yes(o.readable()), yes(o.writable()), o.note)
	}
	return b.String()
}

func TestDocumentIsTheTable(t *testing.T) {
	const path = "../../docs/socket-options.md"
	want := optionPage()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/socket-options.md is not what the table says: go test ./guest/socket -update")
	}
}

func TestNoOptionStandsTwice(t *testing.T) {
	seen := map[optionKey]string{}
	for _, o := range options {
		if other, ok := seen[o.optionKey]; ok {
			t.Errorf("%s and %s are both %v", other, o.text, o.optionKey)
		}
		seen[o.optionKey] = o.text
		if !o.readable() && !o.writable() && o.way != refused {
			t.Errorf("%s does nothing", o.text)
		}
	}
}
