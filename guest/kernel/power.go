package kernel

import (
	"github.com/dewpaas/dew/guest/cpu"
)

const (
	debugExit     = 0xf4 // QEMU's isa-debug-exit: status 2*v+1
	keyboard      = 0x64 // i8042 command port
	pulseReset    = 0xfe
	resetControl  = 0xcf9
	sleepEnable   = 1 << 13
	drainPatience = 500_000_000 // ns that a full log may hold up the end
)

// powerDown tells the tender the program's status and switches the machine
// off, by whatever way it has. It does not return.
func (k *kernel) powerDown(why verdict, status uint32) {
	k.io.lastWords(status)
	cpu.Out32(debugExit, uint32(why))
	if k.powerOff != 0 {
		// SLP_TYP 0 is S5 with QEMU's chipsets; the value is in AML elsewhere.
		cpu.Out16(k.powerOff, sleepEnable)
	}
	cpu.Out8(keyboard, pulseReset)
	cpu.Out8(resetControl, 6)
	cpu.Stop()
}
