package control

import (
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/dewpaas/dew/abi/control"
	"github.com/dewpaas/dew/guest/host"
	"github.com/dewpaas/dew/guest/kernel"
)

// answer serves one frame of the tender. Unknown kinds are answered Failed, so
// that a newer tender learns that the guest is older.
func answer(f control.Frame) {
	switch f.Kind {
	case control.Signal:
		if len(f.Payload) >= 4 {
			Deliver(control.U32(f.Payload))
		}
	case control.Stacks:
		reply(f.ID, stacks())
	case control.Heap:
		reply(f.ID, heap())
	case control.CPUStart:
		startProfile(f)
	case control.CPUStop:
		stopProfile(f)
	case control.Metrics:
		reply(f.ID, metrics())
	case control.Disk:
		reply(f.ID, append64(nil, diskUsed()))
	case control.CollectGC:
		runtime.GC()
		reply(f.ID, nil)
	default:
		fail(f.ID, "this guest does not know the question "+strconv.Itoa(int(f.Kind)))
	}
}

// disk counts the bytes that changed files take; nil while no file was touched.
var disk atomic.Pointer[func() uint64]

// CountDisk says who counts the bytes that changed files take.
func CountDisk(f func() uint64) { disk.Store(&f) }

func diskUsed() uint64 {
	if f := disk.Load(); f != nil {
		return (*f)()
	}
	return 0
}

// reply sends an answer in as many frames as it takes.
func reply(id uint32, b []byte) {
	for len(b) > control.MaxPayload {
		if !out.insist(control.Frame{Kind: control.Reply, Flags: control.FlagMore, ID: id, Payload: b[:control.MaxPayload]}) {
			return
		}
		b = b[control.MaxPayload:]
	}
	out.insist(control.Frame{Kind: control.Reply, ID: id, Payload: b})
}

func fail(id uint32, why string) {
	out.insist(control.Frame{Kind: control.Failed, ID: id, Payload: []byte(why)})
}

// maxAnswer bounds an answer, in bytes: a guest must not run out of memory for
// being asked.
const maxAnswer = 8 << 20

// stacks is what a crash would print, cut at maxAnswer.
func stacks() []byte {
	for size := 64 << 10; ; size *= 2 {
		b := make([]byte, size)
		if n := runtime.Stack(b, true); n < size || size >= maxAnswer {
			return b[:n]
		}
	}
}

// heap encodes the heap profile, little endian: u64 sampling rate in bytes,
// then per record u64 allocated and freed bytes, u64 allocated and freed
// objects, u64 number of frames, and that many u64 return addresses.
func heap() []byte {
	records := make([]runtime.MemProfileRecord, 256)
	for {
		n, ok := runtime.MemProfile(records, true)
		if ok {
			records = records[:n]
			break
		}
		records = make([]runtime.MemProfileRecord, n+64)
	}
	b := append64(nil, uint64(runtime.MemProfileRate))
	for i := range records {
		r := &records[i]
		stack := r.Stack()
		if len(b)+40+8*len(stack) > maxAnswer {
			break
		}
		for _, v := range []int64{r.AllocBytes, r.FreeBytes, r.AllocObjects, r.FreeObjects, int64(len(stack))} {
			b = append64(b, uint64(v))
		}
		for _, pc := range stack {
			b = append64(b, uint64(pc))
		}
	}
	return b
}

// metrics are lines "name value" with the names of package runtime/metrics.
func metrics() []byte {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	var b []byte
	for _, v := range []struct {
		name  string
		value uint64
	}{
		{"/sched/goroutines:goroutines", uint64(runtime.NumGoroutine())},
		{"/sched/gomaxprocs:threads", uint64(runtime.GOMAXPROCS(0))},
		{"/memory/classes/total:bytes", m.Sys},
		{"/memory/classes/heap/objects:bytes", m.HeapAlloc},
		{"/memory/classes/heap/released:bytes", m.HeapReleased},
		{"/memory/classes/heap/stacks:bytes", m.StackInuse},
		{"/gc/heap/objects:objects", m.HeapObjects},
		{"/gc/heap/goal:bytes", m.NextGC},
		{"/gc/heap/allocs:bytes", m.TotalAlloc},
		{"/gc/heap/allocs:objects", m.Mallocs},
		{"/gc/heap/frees:objects", m.Frees},
		{"/gc/cycles/total:gc-cycles", uint64(m.NumGC)},
		{"/gc/pauses/total:nanoseconds", m.PauseTotalNs},
		{"/cpu/busy:nanoseconds", uint64(host.CPUTime())},
	} {
		b = append(b, v.name...)
		b = append(b, ' ')
		b = strconv.AppendUint(b, v.value, 10)
		b = append(b, '\n')
	}
	return b
}

// profile is the CPU profile that the tender asked for.
var profile struct {
	mu      sync.Mutex
	running bool
	samples []uint64
	done    chan struct{} // closed when all samples are read
}

// startProfile arms the runtime's handler of SIGPROF; the signals themselves
// come from the process tender or from the ring-0 kernel, so many a second to
// threads that run.
func startProfile(f control.Frame) {
	profile.mu.Lock()
	defer profile.mu.Unlock()
	switch {
	case len(f.Payload) < 4 || control.U32(f.Payload) == 0 || control.U32(f.Payload) > 10000:
		fail(f.ID, "samples a second must be 1 to 10000")
		return
	case profile.running || host.Profiling():
		fail(f.ID, "a CPU profile is being taken already")
		return
	}
	runtime.SetCPUProfileRate(int(control.U32(f.Payload)))
	kernel.SampleEvery(1_000_000_000 / uint64(control.U32(f.Payload)))
	profile.running, profile.samples, profile.done = true, nil, make(chan struct{})
	host.GoSystem(collect)
	reply(f.ID, nil)
}

// collect reads samples until the profile is stopped.
func collect() {
	for {
		samples, eof := host.ReadProfile()
		profile.mu.Lock()
		if len(profile.samples)+len(samples) <= maxAnswer/8 {
			profile.samples = append(profile.samples, samples...)
		}
		profile.mu.Unlock()
		if eof {
			close(profile.done)
			return
		}
	}
}

func stopProfile(f control.Frame) {
	profile.mu.Lock()
	running := profile.running
	profile.mu.Unlock()
	if !running {
		fail(f.ID, "no CPU profile is being taken")
		return
	}
	kernel.SampleEvery(0)
	runtime.SetCPUProfileRate(0)
	<-profile.done
	profile.mu.Lock()
	samples := profile.samples
	profile.running, profile.samples = false, nil
	profile.mu.Unlock()
	var b []byte
	for _, v := range samples {
		b = append64(b, v)
	}
	reply(f.ID, b)
}
