package tcp

import (
	"syscall"

	"github.com/dewpaas/dew/guest/fd"
	"github.com/dewpaas/dew/guest/packet"
)

// State is a connection's, numbered as struct tcp_info numbers them.
type State uint8

const (
	Established State = 1 + iota
	SynSent
	SynReceived
	FinWait1
	FinWait2
	TimeWait
	Closed
	CloseWait
	LastAck
	Listen // never of a Conn
	Closing
)

// synchronized tells whether both sides know each other's sequence numbers.
func (s State) synchronized() bool { return s != SynSent && s != SynReceived && s != Closed }

// sends tells whether data that is queued may still be sent.
func (s State) sends() bool {
	return s == Established || s == CloseWait || s == FinWait1 || s == LastAck || s == Closing
}

// receives tells whether data of the peer is still taken.
func (s State) receives() bool { return s == Established || s == FinWait1 || s == FinWait2 }

// Env is the stack around a connection.
type Env interface {
	// Transmit sends a segment. It returns false when the card has no room now.
	Transmit(o *Out) bool
}

// ms and second are what times are counted in: ns.
const (
	ms     = int64(1e6)
	second = int64(1e9)
)

// Config is what a connection is made with.
type Config struct {
	Env      Env
	Memory   *Memory
	ISS      Seq
	Offset   uint32 // of our timestamps, which start anywhere (RFC 7323 section 7.1)
	MTU      int    // bytes of IP packet
	Settings *Settings
}

// Settings are what a program sets, and what accepted connections inherit.
type Settings struct {
	NoDelay, Cork, KeepAlive, FixedSend, FixedReceive bool
	SendBuffer, ReceiveBuffer                         int // bytes
	KeepIdle, KeepInterval                            int64
	KeepCount                                         int
	UserTimeout                                       int64 // 0: none
	FinTimeout                                        int64
	MaxSeg                                            int // 0: as the MTU allows
	SynCount                                          int
	WindowClamp                                       int // 0: none
	NotSentLow                                        int // 0: none
}

// Buffer sizes in bytes (tcp(7): tcp_rmem and tcp_wmem).
const (
	FirstBuffer = 64 << 10 // of a new connection
	MaxBuffer   = 4 << 20  // of auto-tuning and of SO_SNDBUF, SO_RCVBUF
	minBuffer   = 4 << 10
	Scale       = 7 // of our window: MaxBuffer fits into 16 bits
)

// DefaultSettings are those of a new endpoint, tcp(7).
func DefaultSettings() Settings {
	return Settings{SendBuffer: FirstBuffer, ReceiveBuffer: FirstBuffer, KeepIdle: 7200 * second, KeepInterval: 75 * second,
		KeepCount: 9, FinTimeout: 60 * second, SynCount: 6}
}

// Conn is one connection's protocol state. It has no lock, no clock and sends
// through its Env: whoever owns it calls one method at a time and tells it the
// time, in ns.
type Conn struct {
	env    Env
	memory *Memory
	Settings

	state  State
	err    syscall.Errno // why it ended, until it is taken
	orphan bool          // the program has closed it
	active bool          // we sent the first SYN
	Wakes  fd.Events     // readiness that changed since the owner last looked

	// Sending. Names are those of RFC 9293 section 3.3.1.
	iss, una, nxt Seq
	wnd           int // the peer's window
	wl1, wl2      Seq
	maxWnd        int // largest window seen
	sendScale     uint8
	mtu           int
	mss           int // payload of a full segment
	peerMSS       int // from the peer's SYN
	send          queue
	finQueued     bool // the program sends no more
	finSent       bool
	smallEnd      Seq  // end of the last segment sent that was not full
	urge          bool // send what is there, Nagle and cork or not
	more          bool // the program writes more at once
	wantsRoom     bool // the program waits for room in the queue
	sent          records
	congestion
	recovery
	rtt
	bytesSent, bytesRetrans, bytesAcked uint64
	segsOut, segsIn                     uint32
	totalRetrans                        uint32

	// Receiving.
	irs, rcv   Seq // rcv is RCV.NXT
	edge       Seq // right edge of the window that the peer was told
	receive    queue
	order      disorder
	finSeen    bool
	shutRead   bool
	rcvMSS     int // largest segment seen: what the peer's segments are like
	acks       acking
	tuning     tuning
	bytesTaken uint64

	// Options agreed on.
	timeOK, sackOK, scaleOK bool
	timeOffset              uint32
	recent                  uint32 // TS.Recent
	recentAt                int64

	timers
	out Out
}

// State tells the state, Closed of the zero value.
func (c *Conn) State() State {
	if c.state == 0 {
		return Closed
	}
	return c.state
}

// Init prepares a connection that is closed.
func (c *Conn) Init(f *Config) {
	*c = Conn{env: f.Env, memory: f.Memory, Settings: *f.Settings, state: Closed, iss: f.ISS, timeOffset: f.Offset}
	c.una, c.nxt = f.ISS, f.ISS
	c.mtu = f.MTU
	c.peerMSS = defaultMSS
	c.order.run.reserved = true
	c.congestion.init()
	c.rtt.rto = firstRTO
	c.acks.pingpong = true
}

const (
	defaultMSS = 536 // of a peer that names none (RFC 9293 section 3.7.1)
	minMSS     = 88  // a smaller one would make us send headers mostly
	headers    = packet.IPv4Size + packet.TCPSize
)

// Reserve is what a connection holds of the memory bound while it exists, for
// its queues to go on with when there is nothing left.
const Reserve = reserve

// offerMSS is what we tell the peer: what we can receive, not what the path
// can carry (RFC 9293 section 3.7.1).
func (c *Conn) offerMSS() int {
	n := c.mtu - headers
	if c.MaxSeg > 0 {
		n = min(n, c.MaxSeg)
	}
	return n
}

// setMSS computes the payload of a full segment.
func (c *Conn) setMSS() {
	n := max(min(c.peerMSS, c.mtu-headers, maxSegment), minMSS)
	if c.MaxSeg > 0 {
		n = min(n, max(c.MaxSeg, minMSS))
	}
	if c.timeOK {
		n -= timeSize
	}
	c.mss = n
}

const timeSize = 12 // of the timestamp option, padded

// Open sends a SYN.
func (c *Conn) Open(now int64) {
	c.state, c.active = SynSent, true
	c.setMSS()
	c.nxt = c.iss + 1
	c.sendSyn(now)
	c.setRetransmit(now+c.rto, retransmitSyn)
	c.synAt = now
}

// Accept takes a SYN and answers it.
func (c *Conn) Accept(s *Segment, now int64) {
	c.learn(s, now)
	c.state = SynReceived
	c.nxt = c.iss + 1
	c.sendSyn(now)
	c.setRetransmit(now+c.rto, retransmitSyn)
	c.synAt = now
}

// Resume takes the last segment of a handshake whose SYN was answered with a
// cookie: nothing but the cookie's content is known of the SYN.
func (c *Conn) Resume(s *Segment, mss int, sack bool, scale uint8, scaled bool, now int64) {
	c.state = SynReceived
	c.irs, c.rcv = s.Seq-1, s.Seq
	c.iss = s.Ack - 1
	c.una, c.nxt = c.iss, s.Ack
	c.peerMSS = mss
	c.timeOK, c.sackOK, c.scaleOK, c.sendScale = s.Options.HasTime, sack, scaled, scale
	c.setMSS()
	c.recent, c.recentAt = s.Options.Time, now
	c.edge = c.rcv + 0xffff
	c.acks.sent = c.rcv
}

// learn takes what a SYN tells.
func (c *Conn) learn(s *Segment, now int64) {
	c.irs, c.rcv = s.Seq, s.Seq+1
	o := &s.Options
	if o.MSS > 0 {
		c.peerMSS = int(o.MSS)
	}
	c.timeOK, c.sackOK, c.scaleOK = o.HasTime, o.SACKPermitted, o.HasScale
	if o.HasScale {
		c.sendScale = o.Scale
	}
	if o.HasTime {
		c.recent, c.recentAt = o.Time, now
	}
	c.setMSS()
	c.wnd, c.wl1, c.wl2 = int(s.Window), s.Seq, s.Ack // a SYN's window is never scaled
	c.maxWnd = c.wnd
	c.edge = c.rcv
}

// establish makes the connection usable.
func (c *Conn) establish(now int64) {
	c.state, c.smallEnd, c.highSack = Established, c.una, c.una
	if c.finQueued { // shut down while connecting
		c.state = FinWait1
	}
	c.stopRetransmit()
	c.begin(c.mss, c.una)
	c.rcvMSS = min(c.mss, defaultMSS)
	c.lastHeard = now
	c.tuning.since = now
	if c.KeepAlive {
		c.keepAt = now + c.KeepIdle
	}
	c.Wakes |= fd.Writable
}

// fail ends the connection with an error that the program will see.
func (c *Conn) fail(err syscall.Errno) {
	c.err = err
	c.finish()
	c.Wakes |= fd.Readable | fd.Writable | fd.HungUp | fd.Failed
}

// finish ends the connection: nothing is sent or kept for sending any more.
// What was received can still be read.
func (c *Conn) finish() {
	c.state = Closed
	c.timers = timers{}
	c.send.clear(c.memory)
	c.order.clear(c.memory)
	c.sent.clear(c.memory)
	c.Wakes |= fd.Readable | fd.Writable | fd.HungUp
}

// Drop gives all memory back.
func (c *Conn) Drop() {
	if c.memory == nil {
		return // never connected
	}
	c.finish()
	c.receive.clear(c.memory)
}
