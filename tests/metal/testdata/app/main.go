// Program app does what its first argument says and prints what came of it.
package main

import (
	"fmt"
	"math"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

type pair struct{ a, b int }

//go:noinline
func second(p *pair) int { return p.b }

//go:noinline
func divide(a, b int) int { return a / b }

func try(name string, f func()) {
	defer func() { fmt.Printf("%s: %v\n", name, recover()) }()
	f()
}

var stories = map[string]func(){
	"hello":    func() { fmt.Println("hello", os.Args[2:], os.Getenv("GREETING"), runtime.NumCPU()) },
	"echo":     echo,
	"term":     term,
	"spin":     spin,
	"exit":     func() { os.Exit(42) },
	"faults":   faults,
	"schedule": schedule,
	"float":    float,
	"memory":   memory,
	"exhaust":  exhaust,
	"wild":     func() { syscall.RawSyscall(syscall.SYS_PTRACE, 0, 0, 0); raw(41, 0, 0, 0) },
	"crash":    func() { debug.SetTraceback("crash"); second(nil) },
	"stderr":   func() { fmt.Fprintln(os.Stderr, "to stderr"); fmt.Println("to stdout") },
	"log":      func() { fmt.Println(string(make([]byte, 300000))) },
	"clock":    clock,
	"idle":     func() { fmt.Println("idle"); time.Sleep(time.Second); fmt.Println("done") },
}

func main() { stories[os.Args[1]]() }

// clock tells how long a sleep was by the time stamp counter; a timer chip ends it.
func clock() {
	begun := time.Now()
	time.Sleep(200 * time.Millisecond)
	fmt.Println(int64(time.Since(begun)), time.Now().UnixMilli())
}

func term() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM)
	fmt.Println("ready")
	fmt.Println(<-c)
}

// spin works until it is told to end; the loop has no call in which it could be preempted.
func spin() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM)
	fmt.Println("ready")
	go hotLoop()
	<-c
}

//go:noinline
func hotLoop() {
	for i := uint64(1); i != 0; i++ {
	}
}

func faults() {
	try("nil", func() { second(nil) })
	try("divide", func() { divide(1, 0) })
	try("wild", func() {
		debug.SetPanicOnFault(true)
		second((*pair)(unsafe.Add(nil, 0x700000000000+8*len(os.Args))))
	})
	try("text", func() {
		debug.SetPanicOnFault(true)
		f := divide
		**(**byte)(unsafe.Pointer(&f)) = 0
	})
	for range 2000 {
		func() {
			defer func() { recover() }()
			second(nil)
		}()
	}
	fmt.Println("survived")
}

// schedule: goroutines, locked threads, and a tight loop that must be preempted.
func schedule() {
	c := make(chan int)
	var all sync.WaitGroup
	for i := range 10000 {
		all.Go(func() { c <- i })
	}
	go func() { all.Wait(); close(c) }()
	sum := 0
	for v := range c {
		sum += v
	}
	fmt.Println("sum", sum)
	var turns atomic.Int64
	for range 8 {
		all.Go(func() {
			runtime.LockOSThread()
			for range 50 {
				turns.Add(1)
				runtime.Gosched()
			}
		})
	}
	all.Wait()
	fmt.Println("turns", turns.Load())
	for range runtime.GOMAXPROCS(0) {
		go func() {
			for {
			}
		}()
	}
	begin := time.Now()
	time.Sleep(50 * time.Millisecond)
	runtime.GC()
	fmt.Println("preempted", time.Since(begin) >= 50*time.Millisecond)
}

func sines(n int) (s float64) {
	for i := range n {
		s += math.Sin(float64(i)) * math.Sqrt(float64(i))
	}
	return s
}

// float: FPU state survives preemption on threads of their own.
func float() {
	want := sines(100000)
	var bad atomic.Int64
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			runtime.LockOSThread()
			for range 5 {
				if sines(100000) != want {
					bad.Add(1)
				}
			}
		})
	}
	all.Wait()
	fmt.Println("wrong", bad.Load())
}

// memory: more than the machine has, but not at once.
func memory() {
	for range 4 {
		b := make([]byte, 64<<20)
		for i := 0; i < len(b); i += 4096 {
			if b[i] != 0 {
				fmt.Println("dirty memory")
			}
			b[i] = 1
		}
		b = nil
		debug.FreeOSMemory()
	}
	fmt.Println("enough")
}

func exhaust() {
	debug.SetMemoryLimit(math.MaxInt64)
	var keep [][]byte
	for {
		b := make([]byte, 1<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		keep = append(keep, b)
	}
}
