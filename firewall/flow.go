package firewall

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dewpaas/dew/cf"
	"github.com/dewpaas/dew/firewall/netlink"
	"github.com/dewpaas/dew/firewall/nflog"
)

// Flow is a connection that was denied, or allowed by a rule that says to log.
type Flow struct {
	Time             time.Time
	Allowed          bool
	From, To         *cf.Endpoint // nil where it is no instance
	Src, Dst         netip.Addr
	Protocol         string // tcp, udp, icmp, or "protocol N"
	SrcPort, DstPort uint16
	Type, Code       uint8
	Rule             string // that decided, as in Answer
}

// Flows calls f for each connection that the rules log, until the context is
// done. The kernel hands out at most five a second and source address, after a
// burst of twenty. f runs in the caller's goroutine; while it does, up to some
// thousand flows wait and the rest is lost.
func (w *Wall) Flows(ctx context.Context, f func(Flow)) error {
	l, err := w.listen()
	if err != nil {
		return err
	}
	return l.run(ctx, f)
}

// flowListener hears the flow log from when it is made.
type flowListener struct {
	wall *Wall
	log  *nflog.Listener
}

func (w *Wall) listen() (*flowListener, error) {
	l, err := nflog.Listen(w.in, LogGroup, Snaplen)
	if err != nil {
		return nil, fmt.Errorf("read the flow log: %w", err)
	}
	return &flowListener{w, l}, nil
}

func (l *flowListener) run(ctx context.Context, f func(Flow)) error {
	defer l.log.Close()
	defer context.AfterFunc(ctx, func() { l.log.Close() })()
	for {
		err := l.log.Receive(func(p nflog.Packet) {
			if flow, ok := l.wall.flow(p); ok {
				f(flow)
			}
		})
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, netlink.ErrMalformed):
			// One datagram is lost; the next is another.
		default:
			return fmt.Errorf("read the flow log: %w", err)
		}
	}
}

// flow finds out whose packet was logged. The rule is that of the present
// topology, which may be a little newer than the packet.
func (w *Wall) flow(p nflog.Packet) (Flow, bool) {
	h, err := nflog.Parse(p.Payload)
	if err != nil {
		return Flow{}, false
	}
	f := Flow{Time: p.Time, Allowed: p.Prefix == logAllow, Src: h.Src, Dst: h.Dst, Protocol: protocolName(h.Protocol),
		SrcPort: h.SrcPort, DstPort: h.DstPort, Type: h.Type, Code: h.Code}
	if f.Time.IsZero() {
		f.Time = time.Now()
	}
	n := uint32(h.DstPort)
	if h.Protocol == protoICMP {
		n = uint32(h.Type)<<8 | uint32(h.Code)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.plan == nil {
		return Flow{}, false
	}
	from, to := w.plan.at(number(h.Src)), w.plan.at(number(h.Dst))
	f.From, f.To = from.endpoint, to.endpoint
	f.Rule = w.plan.answer(from, to, h.Protocol, n).Rule
	return f, true
}

// lager is a line of Cloud Foundry's iptables-logger.
type lager struct {
	Timestamp string    `json:"timestamp"`
	Source    string    `json:"source"`
	Message   string    `json:"message"`
	Level     int       `json:"log_level"`
	Data      lagerData `json:"data"`
}

type lagerData struct {
	Packet      lagerPacket `json:"packet"`
	Source      *lagerEnd   `json:"source,omitempty"`
	Destination *lagerEnd   `json:"destination,omitempty"`
	Rule        string      `json:"rule"`
}

type lagerPacket struct {
	Direction string     `json:"direction"`
	Allowed   bool       `json:"allowed"`
	Src       netip.Addr `json:"src_ip"`
	Dst       netip.Addr `json:"dst_ip"`
	SrcPort   uint16     `json:"src_port"`
	DstPort   uint16     `json:"dst_port"`
	Protocol  string     `json:"protocol"`
	Mark      string     `json:"mark"`
	ICMPType  uint8      `json:"icmp_type"`
	ICMPCode  uint8      `json:"icmp_code"`
}

type lagerEnd struct {
	Container string `json:"container_id"`
	App       string `json:"app_guid"`
	Space     string `json:"space_guid"`
	Org       string `json:"organization_guid"`
}

// JSON is the line that Cloud Foundry's iptables-logger writes for such a
// packet, and in it the rule that decided. Between instances the direction is
// ingress, as there.
func (f Flow) JSON() string {
	direction, word := "egress", "denied"
	if f.To != nil {
		direction = "ingress"
	}
	if f.Allowed {
		word = "allowed"
	}
	line, _ := json.Marshal(lager{
		Timestamp: fmt.Sprintf("%d.%09d", f.Time.Unix(), f.Time.Nanosecond()), Source: "cfnetworking.iptables", Message: "cfnetworking.iptables." + direction + "-" + word, Level: 1,
		Data: lagerData{Source: lagerOf(f.From), Destination: lagerOf(f.To), Rule: f.Rule,
			Packet: lagerPacket{direction, f.Allowed, f.Src, f.Dst, f.SrcPort, f.DstPort, strings.ToUpper(f.Protocol), "", f.Type, f.Code}},
	}) // of strings and numbers: cannot fail
	return string(line)
}

func lagerOf(e *cf.Endpoint) *lagerEnd {
	if e == nil {
		return nil
	}
	return &lagerEnd{e.GUID, e.AppGUID, e.SpaceGUID, e.OrgGUID}
}

// String is the flow in words, for the log of the app.
func (f Flow) String() string {
	word := "denied"
	if f.Allowed {
		word = "allowed"
	}
	to := f.Dst.String()
	switch {
	case f.Protocol == cf.ICMP:
		to = fmt.Sprintf("%s type %d code %d", to, f.Type, f.Code)
	case f.DstPort != 0:
		to = netip.AddrPortFrom(f.Dst, f.DstPort).String()
	}
	if f.To != nil {
		to += " (" + f.To.AppName + ")"
	}
	return fmt.Sprintf("%s %s from %v to %s: %s", word, f.Protocol, f.Src, to, f.Rule)
}

// Watch repairs the tables as soon as somebody else changes them, and relieves
// the table of connections, until the context is done. It tells report what it
// repaired, in the caller's goroutine.
func (w *Wall) Watch(ctx context.Context, report func(Applied)) error {
	c, err := netlink.Dial(w.in)
	if err != nil {
		return fmt.Errorf("watch the firewall: %w", err)
	}
	defer context.AfterFunc(ctx, func() { c.Close() })()
	defer c.Close()
	if err := c.Join(tablesGroup); err != nil {
		return fmt.Errorf("watch the firewall: %w", err)
	}
	tidied := time.Now()
	for {
		done, err := w.Drift()
		if err != nil {
			return fmt.Errorf("repair the firewall: %w", err)
		}
		if done.Repaired {
			report(done)
		}
		if _, err := w.Relieve(); err != nil {
			return err
		}
		if now := time.Now(); now.Sub(tidied) > tidyTime {
			tidied = now
			if _, err := w.Tidy(); err != nil {
				return err
			}
		}
		err = c.ReceiveWithin(time.Second, func(netlink.Reply) error { return nil })
		switch {
		case err == nil, errors.Is(err, unix.ENOBUFS), errors.Is(err, netlink.ErrMalformed), errors.Is(err, os.ErrDeadlineExceeded):
		case ctx.Err() != nil:
			return nil
		default:
			return fmt.Errorf("watch the firewall: %w", err)
		}
	}
}

// tidyTime is how often Watch looks for connections of instances that left.
const tidyTime = 20 * time.Second

// tablesGroup is the multicast group that hears of every change (NFNLGRP_NFTABLES).
const tablesGroup = 7
