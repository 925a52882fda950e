package thread

// Slice is how long a thread runs while others wait, in ns.
const Slice = 5_000_000

// Slack is how much later than asked a sleeper may wake, in ns: the runtime's
// monitor sleeps 20 us at a time, and each timer interrupt is an exit.
const Slack = 50_000

// Choice is what Schedule decided.
type Choice struct {
	Next  *Thread // nil: nothing to do
	Timer uint64  // ns at which Schedule must be called again; 0: never
	More  bool    // others are ready: wake an idle CPU
}

// Schedule wakes those whose time has come and picks who runs next on a CPU,
// in turn. The thread that ran there must no longer be Running.
func (s *Table) Schedule(now, cpu uint64) Choice {
	var c Choice
	ready, pick, soon := 0, -1, uint64(0)
	for k := 1; k <= s.used; k++ {
		i := s.last + k
		if i >= s.used {
			i -= s.used
		}
		t := &s.list[i]
		if t.Deadline != 0 {
			if t.Deadline <= now {
				t.RAX = t.Late
				t.wake()
			} else if soon == 0 || t.Deadline < soon {
				soon = t.Deadline
			}
		}
		if t.State == Ready {
			ready++
			if pick < 0 {
				pick = i
			}
		}
	}
	if soon != 0 {
		c.Timer = max(soon, now+Slack)
	}
	if pick < 0 {
		return c
	}
	if ready > 1 {
		c.More = true
		if c.Timer == 0 || c.Timer > now+Slice {
			c.Timer = now + Slice
		}
	}
	s.last = pick
	c.Next = &s.list[pick]
	c.Next.State = Running
	c.Next.CPU = cpu
	return c
}

func (t *Thread) wake() {
	t.State = Ready
	t.Deadline = 0
}

// Block takes a running thread off its CPU until it is woken, or until
// deadline, when its call returns late.
func (t *Thread) Block(state State, deadline, late uint64) {
	t.State, t.Deadline, t.Late = state, deadline, late
}

// Wake makes a blocked thread ready with the result of its call.
func (t *Thread) Wake(result uint64) {
	t.RAX = result
	t.wake()
}

// syscallSize is the length of the SYSCALL instruction.
const syscallSize = 2

// Retry blocks a thread such that it makes its call again when it wakes.
func (t *Thread) Retry(state State, call uint64) {
	t.RIP -= syscallSize
	t.Block(state, 0, 0)
	t.RAX = call
}

// Resume makes ready all threads in a state, with RAX as it is.
func (s *Table) Resume(state State) (woken int) {
	for i := range s.list[:s.used] {
		if t := &s.list[i]; t.State == state {
			t.wake()
			woken++
		}
	}
	return woken
}

// WakeFutex wakes up to n threads that wait on key.
func (s *Table) WakeFutex(key, n uint64) (woken uint64) {
	for i := range s.list[:s.used] {
		t := &s.list[i]
		if woken == n {
			break
		}
		if t.State == Futex && t.Key == key {
			t.Wake(0)
			woken++
		}
	}
	return woken
}

// Poller returns a thread that waits for events, or nil.
func (s *Table) Poller() *Thread {
	for i := range s.list[:s.used] {
		if t := &s.list[i]; t.State == Poll {
			return t
		}
	}
	return nil
}

// Favour lets t run at the next Schedule.
func (s *Table) Favour(t *Thread) {
	for i := range s.list[:s.used] {
		if &s.list[i] == t {
			s.last = (i + s.used - 1) % s.used
			return
		}
	}
}
