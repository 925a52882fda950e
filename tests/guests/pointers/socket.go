package main

import (
	_ "net" // links the sockets of IPv4 in
	"unsafe"

	"golang.org/x/sys/unix"
)

// overSockets blocks in the receiving calls of x/sys on UDP and TCP sockets of
// the loopback, with all that they fill in on the stack: bytes, pieces,
// addresses, control messages, lengths, options.
func overSockets(a, b byte) bool {
	return overUDP(a, b) && overTCP(a, b)
}

// udpSocket is bound to a port of the loopback, whose address it returns.
func udpSocket() (fd int, addr unix.Sockaddr, ok bool) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return -1, nil, false
	}
	err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	if err == nil {
		addr, err = unix.Getsockname(fd)
	}
	return fd, addr, err == nil
}

func overUDP(a, b byte) bool {
	to, addr, ok := udpSocket()
	defer unix.Close(to)
	from, sender, ok2 := udpSocket()
	defer unix.Close(from)
	if !ok || !ok2 || unix.SetsockoptInt(to, unix.IPPROTO_IP, unix.IP_PKTINFO, 1) != nil {
		return false
	}
	again := unix.Timeval{Usec: 200_000} // datagrams get lost: thousands are sent at once
	if unix.SetsockoptTimeval(to, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &again) != nil {
		return false
	}
	send := func() {
		go deep(40, func() {
			var buf [size]byte
			fill(&buf, a, b)
			unix.Sendto(from, buf[:], 0, addr)
		})
	}
	port := sender.(*unix.SockaddrInet4).Port
	return receiveDatagram(to, port, a, b, send) && receiveControlled(to, port, a, b, send)
}

func receiveDatagram(fd, port int, a, b byte, send func()) bool {
	var buf [size]byte
	n, from, err := 0, unix.Sockaddr(nil), error(unix.EAGAIN)
	for err == unix.EAGAIN {
		send()
		n, from, err = unix.Recvfrom(fd, buf[:], 0)
	}
	if err != nil || n != size || !check(&buf, a, b) {
		return false
	}
	sa, ok := from.(*unix.SockaddrInet4)
	return ok && sa.Port == port && sa.Addr == [4]byte{127, 0, 0, 1}
}

// receiveControlled has two pieces, a control message and an address.
func receiveControlled(fd, port int, a, b byte, send func()) bool {
	var buf [size]byte
	var oob [64]byte
	n, oobn, from, err := 0, 0, unix.Sockaddr(nil), error(unix.EAGAIN)
	for err == unix.EAGAIN {
		send()
		n, oobn, _, from, err = unix.RecvmsgBuffers(fd, [][]byte{buf[:31], buf[31:]}, oob[:], 0)
	}
	if err != nil || n != size || !check(&buf, a, b) {
		return false
	}
	if sa, ok := from.(*unix.SockaddrInet4); !ok || sa.Port != port {
		return false
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	return err == nil && len(messages) == 1 && messages[0].Header.Type == unix.IP_PKTINFO
}

func overTCP(a, b byte) bool {
	l, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return false
	}
	defer unix.Close(l)
	if unix.Bind(l, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}) != nil || unix.Listen(l, 1) != nil {
		return false
	}
	addr, err := unix.Getsockname(l)
	if err != nil {
		return false
	}
	go deep(40, func() { connectAndSend(addr, a, b) })
	c, peer, err := unix.Accept4(l, unix.SOCK_CLOEXEC)
	if err != nil {
		return false
	}
	defer unix.Close(c)
	if sa, ok := peer.(*unix.SockaddrInet4); !ok || sa.Addr != [4]byte{127, 0, 0, 1} {
		return false
	}
	var buf [size]byte
	n, _, err := unix.Recvfrom(c, buf[:], unix.MSG_WAITALL)
	return err == nil && n == size && check(&buf, a, b) && options(c)
}

// connectAndSend sends in two steps, so that the receiver blocks twice.
func connectAndSend(addr unix.Sockaddr, a, b byte) {
	c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return
	}
	defer unix.Close(c)
	if unix.Connect(c, addr) != nil {
		return
	}
	var buf [size]byte
	fill(&buf, a, b)
	unix.Write(c, buf[:50])
	deep(20, func() { unix.Write(c, buf[50:]) })
	var end [1]byte
	unix.Read(c, end[:]) // until the other end has closed
}

// options reads an int and a structure into the stack.
func options(fd int) bool {
	typ, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || typ != unix.SOCK_STREAM {
		return false
	}
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	return err == nil && info.State == 1 && unsafe.Sizeof(*info) > 100
}
