package cpu

import "unsafe"

func addressOf(p *uint32) uintptr { return uintptr(unsafe.Pointer(p)) }
