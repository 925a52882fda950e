package kernel

import "github.com/dewpaas/dew/guest/cpu"

// An emulated CPU (QEMU without KVM) finds memory through a table of
// translations that begins with 256 entries. It doubles when translations are
// forgotten while it is more than 70 % full, and at no other time (QEMU 7.2,
// accel/tcg/cputlb.c, tlb_mmu_resize_locked): made for kernels that change
// address spaces all the time, which ours never does. Left alone a busy server
// misses it 130 times for each request, and a miss is a walk through the tables
// in software. So such a CPU forgets everything now and then: often at first,
// later once in so many entries into the kernel that it costs less than 1 %.
const forgetEvery = 4096

// refresh is called on each entry into the kernel of an emulated CPU.
func (c *perCPU) refresh() {
	c.entries++
	if c.entries%forgetEvery == 0 || c.entries >= 64 && c.entries&(c.entries-1) == 0 {
		cpu.ForgetAll()
	}
}
