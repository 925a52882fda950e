#include "textflag.h"

// func In8(port uint16) uint8
TEXT ·In8(SB),NOSPLIT,$0-9
	MOVWLZX port+0(FP), DX
	INB
	MOVB AX, ret+8(FP)
	RET

// func In16(port uint16) uint16
TEXT ·In16(SB),NOSPLIT,$0-10
	MOVWLZX port+0(FP), DX
	INW
	MOVW AX, ret+8(FP)
	RET

// func In32(port uint16) uint32
TEXT ·In32(SB),NOSPLIT,$0-12
	MOVWLZX port+0(FP), DX
	INL
	MOVL AX, ret+8(FP)
	RET

// func Out8(port uint16, v uint8)
TEXT ·Out8(SB),NOSPLIT,$0-3
	MOVWLZX port+0(FP), DX
	MOVB v+2(FP), AX
	OUTB
	RET

// func Out16(port uint16, v uint16)
TEXT ·Out16(SB),NOSPLIT,$0-4
	MOVWLZX port+0(FP), DX
	MOVW v+2(FP), AX
	OUTW
	RET

// func Out32(port uint16, v uint32)
TEXT ·Out32(SB),NOSPLIT,$0-8
	MOVWLZX port+0(FP), DX
	MOVL v+4(FP), AX
	OUTL
	RET

// func Load8(addr uintptr) uint8
TEXT ·Load8(SB),NOSPLIT,$0-9
	MOVQ addr+0(FP), AX
	MOVB (AX), AX
	MOVB AX, ret+8(FP)
	RET

// func Load16(addr uintptr) uint16
TEXT ·Load16(SB),NOSPLIT,$0-10
	MOVQ addr+0(FP), AX
	MOVW (AX), AX
	MOVW AX, ret+8(FP)
	RET

// func Load32(addr uintptr) uint32
TEXT ·Load32(SB),NOSPLIT,$0-12
	MOVQ addr+0(FP), AX
	MOVL (AX), AX
	MOVL AX, ret+8(FP)
	RET

// func Store8(addr uintptr, v uint8)
TEXT ·Store8(SB),NOSPLIT,$0-9
	MOVQ addr+0(FP), AX
	MOVB v+8(FP), BX
	MOVB BX, (AX)
	RET

// func Store16(addr uintptr, v uint16)
TEXT ·Store16(SB),NOSPLIT,$0-10
	MOVQ addr+0(FP), AX
	MOVW v+8(FP), BX
	MOVW BX, (AX)
	RET

// func Store32(addr uintptr, v uint32)
TEXT ·Store32(SB),NOSPLIT,$0-12
	MOVQ addr+0(FP), AX
	MOVL v+8(FP), BX
	MOVL BX, (AX)
	RET

// func Fence()
TEXT ·Fence(SB),NOSPLIT,$0-0
	MFENCE
	RET

// func Cycles() uint64
TEXT ·Cycles(SB),NOSPLIT,$0-8
	RDTSC
	SHLQ $32, DX
	ORQ DX, AX
	MOVQ AX, ret+0(FP)
	RET

// func ID(leaf, sub uint32) (a, b, c, d uint32)
TEXT ·ID(SB),NOSPLIT,$0-24
	MOVL leaf+0(FP), AX
	MOVL sub+4(FP), CX
	CPUID
	MOVL AX, a+8(FP)
	MOVL BX, b+12(FP)
	MOVL CX, c+16(FP)
	MOVL DX, d+20(FP)
	RET

// func Random() (v uint64, ok bool)
TEXT ·Random(SB),NOSPLIT,$0-9
	RDRANDQ AX
	SETCS ok+8(FP)
	MOVQ AX, v+0(FP)
	RET

// func ReadMSR(msr uint32) uint64
TEXT ·ReadMSR(SB),NOSPLIT,$0-16
	MOVL msr+0(FP), CX
	RDMSR
	SHLQ $32, DX
	ORQ DX, AX
	MOVQ AX, ret+8(FP)
	RET

// func WriteMSR(msr uint32, v uint64)
TEXT ·WriteMSR(SB),NOSPLIT,$0-16
	MOVL msr+0(FP), CX
	MOVQ v+8(FP), AX
	MOVQ AX, DX
	SHRQ $32, DX
	WRMSR
	RET

// func SetRoot(phys uint64)
TEXT ·SetRoot(SB),NOSPLIT,$0-8
	MOVQ phys+0(FP), AX
	MOVQ AX, CR3
	RET

// func Root() uint64
TEXT ·Root(SB),NOSPLIT,$0-8
	MOVQ CR3, AX
	MOVQ AX, ret+0(FP)
	RET

// func Forget(addr uint64)
TEXT ·Forget(SB),NOSPLIT,$0-8
	MOVQ addr+0(FP), AX
	INVLPG (AX)
	RET

// func ForgetAll()
TEXT ·ForgetAll(SB),NOSPLIT,$0-0
	MOVQ CR3, AX
	MOVQ AX, CR3
	RET

// func Pause()
TEXT ·Pause(SB),NOSPLIT,$0-0
	PAUSE
	RET

// func Stop()
TEXT ·Stop(SB),NOSPLIT,$0-0
stopped:
	CLI
	HLT
	JMP stopped

// func LoadTables(gdtr, idtr uintptr)
TEXT ·LoadTables(SB),NOSPLIT,$0-16
	MOVQ gdtr+0(FP), AX
	MOVQ idtr+8(FP), BX
	LGDT (AX)
	LIDT (BX)
	MOVL $0x10, CX
	MOVW CX, SS
	MOVW CX, DS
	MOVW CX, ES
	MOVL $0x18, CX
	LTR CX
	RET
