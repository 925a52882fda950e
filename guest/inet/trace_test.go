package inet

import (
	"fmt"
	"strings"

	"github.com/dewpaas/dew/guest/packet"
)

// show describes a frame in a line, for the trace of a failed test.
func show(frame []byte) string {
	var p packet.Packet
	if !packet.Open(frame, &p) {
		return "malformed"
	}
	if p.IP.Protocol() != packet.ProtoTCP {
		return fmt.Sprintf("proto %d, %d bytes", p.IP.Protocol(), len(p.Payload))
	}
	b := packet.TCP(p.Payload)
	var o packet.Options
	b.Options(&o)
	names := ""
	for i, n := range []string{"F", "S", "R", "P", "."} {
		if b.Flags().Has(1 << i) {
			names += n
		}
	}
	var blocks []string
	for _, s := range o.Blocks[:o.NumBlocks] {
		blocks = append(blocks, fmt.Sprintf("%d-%d", s.Start, s.End))
	}
	return fmt.Sprintf("%s seq %d:%d ack %d win %d sack [%s]", names, b.Seq(), b.Seq()+uint32(len(b.Payload())), b.Ack(), b.Window(),
		strings.Join(blocks, " "))
}
