package cpu

// Features are what the kernel chooses by.
type Features struct {
	XSave        bool
	FSGSBase     bool
	Random       bool
	TSCDeadline  bool
	InvariantTSC bool
	Hypervisor   bool
	Emulated     bool   // by QEMU's TCG
	XSaveSize    uint32 // bytes of the state components in XCR0
	TSCkHz       uint64 // 0: unknown, must be measured
}

// Probe asks CPUID (SDM volume 2, CPUID).
func Probe() Features {
	_, _, c1, _ := ID(1, 0)
	f := Features{
		XSave:       c1&(1<<26) != 0,
		Random:      c1&(1<<30) != 0,
		TSCDeadline: c1&(1<<24) != 0,
		Hypervisor:  c1&(1<<31) != 0,
		XSaveSize:   512,
	}
	top, _, _, _ := ID(0, 0)
	if top >= 7 {
		_, b7, _, _ := ID(7, 0)
		f.FSGSBase = b7&1 != 0
	}
	if f.XSave {
		_, f.XSaveSize, _, _ = ID(0xd, 0)
	}
	if ext, _, _, _ := ID(0x80000000, 0); ext >= 0x80000007 {
		_, _, _, d := ID(0x80000007, 0)
		f.InvariantTSC = d&(1<<8) != 0
	}
	f.TSCkHz = f.tscFromID(top)
	f.Emulated = f.Hypervisor && isTCG()
	return f
}

// isTCG looks for the name that QEMU gives itself where it emulates the CPU: target/i386/cpu.c.
func isTCG() bool {
	_, b, c, d := ID(0x40000000, 0)
	return b == 0x54474354 && c == 0x43544743 && d == 0x47435447 // "TCGTCGTCGTCG"
}

// tscFromID knows two places that tell the frequency: leaf 0x15, and the leaf
// 0x40000010 that VMware began and KVM also fills.
func (f *Features) tscFromID(top uint32) uint64 {
	if f.Hypervisor {
		if last, _, _, _ := ID(0x40000000, 0); last >= 0x40000010 && last < 0x40010000 {
			if khz, _, _, _ := ID(0x40000010, 0); khz != 0 {
				return uint64(khz)
			}
		}
	}
	if top >= 0x15 {
		den, num, hz, _ := ID(0x15, 0)
		if den != 0 && num != 0 && hz != 0 {
			return uint64(hz) * uint64(num) / uint64(den) / 1000
		}
	}
	return 0
}
