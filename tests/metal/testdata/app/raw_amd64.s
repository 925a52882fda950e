#include "textflag.h"

// func raw(number uintptr)
TEXT ·raw(SB),NOSPLIT,$0-8
	MOVQ number+0(FP), AX
	SYSCALL
	RET
