#include "textflag.h"
#include "go_asm.h"

// syscallEntry is LSTAR. RCX is where to return, R11 the flags; the X registers
// belong to the callee by Go's convention and are not saved.
TEXT ·syscallEntry(SB),NOSPLIT|NOFRAME,$0
	MOVQ SP, perCPU_userSP(GS)
	MOVQ perCPU_current(GS), SP
	MOVQ AX, const_rRAX(SP)
	MOVQ BX, const_rRBX(SP)
	MOVQ DX, const_rRDX(SP)
	MOVQ SI, const_rRSI(SP)
	MOVQ DI, const_rRDI(SP)
	MOVQ BP, const_rRBP(SP)
	MOVQ R8, const_rR8(SP)
	MOVQ R9, const_rR9(SP)
	MOVQ R10, const_rR10(SP)
	MOVQ R12, const_rR12(SP)
	MOVQ R13, const_rR13(SP)
	MOVQ R14, const_rR14(SP)
	MOVQ R15, const_rR15(SP)
	MOVQ CX, const_rRIP(SP)
	MOVQ R11, const_rRFlags(SP)
	MOVQ perCPU_userSP(GS), CX
	MOVQ CX, const_rRSP(SP)
	MOVQ $0, const_rFull(SP)
	MOVQ $1, perCPU_inKernel(GS)
	MOVQ perCPU_tlsEnd(GS), CX
	WRFSBASEQ CX
	MOVQ SP, AX
	MOVQ perCPU_top(GS), SP
	XORL BP, BP
	SUBQ $16, SP
	MOVQ AX, 0(SP)
	CALL ·onSyscall(SB)
	MOVQ 8(SP), AX
	JMP ·resume(SB)

// trapCommon is called by a vector on an interrupt stack, whose top is aligned
// to 16: the five words that the CPU pushed leave SP at 8 modulo 16, a sixth,
// the error code, at 0.
TEXT ·trapCommon(SB),NOSPLIT|NOFRAME,$0
	PUSHQ AX
	MOVQ perCPU_current(GS), AX
	MOVQ BX, const_rRBX(AX)
	MOVQ CX, const_rRCX(AX)
	MOVQ DX, const_rRDX(AX)
	MOVQ SI, const_rRSI(AX)
	MOVQ DI, const_rRDI(AX)
	MOVQ BP, const_rRBP(AX)
	MOVQ R8, const_rR8(AX)
	MOVQ R9, const_rR9(AX)
	MOVQ R10, const_rR10(AX)
	MOVQ R11, const_rR11(AX)
	MOVQ R12, const_rR12(AX)
	MOVQ R13, const_rR13(AX)
	MOVQ R14, const_rR14(AX)
	MOVQ R15, const_rR15(AX)
	MOVQ AX, R12
	POPQ CX
	MOVQ CX, const_rRAX(R12)
	POPQ BX                 // behind the CALL in vectors
	LEAQ ·vectors(SB), CX
	SUBQ CX, BX
	XORL R13, R13
	MOVQ SP, CX
	TESTQ $8, CX
	JNE noerror
	POPQ R13
noerror:
	POPQ CX
	MOVQ CX, const_rRIP(R12)
	POPQ CX                 // CS
	POPQ CX
	MOVQ CX, const_rRFlags(R12)
	POPQ CX
	MOVQ CX, const_rRSP(R12)
	MOVQ $1, const_rFull(R12)
	MOVQ CR2, R15
	MOVQ perCPU_inKernel(GS), R14
	MOVQ $1, perCPU_inKernel(GS)
	MOVQ perCPU_tlsEnd(GS), CX
	WRFSBASEQ CX
	CMPQ R12, perCPU_idleAddr(GS)
	JEQ saved               // the idle loop has nothing in the FPU
	MOVQ const_rXSave(R12), R9
	CMPQ ·hasXSave(SB), $0
	JEQ old
	MOVL $-1, AX
	MOVL $-1, DX
	XSAVE64 (R9)
	JMP saved
old:
	FXSAVE64 (R9)
saved:
	CLD
	MOVQ perCPU_top(GS), SP
	CMPQ R14, $0
	JEQ outer
	SUBQ $(const_stackSize-const_nestedRoom), SP
outer:
	XORL BP, BP
	SUBQ $48, SP
	MOVQ R12, 0(SP)
	MOVQ BX, 8(SP)
	MOVQ R13, 16(SP)
	MOVQ R15, 24(SP)
	MOVQ R14, 32(SP)
	CALL ·onTrap(SB)
	MOVQ 40(SP), AX
	JMP ·resume(SB)

// resume continues the thread in AX.
TEXT ·resume(SB),NOSPLIT|NOFRAME,$0
	MOVQ AX, perCPU_current(GS)
	MOVQ const_rFSBase(AX), BX
	WRFSBASEQ BX
	MOVQ $0, perCPU_inKernel(GS)
	CMPQ const_rFull(AX), $0
	JEQ quick
	CMPQ AX, perCPU_idleAddr(GS)
	JEQ restored
	MOVQ AX, R8
	MOVQ const_rXSave(AX), R9
	CMPQ ·hasXSave(SB), $0
	JEQ old
	MOVL $-1, AX
	MOVL $-1, DX
	XRSTOR64 (R9)
	MOVQ R8, AX
	JMP restored
old:
	FXRSTOR64 (R9)
restored:
	MOVQ perCPU_top(GS), SP
	PUSHQ $0x10
	PUSHQ const_rRSP(AX)
	PUSHQ const_rRFlags(AX)
	PUSHQ $8
	PUSHQ const_rRIP(AX)
	MOVQ const_rRBX(AX), BX
	MOVQ const_rRCX(AX), CX
	MOVQ const_rRDX(AX), DX
	MOVQ const_rRSI(AX), SI
	MOVQ const_rRDI(AX), DI
	MOVQ const_rRBP(AX), BP
	MOVQ const_rR8(AX), R8
	MOVQ const_rR9(AX), R9
	MOVQ const_rR10(AX), R10
	MOVQ const_rR11(AX), R11
	MOVQ const_rR12(AX), R12
	MOVQ const_rR13(AX), R13
	MOVQ const_rR14(AX), R14
	MOVQ const_rR15(AX), R15
	MOVQ const_rRAX(AX), AX
	IRETQ
quick:
	XORPS X15, X15
	MOVQ const_rRBX(AX), BX
	MOVQ const_rRIP(AX), CX
	MOVQ const_rRDX(AX), DX
	MOVQ const_rRSI(AX), SI
	MOVQ const_rRDI(AX), DI
	MOVQ const_rRBP(AX), BP
	MOVQ const_rR8(AX), R8
	MOVQ const_rR9(AX), R9
	MOVQ const_rR10(AX), R10
	MOVQ const_rR12(AX), R12
	MOVQ const_rR13(AX), R13
	MOVQ const_rR14(AX), R14
	MOVQ const_rR15(AX), R15
	MOVQ const_rRSP(AX), SP
	MOVQ const_rRAX(AX), AX
	STI                     // takes effect behind the jump
	JMP CX

// idleLoop is the program of a CPU that has no thread to run.
TEXT ·idleLoop(SB),NOSPLIT|NOFRAME,$0
again:
	STI
	HLT
	JMP again

// vectors is one CALL of five bytes for each vector: const_vectorStep.
#define V1 CALL ·trapCommon(SB);
#define V4 V1 V1 V1 V1
#define V16 V4 V4 V4 V4
TEXT ·vectors(SB),NOSPLIT|NOFRAME,$0
	V16
	V16
	V16
	V16
	UNDEF
