package cpu

import "math/bits"

// Scale turns cycles into nanoseconds as cycles*mul>>32, the way the fake vDSO
// does it in assembly.
type Scale uint64

// NewScale is for a counter of khz; a counter below 1 MHz is not believable.
func NewScale(khz uint64) Scale { return Scale((1000000 << 32) / max(khz, 1000)) }

// Nanoseconds of so many cycles.
func (s Scale) Nanoseconds(cycles uint64) uint64 {
	hi, lo := bits.Mul64(cycles, uint64(s))
	return hi<<32 | lo>>32
}

// Cycles in so many nanoseconds, saturating.
func (s Scale) Cycles(ns uint64) uint64 {
	hi, lo := ns>>32, ns<<32
	if hi >= uint64(s) {
		return 1<<64 - 1
	}
	q, _ := bits.Div64(hi, lo, uint64(s))
	return q
}

const (
	pitHz      = 1193182
	pitData    = 0x40
	pitCommand = 0x43
)

// Measure compares the TSC and the LAPIC's counter with channel 0 of the PIT
// for some milliseconds and returns both frequencies in kHz. A host that takes
// the CPU away meanwhile makes a sample too long, never too short, so the
// shortest of three counts. It returns zeroes where there is no PIT.
func Measure(l LAPIC) (tsc, lapic uint64) {
	for range 3 {
		t, a := measureOnce(l)
		if t == 0 {
			return 0, 0
		}
		if tsc == 0 || t < tsc {
			tsc, lapic = t, a
		}
	}
	return tsc, lapic
}

const (
	sampleTicks = pitHz / 500 // 2 ms
	patience    = 1 << 20     // reads of a PIT that does not count
)

func measureOnce(l LAPIC) (tsc, lapic uint64) {
	Out8(pitCommand, 0x30) // channel 0, low and high byte, mode 0: counts down once
	Out8(pitData, 0xff)
	Out8(pitData, 0xff)
	l.Count(1<<32 - 1)
	begin, first := Cycles(), readPIT()
	for range patience {
		if ticks := uint64(first - readPIT()); ticks >= sampleTicks && ticks < 1<<15 {
			cycles := Cycles() - begin
			counted := uint64(1<<32-1) - uint64(l.Counted())
			l.Count(0)
			return cycles * pitHz / ticks / 1000, counted * pitHz / ticks / 1000
		}
	}
	return 0, 0
}

func readPIT() uint16 {
	Out8(pitCommand, 0) // latch
	lo := uint16(In8(pitData))
	return lo | uint16(In8(pitData))<<8
}
