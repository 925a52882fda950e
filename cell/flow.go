package cell

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/firewall"
)

// flowRate is how many connections a second are told of in the log of one app.
const flowRate = 10

// flowLog writes connections that the firewall denied, and those that a rule
// says to log, into the log of the app that began them; what was refused from
// outside into that of the app it was meant for. One goroutine uses it.
type flowLog struct {
	logs   cf.Logs
	second int64          // that the budgets are of, Unix time
	spent  map[string]int // by app
}

func newFlowLog(logs cf.Logs) *flowLog { return &flowLog{logs: logs, spent: map[string]int{}} }

func (l *flowLog) put(f firewall.Flow) {
	own := f.From
	if own == nil {
		own = f.To
	}
	if own == nil || Lent(own) || f.To != nil && Lent(f.To) {
		return
	}
	if s := f.Time.Unix(); s != l.second {
		l.second = s
		clear(l.spent)
	}
	line := cf.LogLine{AppGUID: own.AppGUID, Time: f.Time, Source: "CELL", Instance: strconv.Itoa(own.Index), Err: !f.Allowed}
	l.spent[own.AppGUID]++
	switch n := l.spent[own.AppGUID]; {
	case n > flowRate+1:
		return
	case n > flowRate:
		line.Err, line.Text = true, fmt.Appendf(nil, "more than %d connections in a second were denied or are to be logged: the others are not told of", flowRate)
	default:
		line.Text = []byte(discreet(f).JSON())
	}
	l.logs.Log(line)
}

// discreet leaves out what the log's reader may not know: whose instance it is,
// in another space, that a connection was meant for.
func discreet(f firewall.Flow) firewall.Flow {
	if f.From != nil && f.To != nil && f.From.SpaceGUID != f.To.SpaceGUID && !f.Allowed {
		f.To, f.Rule = nil, "default deny: no network policy allows it"
	}
	return f
}

// insist does what should never end, again whenever it fails, until ctx ends.
func (c *Cell) insist(ctx context.Context, what string, do func(context.Context) error) {
	for ctx.Err() == nil {
		if err := do(ctx); err != nil && ctx.Err() == nil {
			c.cfg.Log.Error("cell: "+what, "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// lentPrefix begins the names of places that were lent: they are no instances.
const lentPrefix = "lent-"

// Lent tells whether an endpoint is a place that was lent.
func Lent(e *cf.Endpoint) bool { return strings.HasPrefix(e.GUID, lentPrefix) }
