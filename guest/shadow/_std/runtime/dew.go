// The runtime's side of the library OS: every hook that it needs, in one file.
//
// What is allowed where:
//
//	dewStart        runs in osinit: no heap, no P, no locks, stack of g0
//	dewEvent        runs inside netpoll: may run without a P, no allocation,
//	dewWakeMonitor  no write barriers
//	dewMonitorDelay run in sysmon: no P, no allocation, no write barriers
//	dewMayRest
//	all others      run on an ordinary goroutine
package runtime

import (
	"internal/runtime/syscall/linux"
	"internal/stringslite"
	"unsafe"
)

// Descriptors and event tags of the tender: package abi of the library OS,
// repeated because the runtime cannot import it.
const (
	dewFDPacket  = 3
	dewFDWake    = 4
	dewFDPoll    = 5
	dewFDControl = 7

	dewPollPacket  = 1
	dewPollWake    = 2
	dewPollControl = 3
)

// dewGuest is set before the world starts and never changes.
var dewGuest bool

// dewStart finds out whether this process is a guest and returns the number
// of CPUs that the tender gave it, 0 outside a guest. The boot variable is the
// first of the environment: "DEW_BOOT=version:length:cpus".
func dewStart() int32 {
	const name = "DEW_BOOT="
	first := argv_index(argv, argc+1)
	if first == nil {
		return 0
	}
	s := gostringnocopy(first)
	if !stringslite.HasPrefix(s, name) {
		return 0
	}
	dewGuest = true
	cpus, field := int32(0), 0
	for i := len(name); i < len(s); i++ {
		switch {
		case s[i] == ':':
			field++
		case field == 2 && '0' <= s[i] && s[i] <= '9' && cpus < 1024:
			cpus = cpus*10 + int32(s[i]-'0')
		}
	}
	return max(cpus, 1)
}

// Set once by the library OS before the first descriptor is polled.
var (
	dewPollOpenHook  func(fd uintptr, pd unsafe.Pointer, seq uintptr) uintptr
	dewPollCloseHook func(fd uintptr) uintptr
)

//go:linkname dew_setPollHooks
func dew_setPollHooks(open func(fd uintptr, pd unsafe.Pointer, seq uintptr) uintptr, close func(fd uintptr) uintptr) {
	dewPollOpenHook, dewPollCloseHook = open, close
}

func dewPollOpen(fd uintptr, pd unsafe.Pointer, seq uintptr) uintptr {
	if dewPollOpenHook == nil {
		return 1 // EPERM, not pollable: package os then reads and writes it directly
	}
	return dewPollOpenHook(fd, pd, seq)
}

func dewPollClose(fd uintptr) uintptr {
	if dewPollCloseHook == nil {
		return 0
	}
	return dewPollCloseHook(fd)
}

// dew_pollReady makes the goroutines that wait on the pollDesc pd runnable.
// pd and seq are those that the open hook got; a pollDesc that serves another
// descriptor by now is left alone. mode is 'r', 'w' or their sum.
//
//go:linkname dew_pollReady
func dew_pollReady(p unsafe.Pointer, seq uintptr, mode int32) {
	pd := (*pollDesc)(p)
	if pd.fdseq.Load() != seq {
		return
	}
	delta := int32(0)
	var rg, wg *g
	if mode == 'r' || mode == 'r'+'w' {
		rg = netpollunblock(pd, 'r', true, &delta)
	}
	if mode == 'w' || mode == 'r'+'w' {
		wg = netpollunblock(pd, 'w', true, &delta)
	}
	netpollAdjustWaiters(delta)
	if rg != nil {
		dewReady(rg)
	}
	if wg != nil {
		dewReady(wg)
	}
}

// dewPump is the goroutine that waits for packets, and what it has done since
// it last did.
var dewPump struct {
	g      guintptr
	fed    bool // it has made a goroutine runnable, here
	shared bool // and told other Ps that there is work
}

// dewReady makes a goroutine runnable that waited in netpollblock.
//
// The first one that the pump wakes is put where the pump's own P takes it
// next, and no other P is woken for it: nearly always the pump is done and
// waits, and a second thread would find nothing. That is how the runtime
// treats a goroutine whose descriptor has become ready while a thread slept in
// the poller, and saves a futex call and a searching thread for each request.
func dewReady(gp *g) {
	if dewPump.g != guintptr(unsafe.Pointer(getg())) || dewPump.fed {
		netpollgoready(gp, 0)
		return
	}
	dewPump.fed = true
	systemstack(func() { dewReadyHere(gp) })
}

// dewReadyHere is ready (proc.go) without waking a P.
func dewReadyHere(gp *g) {
	mp := acquirem()
	trace := traceAcquire()
	casgstatus(gp, _Gwaiting, _Grunnable)
	if trace.ok() {
		trace.GoUnpark(gp, 0)
		traceRelease(trace)
	}
	runqput(mp.p.ptr(), gp, true)
	releasem(mp)
}

// dew_share is called by the pump when it goes on after it may have woken a
// goroutine: another P may run it meanwhile.
//
//go:linkname dew_share
func dew_share() {
	if dewPump.fed && !dewPump.shared {
		dewPump.shared = true
		systemstack(func() { wakep() })
	}
}

// dewHostPoll has the pollDesc of each of the tender's descriptors that the
// library OS waits on, by event tag.
var dewHostPoll [dewPollControl + 1]*pollDesc

// dewEvent takes one event of the tender's epoll.
func dewEvent(ev *linux.EpollEvent, delay int64, toRun *gList) int32 {
	tag := *(*uint64)(unsafe.Pointer(&ev.Data))
	if tag == dewPollWake {
		if delay != 0 { // as in netpoll: only a blocking poll takes the wake-up
			var one uint64
			read(dewFDWake, noescape(unsafe.Pointer(&one)), int32(unsafe.Sizeof(one)))
			netpollWakeSig.Store(0)
		}
		return 0
	}
	if tag < uint64(len(dewHostPoll)) {
		if pd := dewHostPoll[tag]; pd != nil {
			return netpollready(toRun, pd, 'r')
		}
	}
	return 0
}

// dewMonitor is sysmon's own.
var dewMonitor struct {
	ticks uint32 // schedtick of all Ps together, when it looked last
	quiet int    // looks in a row in which nothing had run
}

// dewMonitorDelay is how many us sysmon sleeps between two looks: preemption
// after 10 ms is what needs it most.
func dewMonitorDelay(delay uint32) uint32 {
	if dewGuest {
		return max(delay, 2500)
	}
	return delay
}

// dewMayRest tells whether sysmon may sleep until it is woken: when all Ps are
// idle it looks on for some 50 ms, so that steady traffic need not wake it for
// each request.
func dewMayRest() bool {
	if !dewGuest || sched.gcwaiting.Load() {
		return true
	}
	ticks := uint32(0)
	lock(&allpLock)
	for _, pp := range allp {
		ticks += pp.schedtick
	}
	unlock(&allpLock)
	if ticks != dewMonitor.ticks {
		dewMonitor.ticks, dewMonitor.quiet = ticks, 0
	} else {
		dewMonitor.quiet++
	}
	return dewMonitor.quiet >= 20
}

// dewWakeMonitor is called when a thread that slept in the poller has got an
// event, as entersyscall_sysmon is elsewhere.
func dewWakeMonitor() {
	if !sched.sysmonwait.Load() {
		return
	}
	lock(&sched.lock)
	if sched.sysmonwait.Load() {
		sched.sysmonwait.Store(false)
		notewakeup(&sched.sysmonnote)
	}
	unlock(&sched.lock)
}

// dew_hostPollOpen prepares waiting for events with this tag.
//
//go:linkname dew_hostPollOpen
func dew_hostPollOpen(tag uint32) {
	netpollGenericInit()
	pd := pollcache.alloc()
	lock(&pd.lock)
	if pd.fdseq.Load() == 0 {
		pd.fdseq.Store(1)
	}
	pd.closing = false
	pd.setEventErr(false, 0)
	pd.rseq++
	pd.rg.Store(pdNil)
	pd.rd = 0
	pd.wseq++
	pd.wg.Store(pdNil)
	pd.wd = 0
	pd.self = pd
	pd.publishInfo()
	unlock(&pd.lock)
	dewHostPoll[tag] = pd
	if tag == dewPollPacket {
		dewPump.g.set(getg())
	}
	// Waiting for the tender or for packets must not keep a program alive whose
	// own goroutines all wait for ever: it is not counted as waiting for the
	// poller. Whoever waits for what comes that way is: see dew_waiting.
	netpollAdjustWaiters(-1)
}

// dew_waiting counts goroutines, by +1 and -1, that wait where an ordinary
// process would sit in a system call: while there is one the program is not
// deadlocked, and threads without work wait in the poller.
//
//go:linkname dew_waiting
func dew_waiting(delta int32) { netpollAdjustWaiters(delta) }

// dewAwaitSignals runs when the program asks for signals the first time.
func dewAwaitSignals() {
	if dewGuest {
		netpollAdjustWaiters(1)
		netpollBreak() // whoever decided to sleep without polling decides anew
	}
}

// dew_goSystem starts a goroutine that counts as one of the runtime's own: in
// no program's NumGoroutine, stack dump or deadlock.
//
//go:linkname dew_goSystem
func dew_goSystem(f func()) { go dewSystem(f) }

func dewSystem(f func()) { f() }

// dewMainHook is called when the program's main begins.
var dewMainHook func()

//go:linkname dew_setMainHook
func dew_setMainHook(f func()) { dewMainHook = f }

func dewMain() {
	if dewMainHook != nil {
		dewMainHook()
	}
}

// dew_runtimeStart is the monotonic time at which the runtime was ready.
//
//go:linkname dew_runtimeStart
func dew_runtimeStart() int64 { return runtimeInitTime }

// dew_profiling tells whether a CPU profile is being taken.
//
//go:linkname dew_profiling
func dew_profiling() bool {
	lock(&cpuprof.lock)
	on := cpuprof.on || cpuprof.log != nil
	unlock(&cpuprof.lock)
	return on
}

// dew_readProfile waits for samples and returns them in the runtime's own
// format (profbuf.go); eof after the profile was stopped and all is read.
//
//go:linkname dew_readProfile
func dew_readProfile() (samples []uint64, eof bool) {
	samples, _, eof = runtime_pprof_readProfile()
	return samples, eof
}

// dew_hostPollReset forgets an event that was seen. Its caller then reads
// until the descriptor has no more, and only then waits: an event that comes
// in between is not lost.
//
//go:linkname dew_hostPollReset
func dew_hostPollReset(tag uint32) {
	dewHostPoll[tag].rg.Store(pdNil)
	if tag == dewPollPacket {
		dewPump.fed, dewPump.shared = false, false
	}
}

// dew_hostPollWait parks the goroutine until the next event with this tag.
//
//go:linkname dew_hostPollWait
func dew_hostPollWait(tag uint32) {
	for !netpollblock(dewHostPoll[tag], 'r', false) {
	}
}

// dew_onStack tells whether p points into the calling goroutine's stack, which
// moves when it grows.
//
//go:linkname dew_onStack
func dew_onStack(p unsafe.Pointer) bool {
	gp := getg()
	return gp.stack.lo <= uintptr(p) && uintptr(p) < gp.stack.hi
}

// dew_signal delivers a signal to the program as os/signal would see it. It
// returns false when the program did not ask for it: the default action is the
// caller's.
//
//go:linkname dew_signal
func dew_signal(sig uint32) bool { return sigsend(sig) }

// dew_signalIgnored tells whether the program ignores the signal.
//
//go:linkname dew_signalIgnored
func dew_signalIgnored(sig uint32) bool { return signal_ignored(sig) }

// dew_memoryInUse is how many bytes the runtime has from the tender and uses.
//
//go:linkname dew_memoryInUse
func dew_memoryInUse() uint64 { return gcController.mappedReady.Load() }

// dew_cpuTime is how long the program's Ps were busy, in ns: what a guest has
// for getrusage(2), which is not among its calls.
//
//go:linkname dew_cpuTime
func dew_cpuTime() int64 {
	now := nanotime()
	lock(&sched.lock)
	busy := sched.totaltime + (now-sched.procresizetime)*int64(gomaxprocs) - sched.idleTime.Load()
	for pp := sched.pidle.ptr(); pp != nil; pp = pp.link.ptr() {
		if s := limiterEventStamp(pp.limiterEvent.stamp.Load()); s.typ() == limiterEventIdle {
			busy -= s.duration(now)
		}
	}
	unlock(&sched.lock)
	return max(busy, 0)
}
