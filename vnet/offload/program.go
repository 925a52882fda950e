package offload

import "github.com/cilium/ebpf/asm"

// licence is that of the program below. The kernel lets only programs under the
// GPL read its memory; this one may be had under either.
const licence = "Dual MIT/GPL"

// Fields of struct __sk_buff, in bytes (linux/bpf.h).
const (
	skbIfindex = 40
	skbGSOSize = 176
)

// Verdicts of a classifier (linux/pkt_cls.h).
const (
	actUnspec = -1 // go on
	actShot   = 2  // drop
)

const (
	checksumPartial = 3 // CHECKSUM_PARTIAL of linux/skbuff.h
	ipHeader        = 20
	ethernet        = 14
	ipProtocol      = ethernet + 9
	tcp, tcpPlace   = 6, 16
	udp, udpPlace   = 17, 6
)

// instructions are, with R6 the packet:
//
//	if the frame is to be cut: refuse segments below MinSegment
//	if its checksum is not left to us: pass
//	the sum must begin behind an IP header without options, and stand where the
//	protocol has it: TCP at 16, UDP at 6
//
// The context of a classifier is the kernel's struct sk_buff; what __sk_buff
// does not show of it is read by its address (bpf_probe_read_kernel).
func instructions(p places, drops int) asm.Instructions {
	read := func(stack int16, size, offset int32) asm.Instructions {
		return asm.Instructions{
			asm.Mov.Reg(asm.R1, asm.RFP), asm.Add.Imm(asm.R1, int32(stack)),
			asm.Mov.Imm(asm.R2, size),
			asm.Mov.Reg(asm.R3, asm.R6), asm.Add.Imm(asm.R3, offset),
			asm.FnProbeReadKernel.Call(),
			asm.JNE.Imm(asm.R0, 0, "checksum"), // cannot be read: cannot be vouched for
		}
	}
	var x asm.Instructions
	add := func(more ...asm.Instruction) { x = append(x, more...) }
	add(asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R1, asm.R6, skbGSOSize, asm.Word),
		asm.JEq.Imm(asm.R1, 0, "whole"),
		asm.JLT.Imm(asm.R1, MinSegment, "segment"),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("whole"))
	add(read(-1, 1, p.summed)...)
	add(asm.LoadMem(asm.R1, asm.RFP, -1, asm.Byte),
		asm.RSh.Imm(asm.R1, p.summedShift),
		asm.And.Imm(asm.R1, p.summedMask),
		asm.JNE.Imm(asm.R1, checksumPartial, "pass"))
	add(read(-8, 4, p.checksumStart)...) // csum_start and csum_offset
	add(read(-10, 2, p.networkHeader)...)
	add(asm.LoadMem(asm.R7, asm.RFP, -8, asm.Half),
		asm.LoadMem(asm.R8, asm.RFP, -6, asm.Half),
		asm.LoadMem(asm.R1, asm.RFP, -10, asm.Half),
		asm.Sub.Reg(asm.R7, asm.R1),
		asm.JNE.Imm(asm.R7, ipHeader, "checksum"),
		asm.Mov.Reg(asm.R1, asm.R6), asm.Mov.Imm(asm.R2, ipProtocol),
		asm.Mov.Reg(asm.R3, asm.RFP), asm.Add.Imm(asm.R3, -16), asm.Mov.Imm(asm.R4, 1),
		asm.FnSkbLoadBytes.Call(),
		asm.JNE.Imm(asm.R0, 0, "checksum"),
		asm.LoadMem(asm.R1, asm.RFP, -16, asm.Byte),
		asm.JEq.Imm(asm.R1, tcp, "tcp"),
		asm.JNE.Imm(asm.R1, udp, "checksum"),
		asm.JEq.Imm(asm.R8, udpPlace, "pass"),
		asm.Ja.Label("checksum"),
		asm.JEq.Imm(asm.R8, tcpPlace, "pass").WithSymbol("tcp"),
		asm.Mov.Imm(asm.R1, int32(ReasonChecksum)).WithSymbol("checksum"),
		asm.Ja.Label("count"),
		asm.Mov.Imm(asm.R1, int32(ReasonSegment)).WithSymbol("segment"))
	add(count(drops)...)
	return append(x,
		asm.Mov.Imm(asm.R0, actShot), asm.Return(),
		asm.Mov.Imm(asm.R0, actUnspec).WithSymbol("pass"), asm.Return())
}

// count counts a frame of this interface under the reason in R1. Two first
// frames at the same moment may count as one.
func count(drops int) asm.Instructions {
	return asm.Instructions{
		asm.StoreMem(asm.RFP, -20, asm.R1, asm.Word).WithSymbol("count"),
		asm.LoadMem(asm.R1, asm.R6, skbIfindex, asm.Word),
		asm.StoreMem(asm.RFP, -24, asm.R1, asm.Word),
		asm.LoadMapPtr(asm.R1, drops),
		asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, -24),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "first"),
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
		asm.Ja.Label("counted"),
		asm.Mov.Imm(asm.R1, 1).WithSymbol("first"),
		asm.StoreMem(asm.RFP, -32, asm.R1, asm.DWord),
		asm.LoadMapPtr(asm.R1, drops),
		asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, -24),
		asm.Mov.Reg(asm.R3, asm.RFP), asm.Add.Imm(asm.R3, -32),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnMapUpdateElem.Call(),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("counted"),
	}
}
