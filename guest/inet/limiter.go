package inet

import "sync/atomic"

// limiter bounds what strangers can make us say: so many answers a second
// (net.ipv4.icmp_msgs_per_sec), counted anew each second.
type limiter struct {
	second, count atomic.Int64
}

const maxReplies = 1000

func (l *limiter) allow(now int64) bool {
	if s := now / second; l.second.Swap(s) != s {
		l.count.Store(0)
	}
	return l.count.Add(1) <= maxReplies
}
