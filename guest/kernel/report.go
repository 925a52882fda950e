package kernel

import (
	"github.com/dewpaas/dew/guest/cpu"
	"github.com/dewpaas/dew/guest/mem"
	"github.com/dewpaas/dew/guest/thread"
)

// The kernel's last words go to the first serial port, byte by byte: it works
// in any state.
const (
	uart       = 0x3f8
	uartStatus = uart + 5
	uartReady  = 1 << 5
	uartWait   = 1 << 16
)

func say(s string) {
	for i := 0; i < len(s); i++ {
		sayByte(s[i])
	}
}

func sayByte(b byte) {
	for range uartWait {
		if cpu.In8(uartStatus)&uartReady != 0 {
			break
		}
	}
	cpu.Out8(uart, b)
}

func sayHex(v uint64) {
	const digits = "0123456789abcdef"
	for i := 60; i >= 0; i -= 4 {
		sayByte(digits[v>>uint(i)&15])
	}
}

func sayDecimal(v uint64) {
	if v >= 10 {
		sayDecimal(v / 10)
	}
	sayByte('0' + byte(v%10))
}

// verdict is why the guest ends; tender/qemu reads it from QEMU's exit status.
type verdict uint32

const (
	exited verdict = iota + 8 // QEMU's own exit statuses are below 2*8+1
	crashed
	memory
	forbidden
	broken
)

// Exit statuses of a guest that the kernel stops, as a shell would name them.
const (
	statusSignal = 128
	statusKernel = 255
)

// fatal says why the guest cannot go on, with the registers of the thread that
// was running, and switches it off.
func (k *kernel) fatal(why string, detail uint64) {
	say("dew: kernel: ")
	say(why)
	say(" ")
	sayHex(detail)
	say("\r\n")
	sayRegs(&here().running().Regs)
	k.powerDown(broken, statusKernel)
}

func (k *kernel) outOfMemory(need uint64) {
	say("dew: out of memory: all of ")
	sayDecimal(k.space.Total * mem.PageSize >> 20)
	say(" MiB are in use, touching ")
	sayHex(need)
	say(". Remedy: raise the memory limit.\r\n")
	k.powerDown(memory, statusSignal+thread.SIGKILL)
}

// nested is a trap inside the kernel: a bug in it, whose frame pointers tell
// where. The thread's registers are those of the kernel now.
func (k *kernel) nested(t *thread.Thread, vector, err, address uint64) {
	say("dew: kernel: exception ")
	sayDecimal(vector)
	say(" inside the kernel, error ")
	sayHex(err)
	say(" address ")
	sayHex(address)
	say("\r\n")
	sayRegs(&t.Regs)
	k.sayCallers(t.RBP)
	k.powerDown(broken, statusKernel)
}

func sayRegs(r *thread.Regs) {
	names := [...]string{"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp",
		"r8 ", "r9 ", "r10", "r11", "r12", "r13", "r14", "r15", "rip", "rfl", "fsb"}
	values := [...]uint64{r.RAX, r.RBX, r.RCX, r.RDX, r.RSI, r.RDI, r.RBP, r.RSP,
		r.R8, r.R9, r.R10, r.R11, r.R12, r.R13, r.R14, r.R15, r.RIP, r.RFlags, r.FSBase}
	for i := range names {
		say(" ")
		say(names[i])
		say("=")
		sayHex(values[i])
		if i%4 == 3 {
			say("\r\n")
		}
	}
	say("\r\n")
}

// sayCallers follows the frame pointers of a kernel stack, each of which must
// lie on it and above the one before.
func (k *kernel) sayCallers(bp uint64) {
	c := here()
	lo := c.top - stackSize
	say(" called from")
	for range 16 {
		if bp < lo || bp > c.top-16 || bp%8 != 0 {
			break
		}
		frame := (*[2]uint64)(at(bp))
		say(" ")
		sayHex(frame[1])
		lo, bp = bp+1, frame[0]
	}
	say("\r\n")
}
