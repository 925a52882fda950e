#include "textflag.h"

// func syscall6(number, a, b, c, d, e, f uintptr) (result uintptr)
TEXT ·syscall6(SB),NOSPLIT,$0-64
	MOVQ number+0(FP), AX
	MOVQ a+8(FP), DI
	MOVQ b+16(FP), SI
	MOVQ c+24(FP), DX
	MOVQ d+32(FP), R10
	MOVQ e+40(FP), R8
	MOVQ f+48(FP), R9
	SYSCALL
	MOVQ AX, result+56(FP)
	RET

// func int80(number, a, b, c uintptr) (result uintptr)
//
// The entry for 32-bit programs: other call numbers, pointers below 4 GiB.
TEXT ·int80(SB),NOSPLIT,$0-40
	MOVQ number+0(FP), AX
	MOVQ a+8(FP), BX
	MOVQ b+16(FP), CX
	MOVQ c+24(FP), DX
	INT $0x80
	MOVLQSX AX, AX
	MOVQ AX, result+32(FP)
	RET

// func child(flags uintptr) (pid uintptr)
//
// clone(2) into a child that dies with its parent's thread and else waits: no
// Go code may run in it.
TEXT ·child(SB),NOSPLIT,$0-16
	MOVQ $56, AX // clone
	MOVQ flags+0(FP), DI
	XORQ SI, SI
	XORQ DX, DX
	XORQ R10, R10
	XORQ R8, R8
	SYSCALL
	TESTQ AX, AX
	JZ   born
	MOVQ AX, pid+8(FP)
	RET
born:
	MOVQ $157, AX // prctl
	MOVQ $1, DI   // PR_SET_PDEATHSIG
	MOVQ $9, SI   // SIGKILL
	SYSCALL
forever:
	MOVQ $34, AX // pause
	SYSCALL
	JMP  forever

// func child3(clone, size uintptr) (pid uintptr)
TEXT ·child3(SB),NOSPLIT,$0-24
	MOVQ $435, AX // clone3
	MOVQ clone+0(FP), DI
	MOVQ size+8(FP), SI
	SYSCALL
	TESTQ AX, AX
	JZ   born
	MOVQ AX, pid+16(FP)
	RET
born:
	MOVQ $157, AX // prctl
	MOVQ $1, DI   // PR_SET_PDEATHSIG
	MOVQ $9, SI   // SIGKILL
	SYSCALL
forever:
	MOVQ $34, AX // pause
	SYSCALL
	JMP  forever
