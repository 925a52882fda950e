package main

import (
	"encoding/binary"
	"strings"
	"syscall"
)

// Frames of the control channel, as package abi/control describes them.
const (
	controlFD                              = 7
	kindReply, kindMark, kindReport        = 64, 66, 67
	kindListening                   uint16 = 69
	flagMore                               = 1
)

// controlSteps abuse the channel to the caretaker.
func controlSteps() map[string]step {
	return map[string]step{
		"flood-marks":   func(a args) error { return flood(a, kindMark, "12345678mark") },
		"flood-reports": func(a args) error { return flood(a, kindReport, strings.Repeat("r", 200)) },
		"flood-ports":   func(a args) error { return flood(a, kindListening, "\x90\x1ftcp") },
		"flood-answers": floodAnswers,
		"forge-answer":  func(a args) error { return forgeAnswers(a) },
		"huge-frame":    func(args) error { return say(frameHeader(kindReport, 0, 0, 1<<32-1)) },
		"escape-codes":  func(args) error { return say(frame(kindReport, 0, 0, "\x1b[2J\x1b]0;owned\x07\r\nfake line")) },
		"wrong-clock":   func(args) error { return say(frame(kindMark, 0, 0, "\xff\xff\xff\xff\xff\xff\xff\x7fmark")) },
	}
}

func frameHeader(kind, flags uint16, id, n uint32) []byte {
	b := binary.LittleEndian.AppendUint16(nil, kind)
	b = binary.LittleEndian.AppendUint16(b, flags)
	b = binary.LittleEndian.AppendUint32(b, id)
	return binary.LittleEndian.AppendUint32(b, n)
}

func frame(kind, flags uint16, id uint32, payload string) []byte {
	return append(frameHeader(kind, flags, id, uint32(len(payload))), payload...)
}

// say writes all of b, however slowly it is read.
func say(b []byte) error {
	kept = append(kept, b)
	for len(b) > 0 {
		n, err := try(syscall.SYS_WRITE, controlFD, address(&b[0]), uintptr(len(b)))
		if r, ok := err.(*refusal); ok && r.errno == syscall.EAGAIN {
			rest()
			continue
		}
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// flood says the same so many times.
func flood(a args, kind uint16, payload string) error {
	one := frame(kind, 0, 0, payload)
	many := make([]byte, 0, 64*len(one))
	for range 64 {
		many = append(many, one...)
	}
	for range a.number(0) / 64 {
		if err := say(many); err != nil {
			return err
		}
	}
	return hold(nil)
}

// floodAnswers answers the first question so many MiB long, without an end.
func floodAnswers(a args) error {
	one := frame(kindReply, flagMore, 1, strings.Repeat("a", 64<<10))
	for range a.number(0) << 4 {
		if err := say(one); err != nil {
			return err
		}
	}
	return hold(nil)
}

// forgeAnswers answers questions that nobody has asked yet.
func forgeAnswers(a args) error {
	for id := range uint32(100) {
		if err := say(frame(kindReply, 0, id, a.text(0))); err != nil {
			return err
		}
	}
	return hold(nil)
}
