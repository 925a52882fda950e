package nft

import (
	"fmt"
	"strings"

	"github.com/dewpaas/dew/firewall/netlink"
)

// Command is one nft command and the message that does the same.
type Command struct {
	Text    string
	Message netlink.Message
}

// Commands are the ruleset as commands, in the order in which Diff sends them
// to an empty kernel. Elements are one command a set.
func (r *Ruleset) Commands() []Command {
	var list []Command
	for _, t := range r.Tables {
		list = append(list, t.commands()...)
	}
	return list
}

func (t *Table) commands() []Command {
	b := &batch{}
	var texts []string
	say := func(format string, args ...any) { texts = append(texts, fmt.Sprintf(format, args...)) }
	name := familyName(t.Family) + " " + t.Name
	b.newTable(t)
	say("add table %s", name)
	for _, o := range t.Timeouts {
		b.newTimeout(t, o)
		say("add ct timeout %s %s { %s }", name, o.Name, o.text())
	}
	for _, s := range t.Sets {
		b.newSet(t, s)
		kind, body := s.declaration()
		say("add %s %s %s { %s }", kind, name, s.Name, strings.Join(body, "; "))
	}
	for _, c := range t.Chains {
		b.newChain(t, c)
		base := ""
		if c.Base != nil {
			base = " { " + c.Base.text() + " }"
		}
		say("add chain %s %s%s", name, c.Name, base)
	}
	for _, s := range t.Sets {
		before := len(b.messages)
		b.addElements(t, s, s.Elements)
		var elements []string
		for _, e := range s.Elements {
			elements = append(elements, s.elementText(e))
		}
		for i := before; i < len(b.messages); i++ { // more than one where there are very many
			say("add element %s %s { %s }", name, s.Name, strings.Join(elements, ", "))
		}
	}
	for _, c := range t.Chains {
		for _, r := range c.Rules {
			b.newRule(t, c, r)
			say("add rule %s %s %s", name, c.Name, r.Text)
		}
	}
	list := make([]Command, len(texts))
	for i := range texts {
		list[i] = Command{texts[i], b.messages[i]}
	}
	return list
}
