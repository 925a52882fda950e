package main

import (
	"fmt"
	"log"
	"net"
	"syscall"
	"time"
)

// waits are what main does in place of serving.
var waits = map[string]func(){"stuck": stuck, "call": call, "epoll": epoll}

// stuck waits for ever, with a network that has been used and a port on which
// nobody accepts.
func stuck() {
	if _, err := net.Listen("tcp", ":8080"); err != nil {
		log.Fatal(err)
	}
	c, err := net.Dial("udp", "127.0.0.1:9")
	if err != nil {
		log.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(time.Millisecond))
	c.Read(make([]byte, 1))
	c.Close()
	fmt.Println("ready")
	<-make(chan int)
}

// boundSocket is a UDP socket that blocks.
func boundSocket() int {
	s, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err == nil {
		err = syscall.Bind(s, &syscall.SockaddrInet4{Port: 9999})
	}
	if err != nil {
		log.Fatal(err)
	}
	return s
}

// call waits in a system call, of which package runtime knows nothing.
func call() {
	s := boundSocket()
	fmt.Println("ready")
	b := make([]byte, 100)
	n, err := syscall.Read(s, b)
	fmt.Println(string(b[:max(n, 0)]), err)
}

func epoll() {
	s := boundSocket()
	p, err := syscall.EpollCreate1(0)
	if err == nil {
		err = syscall.EpollCtl(p, syscall.EPOLL_CTL_ADD, s, &syscall.EpollEvent{Events: syscall.EPOLLIN})
	}
	fmt.Println("ready")
	events := make([]syscall.EpollEvent, 1)
	n, err2 := syscall.EpollWait(p, events, -1)
	fmt.Println(n, err, err2)
}
