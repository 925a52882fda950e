package main

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"syscall"
)

// neighbourSteps reach for other processes. The pid is the neighbour's as the
// host knows it: an attacker is assumed to have guessed well.
func neighbourSteps() map[string]step {
	return map[string]step{
		"vm-read":    vmRead,
		"vm-write":   vmWrite,
		"ptrace":     ptrace,
		"steal-file": stealFile,
		"kill":       func(a args) error { return only(try(syscall.SYS_KILL, a.number(0), uintptr(syscall.SIGKILL))) },
		"tgkill": func(a args) error {
			return only(try(syscall.SYS_TGKILL, a.number(0), a.number(0), uintptr(syscall.SIGKILL)))
		},
		"pidfd-kill": pidfdKill,
		"stop":       func(a args) error { return only(try(syscall.SYS_KILL, a.number(0), uintptr(syscall.SIGSTOP))) },
		"fork":       func(args) error { return born(child(uintptr(syscall.SIGCHLD))) },
		"fork3":      func(args) error { return fork3() },
		"user-space": func(args) error { return born(child(uintptr(syscall.SIGCHLD) | syscall.CLONE_NEWUSER)) },
		"enter":      enter,
		"exec": func(a args) error {
			return only(try(syscall.SYS_EXECVE, cString(a.text(0)), pointers(a.text(0)), pointers()))
		},
		"exec-image":    func(args) error { return only(try(sysExecveat, 6, cString(""), pointers("x"), pointers(), 0x1000)) },
		"exec-memory":   execMemory,
		"tcp":           func(a args) error { return connect(syscall.AF_INET, inet(a.number(0)), a.text(1)) },
		"abstract-unix": func(a args) error { return connect(syscall.AF_UNIX, unixAddress(a.text(0)), a.text(1)) },
		"new-link":      newLink,
		"sniff":         sniff,
		"shared-memory": sharedMemory,
		"key":           key,
		"send-file":     sendFile,
	}
}

// span is struct iovec.
type span struct{ at, n uintptr }

func vmRead(a args) error {
	b, at := buffer(len(loot))
	local, remote := &span{at, uintptr(len(b))}, &span{a.number(1), uintptr(len(b))}
	_, err := try(sysVMReadv, a.number(0), address(local), 1, address(remote), 1, 0)
	fmt.Printf("%s\n", b)
	return err
}

func vmWrite(a args) error {
	local, remote := &span{cString(a.text(2)), uintptr(len(a.text(2)))}, &span{a.number(1), uintptr(len(a.text(2)))}
	return only(try(sysVMWritev, a.number(0), address(local), 1, address(remote), 1, 0))
}

// ptrace seizes and peeks, which the thread that seized must do.
func ptrace(a args) error {
	runtime.LockOSThread()
	const attach, peek = 16, 2
	pid := a.number(0)
	if err := only(try(syscall.SYS_PTRACE, attach, pid, 0, 0)); err != nil {
		return err
	}
	call(syscall.SYS_WAIT4, pid, 0, 0x40000000, 0) // __WALL
	var stolen []byte
	v := new(uint64)
	for at := a.number(1); at < a.number(1)+uintptr(len(loot)); at += 8 {
		if err := only(try(syscall.SYS_PTRACE, peek, pid, at, address(v))); err != nil {
			return err
		}
		stolen = binary.LittleEndian.AppendUint64(stolen, *v)
	}
	fmt.Printf("%s\n", stolen)
	return nil
}

// stealFile copies an open descriptor out of another process.
func stealFile(a args) error {
	pidfd, err := try(sysPidfdOpen, a.number(0), 0)
	if err != nil {
		return err
	}
	return show(try(sysPidfdGetfd, pidfd, 6, 0))
}

func pidfdKill(a args) error {
	pidfd, err := try(sysPidfdOpen, a.number(0), 0)
	if err != nil {
		return err
	}
	return only(try(sysPidfdSend, pidfd, uintptr(syscall.SIGKILL), 0, 0))
}

// born judges a clone and stays, since the child goes with its parent.
func born(pid uintptr) error {
	if pid > ^uintptr(4095) {
		return &refusal{syscall.SYS_CLONE, syscall.Errno(-pid)}
	}
	runtime.LockOSThread()
	return hold(nil)
}

// fork3 uses clone3, whose flags are in memory, where a filter cannot look.
// CLONE_VFORK and an address space of its own: the child sleeps in the same
// code, which no Go runtime runs through, and the parent with it.
func fork3() error {
	runtime.LockOSThread()
	const stack = 16 << 10
	_, top := buffer(stack)
	clone := &[11]uint64{4: uint64(syscall.SIGCHLD), 5: uint64(top), 6: stack}
	pid := child3(address(clone), 88)
	if pid > ^uintptr(4095) {
		return &refusal{sysClone3, syscall.Errno(-pid)}
	}
	return hold(nil)
}

// child3 is child by clone3(2).
func child3(clone, size uintptr) (pid uintptr)

// enter joins the network of another process.
func enter(a args) error {
	runtime.LockOSThread()
	pidfd, err := try(sysPidfdOpen, a.number(0), 0)
	if err != nil {
		return err
	}
	if err := only(try(sysSetns, pidfd, syscall.CLONE_NEWNET)); err != nil {
		return err
	}
	return hold(nil)
}

// pointers is a vector of C strings with a null behind it.
func pointers(texts ...string) uintptr {
	v := make([]uintptr, len(texts)+1)
	for i, t := range texts {
		v[i] = cString(t)
	}
	vectors = append(vectors, v)
	return address(&v[0])
}

var vectors [][]uintptr

// execMemory runs the image as a program, from memory. n is its length.
func execMemory(a args) error {
	n := a.number(0)
	image, err := try(syscall.SYS_MMAP, 0, n, syscall.PROT_READ, syscall.MAP_PRIVATE, 6, 0)
	if err != nil {
		return err
	}
	fd, err := try(sysMemfd, cString("x"), 0)
	if err != nil {
		return err
	}
	if err := only(try(syscall.SYS_WRITE, fd, image, n)); err != nil {
		return err
	}
	return only(try(sysExecveat, fd, cString(""), pointers("x"), pointers(), 0x1000))
}

// inet is 127.0.0.1 and a port as struct sockaddr_in.
func inet(port uintptr) []byte {
	return []byte{syscall.AF_INET, 0, byte(port >> 8), byte(port), 127, 0, 0, 1, 15: 0}
}

// unixAddress is an abstract name as struct sockaddr_un.
func unixAddress(name string) []byte { return append([]byte{syscall.AF_UNIX, 0, 0}, name...) }

// connect says a word to whoever listens.
func connect(family uintptr, to []byte, text string) error {
	fd, err := try(syscall.SYS_SOCKET, family, syscall.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	kept = append(kept, to)
	if err := only(try(syscall.SYS_CONNECT, fd, address(&to[0]), uintptr(len(to)))); err != nil {
		return err
	}
	return only(try(syscall.SYS_WRITE, fd, cString(text), uintptr(len(text))))
}

// newLink makes a network interface, a veth pair, through netlink.
func newLink(a args) error {
	fd, err := try(syscall.SYS_SOCKET, syscall.AF_NETLINK, syscall.SOCK_RAW, 0)
	if err != nil {
		return err
	}
	attribute := func(kind uint16, v []byte) []byte {
		b := binary.LittleEndian.AppendUint16(nil, uint16(4+len(v)))
		b = append(binary.LittleEndian.AppendUint16(b, kind), v...)
		return append(b, make([]byte, -len(b)&3)...)
	}
	const iflaName, iflaInfo, infoKind = 3, 18, 1
	body := append(make([]byte, 16), attribute(iflaName, append([]byte(a.text(0)), 0))...)
	body = append(body, attribute(iflaInfo, attribute(infoKind, []byte("veth")))...)
	message := binary.LittleEndian.AppendUint32(nil, uint32(16+len(body)))
	message = binary.LittleEndian.AppendUint16(message, syscall.RTM_NEWLINK)
	message = binary.LittleEndian.AppendUint16(message, syscall.NLM_F_REQUEST|syscall.NLM_F_CREATE|syscall.NLM_F_EXCL|syscall.NLM_F_ACK)
	message = append(append(message, make([]byte, 8)...), body...)
	kept = append(kept, message)
	if err := only(try(syscall.SYS_WRITE, fd, address(&message[0]), uintptr(len(message)))); err != nil {
		return err
	}
	answer, at := buffer(4096)
	if err := only(try(syscall.SYS_READ, fd, at, 4096)); err != nil {
		return err
	}
	if errno := -int32(binary.LittleEndian.Uint32(answer[16:])); errno != 0 {
		return syscall.Errno(errno)
	}
	return hold(nil)
}

// sniff prints what passes on every interface, by a packet socket.
func sniff(args) error {
	const all = 0x0300 // ETH_P_ALL in network order
	fd, err := try(syscall.SYS_SOCKET, syscall.AF_PACKET, syscall.SOCK_RAW, all)
	if err != nil {
		return err
	}
	fmt.Println("listening")
	b, at := buffer(4096)
	for range 200 {
		const dontWait = 0x40 // MSG_DONTWAIT
		if n, err := try(syscall.SYS_RECVFROM, fd, at, 4096, dontWait, 0, 0); err == nil {
			fmt.Printf("%q\n", b[:n])
		}
		rest()
	}
	return nil
}

// sharedMemory reads a System V segment by its key.
func sharedMemory(a args) error {
	id, err := try(syscall.SYS_SHMGET, a.number(0), 0, 0)
	if err != nil {
		return err
	}
	at, err := try(syscall.SYS_SHMAT, id, 0, 0o10000) // SHM_RDONLY
	if err != nil {
		return err
	}
	fmt.Printf("%s\n", memory(at, 64))
	return nil
}

// key reads what the session keyring holds under a name.
func key(a args) error {
	const search, read, session = 10, 11, ^uintptr(2)
	id, err := try(syscall.SYS_KEYCTL, search, session, cString("user"), cString(a.text(0)), 0)
	if err != nil {
		return err
	}
	b, at := buffer(256)
	n, err := try(syscall.SYS_KEYCTL, read, id, at, 256)
	fmt.Printf("%s\n", b[:n])
	return err
}

// sendFile passes one of its descriptors through the control channel.
func sendFile(args) error {
	rights := &[6]uint32{0: 20, 2: syscall.SOL_SOCKET, 3: syscall.SCM_RIGHTS, 4: 0}
	text := &span{cString("x"), 1}
	message := &struct {
		name, nameLen, spans, n, control, controlLen, flags uintptr
	}{spans: address(text), n: 1, control: address(rights), controlLen: 24}
	return only(try(syscall.SYS_SENDMSG, 7, address(message), 0))
}
