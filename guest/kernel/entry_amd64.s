#include "textflag.h"
#include "go_asm.h"

#define MSR_FS_BASE $0xc0000100
#define MSR_GS_BASE $0xc0000101

// The anchor: 16 bytes of magic, the 64-bit entry, and seven pages of which six
// hold the first page tables. stager/pvh looks for it.
DATA ·anchor+0(SB)/8, $"\x7fdew.pvh"
DATA ·anchor+8(SB)/8, $"kernel.1"
DATA ·anchor+16(SB)/8, $·entry(SB)
DATA ·anchor+24(SB)/8, $·bootTables(SB)
GLOBL ·anchor(SB), RODATA, $32

GLOBL ·bootTables(SB), NOPTR, $28672

// func linked() uintptr
TEXT ·linked(SB),NOSPLIT,$0-8
	LEAQ ·anchor(SB), AX
	MOVQ AX, ret+0(FP)
	RET

// entry is where the 32-bit stub jumps: long mode, interrupts off, the first
// 4 GiB mapped at 0 and in the upper half, BX the physical address of the
// start information.
TEXT ·entry(SB),NOSPLIT|NOFRAME,$0
	MOVL $0x10, AX
	MOVW AX, DS
	MOVW AX, ES
	MOVW AX, SS
	MOVL BX, R12
	LEAQ ·cpus(SB), R13
	LEAQ (perCPU_stack+const_stackSize-const_spillRoom)(R13), SP
	ANDQ $~63, SP
	CALL ·unitsOn(SB)
	SUBQ $16, SP
	MOVQ R13, 0(SP)
	CALL ·prepareBoot(SB)
	ADDQ $16, SP
	CALL ·basesOn(SB)
	SUBQ $16, SP
	MOVQ R12, 0(SP)
	CALL ·start(SB)
	MOVQ 8(SP), AX
	JMP ·resume(SB)

// func prepareBoot(c *perCPU)
// It runs before there is a g, so it must not go through a wrapper: the fields
// are those of perCPU.prepare.
TEXT ·prepareBoot(SB),NOSPLIT|NOFRAME,$0-8
	MOVQ c+0(FP), R8
	MOVQ R8, perCPU_self(R8)
	LEAQ perCPU_stack(R8), AX
	MOVQ AX, perCPU_g+0(R8)
	LEAQ const_guard(AX), BX
	MOVQ BX, perCPU_g+16(R8)
	MOVQ BX, perCPU_g+24(R8)
	LEAQ (const_stackSize-const_spillRoom)(AX), BX
	ANDQ $~63, BX
	MOVQ BX, perCPU_g+8(R8)
	MOVQ BX, perCPU_top(R8)
	LEAQ perCPU_g(R8), AX
	MOVQ AX, perCPU_tls(R8)
	LEAQ (perCPU_tls+8)(R8), AX
	MOVQ AX, perCPU_tlsEnd(R8)
	LEAQ perCPU_idle(R8), AX
	MOVQ AX, perCPU_idleAddr(R8)
	MOVQ AX, perCPU_current(R8)
	RET

// processor is where another CPU leaves its trampoline: long mode, interrupts
// off, BX its perCPU, which is prepared.
TEXT ·processor(SB),NOSPLIT|NOFRAME,$0
	MOVL $0x10, AX
	MOVW AX, DS
	MOVW AX, ES
	MOVW AX, SS
	MOVL BX, R13
	MOVQ perCPU_top(R13), SP
	CALL ·unitsOn(SB)
	CALL ·basesOn(SB)
	SUBQ $16, SP
	CALL ·startProcessor(SB)
	MOVQ 0(SP), AX
	JMP ·resume(SB)

// basesOn points GS at the perCPU in R13 and FS at its thread-local storage,
// by MSR since the CPU may yet turn out to be too old for WRFSBASE.
TEXT ·basesOn(SB),NOSPLIT|NOFRAME,$0
	MOVQ R13, AX
	MOVQ AX, DX
	SHRQ $32, DX
	MOVL MSR_GS_BASE, CX
	WRMSR
	MOVQ perCPU_tlsEnd(R13), AX
	MOVQ AX, DX
	SHRQ $32, DX
	MOVL MSR_FS_BASE, CX
	WRMSR
	RET

// unitsOn lets x87, SSE, AVX and WRFSBASE be used as far as the CPU has them.
// It keeps R12 and R13.
TEXT ·unitsOn(SB),NOSPLIT|NOFRAME,$0
	MOVQ CR0, AX
	ANDQ $~0xc, AX          // EM, TS
	ORQ $0x10022, AX        // WP, NE, MP
	MOVQ AX, CR0
	MOVQ CR4, AX
	ORQ $0x600, AX          // OSFXSR, OSXMMEXCPT
	MOVQ AX, CR4
	XORL AX, AX
	CPUID
	CMPL AX, $7
	JB xsave
	MOVL $7, AX
	XORL CX, CX
	CPUID
	BTL $0, BX
	JCC xsave
	MOVQ CR4, AX
	ORQ $0x10000, AX        // FSGSBASE
	MOVQ AX, CR4
xsave:
	MOVL $1, AX
	XORL CX, CX
	CPUID
	BTL $26, CX
	JCC done
	MOVQ CR4, AX
	ORQ $0x40000, AX        // OSXSAVE
	MOVQ AX, CR4
	MOVL $0xd, AX
	XORL CX, CX
	CPUID
	ANDL $0xe7, AX          // x87, SSE, AVX, AVX-512: what Go code uses
	XORL DX, DX
	XORL CX, CX
	XSETBV
	MOVQ $1, ·hasXSave(SB)
done:
	RET

// func self() uint64
TEXT ·self(SB),NOSPLIT,$0-8
	MOVQ perCPU_self(GS), AX
	MOVQ AX, ret+0(FP)
	RET

// func syscallAddr() uint64
TEXT ·syscallAddr(SB),NOSPLIT,$0-8
	LEAQ ·syscallEntry(SB), AX
	MOVQ AX, ret+0(FP)
	RET

// func vectorsAddr() uint64
TEXT ·vectorsAddr(SB),NOSPLIT,$0-8
	LEAQ ·vectors(SB), AX
	MOVQ AX, ret+0(FP)
	RET

// func idleAddr() uint64
TEXT ·idleAddr(SB),NOSPLIT,$0-8
	LEAQ ·idleLoop(SB), AX
	MOVQ AX, ret+0(FP)
	RET

// func processorAddr() uint64
TEXT ·processorAddr(SB),NOSPLIT,$0-8
	LEAQ ·processor(SB), AX
	MOVQ AX, ret+0(FP)
	RET

// func clockAddr() uint64
TEXT ·clockAddr(SB),NOSPLIT,$0-8
	LEAQ ·clockRoutine(SB), AX
	MOVQ AX, ret+0(FP)
	RET

// clockRoutine is __vdso_clock_gettime, called by the System V convention: DI the
// clock, SI the timespec. It runs in the program and touches no stack.
TEXT ·clockRoutine(SB),NOSPLIT|NOFRAME,$0
	RDTSC
	SHLQ $32, DX
	ORQ DX, AX
	SUBQ ·clock+clockData_begin(SB), AX
	MULQ ·clock+clockData_scale(SB)
	SHRQ $32, DX, AX
	CMPL DI, $0             // CLOCK_REALTIME
	JEQ wall
	CMPL DI, $5             // CLOCK_REALTIME_COARSE
	JNE split
wall:
	ADDQ ·clock+clockData_wall(SB), AX
split:
	MOVQ $1000000000, CX
	XORL DX, DX
	DIVQ CX
	MOVQ AX, 0(SI)
	MOVQ DX, 8(SI)
	XORL AX, AX
	RET
