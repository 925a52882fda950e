package inet

import (
	"syscall"
	"testing"
)

// TestBind is the table of who may have an address beside whom (socket(7)).
func TestBind(t *testing.T) {
	const reuse, port, listening = 1, 2, 4
	type one struct {
		ip    [4]byte
		flags int
	}
	for _, c := range []struct {
		first, second one
		want          syscall.Errno
	}{
		{one{anyIP, 0}, one{anyIP, 0}, syscall.EADDRINUSE},
		{one{anyIP, 0}, one{addrA, 0}, syscall.EADDRINUSE},
		{one{loopbackIP, 0}, one{addrA, 0}, 0},
		{one{loopbackIP, listening}, one{addrA, listening}, 0},
		{one{anyIP, reuse}, one{anyIP, 0}, syscall.EADDRINUSE},
		{one{anyIP, reuse}, one{anyIP, reuse}, 0},
		{one{anyIP, reuse | listening}, one{anyIP, reuse}, syscall.EADDRINUSE},
		{one{anyIP, port | listening}, one{anyIP, port | listening}, 0},
		{one{anyIP, port | listening}, one{anyIP, listening}, syscall.EADDRINUSE},
	} {
		w := newWorld(t)
		var err syscall.Errno
		for _, o := range []one{c.first, c.second} {
			e := w.a.NewTCP()
			e.Set(ReuseAddr, o.flags&reuse)
			e.Set(ReusePort, o.flags&port)
			if err = e.Bind(Addr{o.ip, 80}); err == 0 && o.flags&listening != 0 {
				err = e.Listen(1)
			}
		}
		if err != c.want {
			t.Errorf("%+v beside %+v: %v, want %v", c.second, c.first, err, c.want)
		}
	}
}

func TestBindRefuses(t *testing.T) {
	w := newWorld(t)
	e := w.a.NewTCP()
	if err := e.Bind(Addr{addrB, 80}); err != syscall.EADDRNOTAVAIL {
		t.Errorf("an address of another: %v", err)
	}
	e.Bind(Addr{Port: 80})
	if err := e.Bind(Addr{Port: 81}); err != syscall.EINVAL {
		t.Errorf("twice: %v", err)
	}
	u := w.a.NewUDP()
	if err := u.Bind(Addr{Port: 80}); err != 0 {
		t.Errorf("UDP has ports of its own: %v", err)
	}
	// Two listeners want the port that both are bound to.
	a, b := w.a.NewTCP(), w.a.NewTCP()
	for _, x := range []*TCP{a, b} {
		x.Set(ReuseAddr, 1)
		if err := x.Bind(Addr{Port: 90}); err != 0 {
			t.Fatal(err)
		}
	}
	if err := a.Listen(1); err != 0 {
		t.Error(err)
	}
	if err := b.Listen(1); err != syscall.EADDRINUSE {
		t.Errorf("a second listener: %v", err)
	}
}

// TestPortsAreFound until there are none, each once, and in no order.
func TestPortsAreFound(t *testing.T) {
	w := newWorld(t)
	seen := map[uint16]bool{}
	ascending := 0
	last := uint16(0)
	for range 500 {
		e := w.a.NewTCP()
		if err := e.Bind(Addr{}); err != 0 {
			t.Fatal(err)
		}
		p := e.Local().Port
		if p < firstPort || p > lastPort || seen[p] {
			t.Fatalf("port %d", p)
		}
		if p == last+1 {
			ascending++
		}
		seen[p], last = true, p
	}
	if ascending > 50 {
		t.Errorf("%d of 500 ports follow their neighbour", ascending)
	}
	l := w.listen(80, 10)
	for range 50 {
		c, s := w.connect(l)
		if p := c.Local().Port; p < firstPort || p > lastPort || seen[p] {
			t.Fatalf("port %d for a connection", p)
		}
		c.Set(Linger, 0)
		c.Close()
		s.Close()
		w.elapse(1e6)
	}
}

func TestPortsRunOut(t *testing.T) {
	s := hermit(t)
	for port := firstPort; port <= lastPort; port++ {
		if port != 40000 {
			s.udpPorts.add(&binding{Addr: Addr{Port: uint16(port)}})
		}
	}
	u := s.NewUDP()
	if err := u.Bind(Addr{}); err != 0 || u.Local().Port != 40000 {
		t.Errorf("the last one: %v, %v", u.Local(), err)
	}
	if err := s.NewUDP().Bind(Addr{}); err != syscall.EADDRINUSE {
		t.Errorf("one more: %v", err)
	}
}

// TestListenersShare: connections are spread over all of a port.
func TestListenersShare(t *testing.T) {
	w := newWorld(t)
	var ls [3]*TCP
	for i := range ls {
		ls[i] = w.b.NewTCP()
		ls[i].Set(ReusePort, 1)
		ls[i].Bind(Addr{Port: 80})
		ls[i].Listen(100)
	}
	for range 60 {
		c := w.a.NewTCP()
		c.Connect(Addr{addrB, 80})
	}
	w.elapse(1e6)
	for i, l := range ls {
		n := 0
		for _, err := l.Accept(); err == 0; _, err = l.Accept() {
			n++
		}
		if n < 5 {
			t.Errorf("listener %d got %d of 60", i, n)
		}
	}
}

// TestExactListener: the one bound to the address goes before the one bound to any.
func TestExactListener(t *testing.T) {
	w := newWorld(t)
	every, exact := w.b.NewTCP(), w.b.NewTCP()
	for _, x := range []struct {
		t  *TCP
		ip [4]byte
	}{{every, anyIP}, {exact, addrB}} {
		x.t.Set(ReusePort, 1)
		x.t.Bind(Addr{x.ip, 80})
		x.t.Listen(1)
	}
	c := w.a.NewTCP()
	c.Connect(Addr{addrB, 80})
	w.elapse(1e6)
	if _, err := exact.Accept(); err != 0 {
		t.Error(err)
	}
	exact.Close()
	c = w.a.NewTCP()
	c.Connect(Addr{addrB, 80})
	w.elapse(1e6)
	if _, err := every.Accept(); err != 0 {
		t.Error(err)
	}
}

// TestCallsInTheWrongState answer as Linux does.
func TestCallsInTheWrongState(t *testing.T) {
	w := newWorld(t)
	l := w.listen(80, 4)
	e := w.a.NewTCP()
	_, acceptErr := e.Accept()
	_, sendErr := e.Send([]byte("x"), 0)
	_, receiveErr := e.Receive(make([]byte, 1), 0)
	_, peerErr := e.Peer()
	for _, c := range []struct {
		name      string
		got, want syscall.Errno
	}{ // carried out in this order
		{"accept", acceptErr, syscall.EINVAL},
		{"send", sendErr, syscall.EPIPE},
		{"receive", receiveErr, syscall.ENOTCONN},
		{"peer", peerErr, syscall.ENOTCONN},
		{"shutdown", e.Shutdown(syscall.SHUT_WR), syscall.ENOTCONN},
		{"connect to port 0", e.Connect(Addr{addrB, 0}), syscall.ECONNREFUSED},
		{"connect to a group", e.Connect(Addr{[4]byte{224, 1, 1, 1}, 80}), syscall.ENETUNREACH},
		{"connect", e.Connect(Addr{addrB, 80}), syscall.EINPROGRESS},
		{"connect again", e.Connect(Addr{addrB, 80}), syscall.EALREADY},
		{"listen", e.Listen(1), syscall.EINVAL},
		{"bind", e.Bind(Addr{Port: 99}), syscall.EINVAL},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v, want %v", c.name, c.got, c.want)
		}
	}
	w.elapse(1e6)
	l.Accept() // the end of e
	c, s := w.connect(l)
	if err := c.Connect(Addr{addrB, 80}); err != syscall.EISCONN {
		t.Errorf("connect of a connection: %v", err)
	}
	if err := l.Connect(Addr{addrA, 80}); err != syscall.EISCONN {
		t.Errorf("connect of a listener: %v", err)
	}
	if _, err := c.Send([]byte("x"), syscall.MSG_OOB); err != syscall.EOPNOTSUPP {
		t.Errorf("urgent data: %v", err)
	}
	// Used again after it was reset.
	if err := c.Disconnect(); err != 0 {
		t.Error(err)
	}
	w.elapse(1e6)
	if _, err := s.Receive(make([]byte, 1), 0); err != syscall.ECONNRESET {
		t.Errorf("the other end: %v", err)
	}
	if err := c.Connect(Addr{addrB, 80}); err != syscall.EINPROGRESS {
		t.Errorf("connect anew: %v", err)
	}
	w.elapse(1e6)
	if st := c.Info().State; st != 1 {
		t.Errorf("state %d", st)
	}
}
