#include "textflag.h"

// func spawn(args *cloneArgs, size uintptr, script *call, n uintptr) (pid, errno uintptr)
//
// clone3, and in the child the calls of the script, in order. The child shares
// memory and stack pointer with its parent, which the kernel suspends
// (CLONE_VFORK): it must not push, and keeps all in registers that the kernel
// preserves. Offsets are those of type call.
TEXT ·spawn(SB),NOSPLIT|NOFRAME,$0-48
	MOVQ	args+0(FP), DI
	MOVQ	size+8(FP), SI
	MOVQ	script+16(FP), R12
	MOVQ	n+24(FP), R13
	MOVQ	$435, AX	// SYS_CLONE3
	SYSCALL
	CMPQ	AX, $0xfffffffffffff001
	JCC	failed
	TESTQ	AX, AX
	JZ	child
	MOVQ	AX, pid+32(FP)
	MOVQ	$0, errno+40(FP)
	RET
failed:
	NEGQ	AX
	MOVQ	$0, pid+32(FP)
	MOVQ	AX, errno+40(FP)
	RET

child:
	TESTQ	R13, R13
	JZ	end
	MOVQ	0(R12), AX
	MOVQ	8(R12), DI
	MOVQ	16(R12), SI
	MOVQ	24(R12), DX
	MOVQ	32(R12), R10
	MOVQ	40(R12), R8
	MOVQ	48(R12), R9
	SYSCALL
	MOVQ	AX, 56(R12)
	CMPQ	AX, $0xfffffffffffff001
	JCC	end
	ADDQ	$64, R12
	DECQ	R13
	JMP	child
end:
	MOVQ	$231, AX	// SYS_EXIT_GROUP
	MOVQ	$127, DI
	SYSCALL
	INT	$3
	JMP	end
