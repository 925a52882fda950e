#include "textflag.h"

// The instructions of ring 0. In a process each of them is a fault.

// func outB(port uint16, v uint8)
TEXT ·outB(SB),NOSPLIT,$0-3
	MOVW port+0(FP), DX
	MOVB v+2(FP), AX
	OUTB
	RET

// func outW(port uint16, v uint16)
TEXT ·outW(SB),NOSPLIT,$0-4
	MOVW port+0(FP), DX
	MOVW v+2(FP), AX
	OUTW
	RET

// func inB(port uint16) (v uint8)
TEXT ·inB(SB),NOSPLIT,$0-9
	MOVW port+0(FP), DX
	INB
	MOVB AX, v+8(FP)
	RET

// func outL(port uint16, v uint32)
TEXT ·outL(SB),NOSPLIT,$0-8
	MOVW port+0(FP), DX
	MOVL v+4(FP), AX
	OUTL
	RET

// func inL(port uint16) (v uint32)
TEXT ·inL(SB),NOSPLIT,$0-12
	MOVW port+0(FP), DX
	INL
	MOVL AX, v+8(FP)
	RET

// func outString(port uint16, text *byte, n uintptr)
TEXT ·outString(SB),NOSPLIT,$0-24
	MOVW port+0(FP), DX
	MOVQ text+8(FP), SI
	MOVQ n+16(FP), CX
	CLD
	REP; OUTSB
	RET

// func tables() (cr3 uintptr)
TEXT ·tables(SB),NOSPLIT,$0-8
	MOVQ CR3, AX
	MOVQ AX, cr3+0(FP)
	RET

// func loadTables(cr3 uintptr)
TEXT ·loadTables(SB),NOSPLIT,$0-8
	MOVQ cr3+0(FP), AX
	MOVQ AX, CR3
	RET

// func monopolize()
TEXT ·monopolize(SB),NOSPLIT,$0-0
	CLI
forever:
	JMP forever

// func tripleFault()
//
// With an empty interrupt table an exception cannot be delivered, nor the one
// about that.
TEXT ·tripleFault(SB),NOSPLIT,$16-0
	MOVQ $0, 0(SP)
	MOVQ $0, 8(SP)
	LIDT 0(SP)
	UNDEF
	RET

// func load32(at uintptr) (v uint32)
TEXT ·load32(SB),NOSPLIT,$0-12
	MOVQ at+0(FP), AX
	MOVL 0(AX), AX
	MOVL AX, v+8(FP)
	RET

// func store32(at uintptr, v uint32)
TEXT ·store32(SB),NOSPLIT,$0-12
	MOVQ at+0(FP), AX
	MOVL v+8(FP), CX
	MOVL CX, 0(AX)
	RET
