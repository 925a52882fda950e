// Package control frames the messages between a tender and its guest on
// abi.FDControl: signals and questions inwards, answers, marks of the boot
// timeline and last words outwards. The program in the guest has no part in it
// and no port is opened.
//
// A frame is a header of HeaderSize bytes, little endian {u16 kind, u16 flags,
// u32 id, u32 length}, and length bytes of payload, at most MaxPayload. The
// tender trusts no guest frame: Reader refuses a longer one before it reads
// it, and a guest that sends one is cut off from its control channel. A longer
// answer is sent as several Reply frames with FlagMore on all but the last,
// all with the id of the question. Questions may be in flight together.
//
// Nothing on this channel may be needed for the guest to go on: a full or
// closed channel drops outgoing frames.
package control
