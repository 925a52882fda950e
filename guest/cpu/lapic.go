package cpu

// LAPIC is the address of the local APIC's registers, mapped uncached.
type LAPIC uintptr

// LAPICPhys is where every CPU sees its own: section 10.4.1.
const LAPICPhys = 0xfee00000

// Register offsets, table 10-1.
const (
	lapicID       = 0x20
	lapicEOI      = 0xb0
	lapicSpurious = 0xf0
	lapicCommand  = 0x300
	lapicTarget   = 0x310
	lapicTimer    = 0x320
	lapicInitial  = 0x380
	lapicCurrent  = 0x390
	lapicDivide   = 0x3e0
)

const (
	timerOneShot  = 0
	timerDeadline = 2 << 17
	timerMasked   = 1 << 16
	divideByOne   = 0xb
	commandBusy   = 1 << 12
)

// Enable switches the APIC on. With deadline the timer compares with the TSC,
// else it counts down.
func (l LAPIC) Enable(timerVector, spuriousVector uint32, deadline bool) {
	Store32(uintptr(l)+lapicSpurious, 1<<8|spuriousVector)
	Store32(uintptr(l)+lapicDivide, divideByOne)
	if deadline {
		Store32(uintptr(l)+lapicTimer, timerVector|timerDeadline)
		Fence() // section 10.5.4.1: before the first write of the deadline
		return
	}
	Store32(uintptr(l)+lapicTimer, timerVector|timerOneShot)
}

// ID is the identity of the running CPU.
func (l LAPIC) ID() uint32 { return Load32(uintptr(l)+lapicID) >> 24 }

// Done ends an interrupt.
func (l LAPIC) Done() { Store32(uintptr(l)+lapicEOI, 0) }

// Send interrupts another CPU.
func (l LAPIC) Send(target, vector uint32) { l.command(target, 1<<14|vector) }

// Reset and StartUp begin the life of another CPU at page<<12: section 8.4.4.
func (l LAPIC) Reset(target uint32)         { l.command(target, 0x4500) }
func (l LAPIC) StartUp(target, page uint32) { l.command(target, 0x4600|page) }

func (l LAPIC) command(target, command uint32) {
	for Load32(uintptr(l)+lapicCommand)&commandBusy != 0 {
		Pause()
	}
	Store32(uintptr(l)+lapicTarget, target<<24)
	Store32(uintptr(l)+lapicCommand, command)
}

// Count starts the counting timer; 0 stops it.
func (l LAPIC) Count(n uint32) { Store32(uintptr(l)+lapicInitial, n) }

// Counted tells what is left.
func (l LAPIC) Counted() uint32 { return Load32(uintptr(l) + lapicCurrent) }
