package syscall

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

var update = flag.Bool("update", false, "write docs/syscalls.md anew")

// syscallPage is docs/syscalls.md: the table in words.
func syscallPage() string {
	var b strings.Builder
	b.WriteString(`# System calls of a guest

Generated from guest/syscall/table.go by ` + "`go test ./guest/syscall -update`" + `. Numbers are those of
Linux 6.18 on x86-64. *Full*: as on Linux for the one process that there is. *Partial*: the note says
what is missing. *Absent*: always the same error, ENOSYS unless the note or the manual of the call says
otherwise. A call that is not in this table is answered ENOSYS, counted, and reported once to the
platform's log.

| number | call | support | note |
|---:|---|---|---|
`)
	for n, e := range table {
		if e.Name != "" {
			fmt.Fprintf(&b, "| %d | `%s` | %s | %s |\n", n, e.Name, [...]string{"absent", "partial", "full"}[e.Support], e.Note)
		}
	}
	return b.String()
}

func TestDocumentIsTheTable(t *testing.T) {
	const path = "../../docs/syscalls.md"
	want := syscallPage()
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
		t.Error("docs/syscalls.md is not what the table says: go test ./guest/syscall -update")
	}
}

func TestTableIsHonest(t *testing.T) {
	names := map[string]int{}
	for n, e := range table {
		if e.Name == "" {
			if e.Handler != nil || e.Note != "" || e.Support != Absent {
				t.Errorf("call %d has no name", n)
			}
			continue
		}
		if other, ok := names[e.Name]; ok {
			t.Errorf("%d and %d are both %s", other, n, e.Name)
		}
		names[e.Name] = n
		if e.Support == Partial && e.Note == "" {
			t.Errorf("%s: what is missing?", e.Name)
		}
		if e.Support != Absent && e.Handler == nil {
			t.Errorf("%s: nobody answers", e.Name)
		}
	}
	for name, n := range map[string]int{"read": syscall.SYS_READ, "openat": syscall.SYS_OPENAT,
		"epoll_pwait": syscall.SYS_EPOLL_PWAIT, "accept4": syscall.SYS_ACCEPT4, "prlimit64": syscall.SYS_PRLIMIT64,
		"utimensat": syscall.SYS_UTIMENSAT, "pwritev": syscall.SYS_PWRITEV, "exit_group": syscall.SYS_EXIT_GROUP} {
		if names[name] != n {
			t.Errorf("%s is %d, want %d", name, names[name], n)
		}
	}
}
