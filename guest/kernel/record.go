package kernel

import (
	"unsafe"

	"github.com/dewpaas/dew/abi"
	"github.com/dewpaas/dew/abi/boot"
	"github.com/dewpaas/dew/guest/cpu"
	"github.com/dewpaas/dew/guest/mem"
	"github.com/dewpaas/dew/guest/thread"
)

// recordInfo is what the kernel itself takes from the boot record.
type recordInfo struct {
	cpus    uint64
	args    uint64 // count
	env     uint64
	strings uint64 // bytes, terminators included
}

// items walks the boot record. Open has no error to give here but an empty
// walk: the error values of package boot are not initialised yet.
func (k *kernel) items() boot.Items {
	it, _ := boot.Open(unsafe.Slice((*byte)(direct.At(k.module.phys)), k.module.size))
	return it
}

// readRecord takes image size, clock and seed, and counts the strings.
func (k *kernel) readRecord() recordInfo {
	r := recordInfo{cpus: 1}
	for it := k.items(); it.Next(); {
		n := uint64(0)
		if len(it.Value) == 8 {
			n = boot.U64(it.Value)
		}
		switch it.Tag {
		case boot.TagArg:
			r.args++
			r.strings += uint64(len(it.Value)) + 1
		case boot.TagEnv:
			r.env++
			r.strings += uint64(len(it.Value)) + 1
		case boot.TagCPUs:
			r.cpus = max(n, 1)
		case boot.TagImage:
			k.module.imageSize = n
		case boot.TagWallClock:
			clock.wall = n
		case boot.TagSeed:
			k.seed(it.Value)
		}
	}
	if m := &k.module; m.image+m.imageSize > m.size+mem.PageSize-1 || m.imageSize > m.size {
		k.refuse("the image is longer than the module that holds it. Remedy: restage the droplet.")
	}
	if r.args == 0 {
		k.refuse("the boot record names no program. Remedy: put its path first among the arguments.")
	}
	return r
}

// seed starts the generator; see package entropy for what is trusted.
func (k *kernel) seed(b []byte) {
	var s [32]byte
	copy(s[:], b)
	k.random.Mix(&s)
	clear(s[:])
	k.random.MixWord(cpu.Cycles())
	for range 4 {
		if k.features.Random {
			if v, ok := cpu.Random(); ok {
				k.random.MixWord(v)
			}
		}
	}
}

// Auxiliary vector, Linux include/uapi/linux/auxvec.h.
const (
	atPageSize = 6
	atEntry    = 9
	atSecure   = 23
	atRandom   = 25
	atVDSO     = 33
)

const (
	firstStack = 256 << 10
	bootString = 64 // room for "DEW_BOOT=1:4294967295:128"
	auxWords   = 12
)

// stackWriter lays out the first stack: argc, argv, envp and auxv as words
// that grow upwards from the stack pointer, then the strings.
type stackWriter struct{ word, text uint64 }

func (w *stackWriter) put(v uint64) {
	*(*uint64)(at(w.word)) = v
	w.word += 8
}

func (w *stackWriter) putString(s []byte) {
	w.put(w.text)
	w.bytes(s)
	w.bytes([]byte{0})
}

func (w *stackWriter) bytes(s []byte) {
	copy(unsafe.Slice((*byte)(at(w.text)), len(s)), s)
	w.text += uint64(len(s))
}

// firstThread makes what execve(2) would make of the boot record.
func (k *kernel) firstThread(r *recordInfo) *thread.Thread {
	words := 1 + r.args + 1 + 1 + r.env + 1 + auxWords
	need := (words*8 + 16 + bootString + r.strings + 64) &^ 15
	base, err := k.space.Map(0, max(firstStack, 2*need), mem.Read|mem.Write, false)
	top := base + max(firstStack, 2*need)
	k.must(err == mem.OK && k.space.Touch(top-need, need, mem.Write) == mem.OK)

	w := stackWriter{word: top - need, text: top - need + words*8}
	random := w.text
	k.random.Read(unsafe.Slice((*byte)(at(random)), 16))
	w.text += 16
	w.put(r.args)
	k.putAll(&w, boot.TagArg)
	w.put(0)
	k.putBootEnv(&w)
	k.putAll(&w, boot.TagEnv)
	w.put(0)
	for _, v := range [auxWords]uint64{atVDSO, vdsoBase, atPageSize, mem.PageSize, atRandom, random,
		atSecure, 0, atEntry, entryPoint(), 0, 0} {
		w.put(v)
	}
	return k.enter(top - need)
}

func (k *kernel) putAll(w *stackWriter, tag boot.Tag) {
	for it := k.items(); it.Next(); {
		if it.Tag == tag {
			w.putString(it.Value)
		}
	}
}

// putBootEnv writes the variable by which the library OS knows where it is.
func (k *kernel) putBootEnv(w *stackWriter) {
	var text [bootString]byte
	n := copy(text[:], abi.BootEnv+"=")
	n = appendDecimal(&text, n, abi.Version)
	text[n] = ':'
	n = appendDecimal(&text, n+1, k.module.recordSize)
	text[n] = ':'
	n = appendDecimal(&text, n+1, k.cpuCount)
	w.putString(text[:n])
}

func appendDecimal(text *[bootString]byte, n int, v uint64) int {
	if v >= 10 {
		n = appendDecimal(text, n, v/10)
	}
	text[n] = '0' + byte(v%10)
	return n + 1
}

func entryPoint() uint64 { return *(*uint64)(at(elfBase + 0x18)) }

// enter makes the first thread start at the ELF's entry point.
func (k *kernel) enter(sp uint64) *thread.Thread {
	t := k.newThread()
	t.RSP, t.RIP = sp, entryPoint()
	t.RFlags = cpu.FlagReserved | cpu.FlagInterrupt
	t.Full = 1
	t.State = thread.Running
	return t
}

// newThread returns an unused thread with an XSAVE area.
func (k *kernel) newThread() *thread.Thread {
	t := k.threads.New()
	if t == nil {
		return nil
	}
	if t.XSave == 0 {
		p := k.space.Take()
		if p == 0 {
			k.outOfMemory(0)
		}
		t.XSave = uint64(direct) + p
	}
	thread.InitXSave(t.XSave)
	return t
}
