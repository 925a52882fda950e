package breach

import (
	"fmt"
	"slices"
	"strings"
)

const preamble = `# Droplet versus process

What an attacker gets who owns a droplet, beside what the same attacker gets as an ordinary process in a container. This page
is written by ` + "`go test ./breach -run EveryAttack -update`" + ` from attacks that were really made; ` + "`dew breach --suite`" + ` makes them on your machine.

- **process**: the droplet under the process tender. **QEMU**: the same file in ring 0 of a virtual machine.
- **container**: a process in a container with Docker's default capabilities and seccomp profile, as user 0, as Docker starts it.
  **unprivileged**: the same as a user without capabilities and with no_new_privs. Both have the guest's limits, stand on a bridge as Docker lays it
  by default, and ask a name server that passes questions on as they are.
- *stopped*: a witness outside saw no gain. **gained**: it did. A dash: there is nothing of the kind there.

Every attack was also made with its guard left out, and succeeded then.
`

// Table compares droplets with containers, as Markdown.
func Table(results []Result) string {
	var b strings.Builder
	b.WriteString(preamble)
	rows, order := rowsOf(results)
	b.WriteString(summary(rows))
	for class := range slices.Values(classesOf(results)) {
		fmt.Fprintf(&b, "\n## %s\n\n| attack | the attacker has | stopped by | process | QEMU | container | unprivileged |\n|---|---|---|---|---|---|---|\n", strings.ToUpper(string(class[:1]))+string(class[1:]))
		for _, name := range order {
			if r := rows[name]; r.class == class {
				fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", name, r.goal, r.guard, r.cells[0], r.cells[1], r.cells[2], r.cells[3])
			}
		}
	}
	return b.String()
}

// tableRow is one attack: under process, QEMU, container, unprivileged.
type tableRow struct {
	class       Class
	goal, guard string
	cells       [4]string
}

func rowsOf(results []Result) (rows map[string]*tableRow, order []string) {
	rows = map[string]*tableRow{}
	for _, r := range results {
		row := rows[r.Name]
		if row == nil {
			row = &tableRow{class: r.Class, goal: r.Goal, guard: r.Guard, cells: [4]string{"-", "-", "-", "-"}}
			rows[r.Name] = row
			order = append(order, r.Name)
		}
		if r.Guard != row.guard && !strings.Contains(row.guard, r.Guard) {
			row.guard += "; " + r.Guard
		}
		verdict := "**gained**"
		if r.Stopped {
			verdict = "stopped"
		}
		row.cells[map[Kind]int{Process: 0, QEMU: 1}[r.Tender]] = verdict
		for i, v := range []string{r.Root, r.User} {
			switch v {
			case Stopped:
				row.cells[2+i] = "stopped"
			case Gained:
				row.cells[2+i] = "**gained**"
			}
		}
	}
	return rows, order
}

func classesOf(results []Result) (list []Class) {
	for _, r := range results {
		if !slices.Contains(list, r.Class) {
			list = append(list, r.Class)
		}
	}
	return list
}

// summary counts what was gained of what was tried.
func summary(rows map[string]*tableRow) string {
	var tried, gained [4]int
	for _, r := range rows {
		for i, c := range r.cells {
			if c != "-" {
				tried[i]++
			}
			if c == "**gained**" {
				gained[i]++
			}
		}
	}
	var b strings.Builder
	b.WriteString("\n| | process | QEMU | container | unprivileged |\n|---|---|---|---|---|\n")
	fmt.Fprintf(&b, "| attacks made | %d | %d | %d | %d |\n", tried[0], tried[1], tried[2], tried[3])
	fmt.Fprintf(&b, "| gained | %d | %d | %d | %d |\n", gained[0], gained[1], gained[2], gained[3])
	return b.String()
}
