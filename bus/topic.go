package bus

import "github.com/dewpaas/dew/cf"

// Change tells what a transaction wrote: guids by noun. Too many are left out
// (Whole is set): everything may have changed.
type Change struct {
	Nouns map[cf.Noun][]string `json:"nouns,omitempty"`
	Whole bool                 `json:"whole,omitempty"`
}

// maxGUIDs bounds what a Change names.
const maxGUIDs = 1000

// NewChange makes the message of a transaction's changes.
func NewChange(nouns map[cf.Noun][]string) Change {
	n := 0
	for _, guids := range nouns {
		n += len(guids)
	}
	if n > maxGUIDs {
		return Change{Whole: true}
	}
	return Change{Nouns: nouns}
}

// About tells whether any of the nouns may have changed.
func (c Change) About(nouns []cf.Noun) bool {
	if c.Whole {
		return true
	}
	for _, n := range nouns {
		if len(c.Nouns[n]) > 0 {
			return true
		}
	}
	return false
}

// Used tells what the instances of a cell use.
type Used struct {
	Cell      string              `json:"cell"`
	Instances map[string]cf.Usage `json:"instances"`
	Limited   uint64              `json:"limited"` // log lines over a limit, since the cell began
}

// Said is log lines, and the name of the API that took them in and has them already.
type Said struct {
	From  string       `json:"from,omitempty"`
	Lines []cf.LogLine `json:"lines"`
}

// Ask is a question whether what is in the ledger was seen; its answer is the same.
type Ask struct {
	ID string `json:"id"`
}

// Asks is where the scheduler is asked, Answers where the one that leads says that
// it has seen what was in the ledger at the time of the question.
func Asks() Topic[Ask] { return "dew.scheduler.asks" }

// Answers are those to Asks.
func Answers() Topic[Ask] { return "dew.scheduler.answers" }

// Changes is where changes of the ledger are told.
func Changes() Topic[Change] { return "dew.ledger.changes" }

// Usage is where cells tell what their instances use.
func Usage() Topic[Used] { return "dew.cell.usage" }

// Lines is where lines of apps' logs go to all who keep them.
func Lines() Topic[Said] { return "dew.log.lines" }
