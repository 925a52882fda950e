package breach

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dewpaas/dew/tender"
	"github.com/dewpaas/dew/tender/qemu"
)

// Guards that are QEMU's command line, and how it looks without them.

// fewDevices: the machine has what is named and nothing else. Without the
// guard it has what add names.
func fewDevices(add func(s *scene, args []string) []string) Guard {
	return Guard{Name: "bare machine", What: "no device but console, network card and serial port; no firmware files, no PCI",
		off: func(s *scene) { s.alter = func(args []string) []string { return add(s, args) } }}
}

// ownMemory: the machine's memory is anonymous, zeroed and nobody else's.
// Without the guard it is a file that others have written and can read.
func ownMemory() Guard {
	return Guard{Name: "memory of its own", What: "the guest's memory is anonymous and zeroed, and goes with it",
		off: func(s *scene) { s.alter = s.memoryInFile }}
}

// noReset: a machine that resets is gone.
func noReset() Guard {
	return Guard{Name: "no reset", What: "a machine that resets ends (-no-reboot)", off: func(s *scene) {
		s.alter = func(args []string) []string {
			return slices.DeleteFunc(args, func(a string) bool { return a == "-no-reboot" })
		}
	}}
}

// boundsChecks are QEMU's own. Without them one reads the ring as it stands in
// the guest's memory and believes it.
func boundsChecks() Guard {
	return Guard{Name: "QEMU's bounds checks", What: "QEMU follows no descriptor out of the guest's memory, and no chain without end",
		off: func(s *scene) { s.alter, s.believe = s.memoryInFile, true }}
}

// judgement is how the tender reads the end of QEMU.
func judgement() Guard {
	return Guard{Name: "judgement", What: "an end that the guest could have chosen is not the host's failure",
		off: func(s *scene) { s.believe = true }}
}

// ramPath is the file that is the guest's memory without its guard.
func (s *scene) ramPath() string { return filepath.Join(s.dir, "ram") }

// memoryInFile puts the guest's memory into a file of the host.
func (s *scene) memoryInFile(args []string) []string {
	args = slices.Clone(args)
	size := args[slices.Index(args, "-m")+1]
	args[slices.Index(args, "-M")+1] += ",memory-backend=ram"
	return append(args, "-object", fmt.Sprintf("memory-backend-file,id=ram,size=%s,mem-path=%s,share=on", size, s.ramPath()))
}

// machineSize sets {ram} to the guest's memory in MiB.
func machineSize(s *scene) error {
	s.setNumber("ram", int((s.limits.Memory-qemu.OwnMemory)>>20))
	return nil
}

// usedMemory is memory of the host in which somebody has left the token, every
// few MiB. It becomes the guest's when the guard is out.
func usedMemory(s *scene) error {
	f, err := s.ram()
	if err != nil {
		return err
	}
	defer f.Close()
	for at := int64(4 << 20); at < int64(s.limits.Memory-qemu.OwnMemory); at += 1 << 20 {
		if _, err := f.WriteAt([]byte(s.token), at+0x800); err != nil {
			return err
		}
	}
	return nil
}

// ram makes the file of memoryInFile, for QEMU's user to open.
func (s *scene) ram() (*os.File, error) {
	f, err := os.OpenFile(s.ramPath(), os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return nil, err
	}
	if err = f.Chmod(0o666); err == nil {
		err = f.Truncate(int64(s.limits.Memory - qemu.OwnMemory))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func emptyMemory(s *scene) error {
	f, err := s.ram()
	if err == nil {
		f.Close()
	}
	return err
}

// filledMemory is the memory of an earlier run, in which the attacker has left
// the token.
func filledMemory(s *scene) error {
	if err := emptyMemory(s); err != nil {
		return err
	}
	row := *s.row
	row.Steps = []string{"fill-memory 16 {token}"}
	first, err := s.suite.newScene(&row, s.stand)
	if err != nil {
		return err
	}
	defer first.close()
	first.values, first.limits, first.alter = s.values, s.limits, s.alter
	if err := first.start(first.filled()); err != nil {
		return err
	}
	if _, err := first.until(s.suite.ctx, "nothing is waited for"); err != nil {
		return err
	}
	if !first.said.has("fill-memory: made") {
		return fmt.Errorf("the first run says %q", first.lastWords())
	}
	return nil
}

// firmwareFile puts the token into QEMU's configuration device.
func firmwareFile(s *scene, args []string) []string {
	return append(slices.Clone(args), "-fw_cfg", "name=opt/dew/secret,string="+s.token)
}

// secondSerial is a serial port more, that writes to a file of the host.
func secondSerial(s *scene, args []string) []string {
	return append(slices.Clone(args), "-chardev", "file,id=second,path="+s.serialPath(), "-device", "isa-serial,chardev=second,iobase=0x2f8,irq=3,index=1")
}

func (s *scene) serialPath() string { return filepath.Join(s.dir, "serial") }

// serialFile is where that port would write.
func serialFile(s *scene) error {
	if err := os.WriteFile(s.serialPath(), nil, 0o666); err != nil {
		return err
	}
	return os.Chmod(s.serialPath(), 0o666)
}

// sharedCard is a machine with PCI and a card that shows memory of the host,
// with the token in it, to its guest.
func sharedCard(s *scene, args []string) []string {
	args = slices.Clone(args)
	args[slices.Index(args, "-M")+1] = "q35"
	for i, a := range args {
		if strings.HasPrefix(a, "virtio-serial-device,") {
			args[i] = "virtio-serial-pci,disable-legacy=on,id=s,max_ports=4"
		}
	}
	return append(args, "-object", "memory-backend-file,id=card,size=1M,share=on,mem-path="+s.cardPath(), "-device", "ivshmem-plain,memdev=card")
}

func (s *scene) cardPath() string { return filepath.Join(s.dir, "card") }

// cardMemory is the memory of sharedCard.
func cardMemory(s *scene) error {
	b := make([]byte, 1<<20)
	copy(b, s.token)
	if err := os.WriteFile(s.cardPath(), b, 0o666); err != nil {
		return err
	}
	return os.Chmod(s.cardPath(), 0o666)
}

// rebooted: the guest is up for a second time, by its own doing.
func rebooted() Witness {
	return Witness{gained: func(s *scene) (bool, error) { return strings.Count(s.said.String(), "up again") > 1, nil }}
}

// blamed: the host is blamed for the guest's end. A tender that believes QEMU's
// status takes every end without a word from the guest for QEMU's.
func blamed() Witness {
	return Witness{gained: func(s *scene) (bool, error) {
		if s.alive() {
			return false, nil
		}
		if s.believe {
			_, told := s.link().ExitStatus()
			return !told, nil
		}
		return s.exit.Reason == tender.HostFailed, nil
	}}
}

// deceived: QEMU is gone, or would have been led out of the guest's memory, or
// into a circle, had it believed the ring.
func deceived() Witness {
	return Witness{
		arrange: []func(*scene) error{emptyMemory},
		gained: func(s *scene) (bool, error) {
			if !s.believe {
				return !s.alive(), nil
			}
			_, at, _ := strings.Cut(s.said.String(), "ring ")
			at, _, _ = strings.Cut(at, "\n")
			n, err := strconv.ParseInt(at, 10, 64)
			if err != nil {
				return false, err
			}
			ram, err := os.ReadFile(s.ramPath())
			if err != nil {
				return false, err
			}
			return misleads(ram, uint64(n)), nil
		}}
}

// Layout of the attacker's ring (breach/attacker, lie.go).
const (
	ringSize  = 16
	ringAvail = 16 * ringSize
)

// misleads reads a ring as a device would that believes its driver, and tells
// whether it would leave the memory, or never end.
func misleads(ram []byte, at uint64) bool {
	le := binary.LittleEndian
	if at+ringAvail+64 > uint64(len(ram)) {
		return true
	}
	ring := ram[at:]
	if le.Uint16(ring[ringAvail+2:]) > ringSize {
		return true // more than there are
	}
	next := le.Uint16(ring[ringAvail+4:])
	for range ringSize {
		if next >= ringSize {
			return true
		}
		d := ring[16*next:]
		from, n, flags := le.Uint64(d), uint64(le.Uint32(d[8:])), le.Uint16(d[12:])
		if from+n > uint64(len(ram)) || from+n < from {
			return true
		}
		const more, indirect = 1, 4
		if flags&indirect != 0 {
			return le.Uint16(ram[from+12:])&indirect != 0 // a table in a table, VIRTIO 1.2 section 2.7.5.3.1
		}
		if flags&more == 0 {
			return false
		}
		next = le.Uint16(d[14:])
	}
	return true
}
