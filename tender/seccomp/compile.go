package seccomp

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data (include/uapi/linux/seccomp.h).
const (
	offCall = 0
	offArch = 4
	offArgs = 16 // six u64; the low half comes first
)

const (
	retKill    = unix.SECCOMP_RET_KILL_PROCESS
	retAllow   = unix.SECCOMP_RET_ALLOW
	retAbsent  = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	retPretend = unix.SECCOMP_RET_ERRNO
)

const (
	opLoad   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	opEqual  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	opAbove  = unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K
	opBits   = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
	opReturn = unix.BPF_RET | unix.BPF_K
)

var errTooFar = errors.New("seccomp: a jump is longer than 255 instructions")

// label is a place in the program that is not yet known.
type label int

// next is the label of the following instruction.
const next label = -1

type jump struct{ yes, no label }

// program is being assembled: jumps go forward, to labels.
type program struct {
	code   []unix.SockFilter
	jumps  []jump
	places []int
	others uint32 // the answer to what no rule allows
}

func (p *program) label() label {
	p.places = append(p.places, -1)
	return label(len(p.places) - 1)
}

func (p *program) here(l label) { p.places[l] = len(p.code) }

func (p *program) emit(op uint16, k uint32, yes, no label) {
	p.code = append(p.code, unix.SockFilter{Code: op, K: k})
	p.jumps = append(p.jumps, jump{yes, no})
}

func (p *program) load(offset uint32) { p.emit(opLoad, offset, next, next) }
func (p *program) ret(verdict uint32) { p.emit(opReturn, verdict, next, next) }

// Compile returns the program of the rules: each call at most once. What they do
// not allow gets the verdict of others; calls of another architecture are death.
func Compile(rules []Rule, others Verdict) ([]unix.SockFilter, error) {
	p := &program{others: verdicts[others]}
	ours := p.label()
	p.load(offArch)
	p.emit(opEqual, unix.AUDIT_ARCH_X86_64, ours, next)
	p.ret(retKill)
	p.here(ours)
	p.load(offCall)
	cold, err := sorted(rules)
	if err != nil {
		return nil, err
	}
	for _, r := range rules {
		if r.Hot {
			after := p.label()
			p.emit(opEqual, r.Call, next, after)
			p.rule(r)
			p.here(after)
		}
	}
	p.search(cold)
	return p.link()
}

// sorted returns the rules that are not hot by number.
func sorted(rules []Rule) ([]Rule, error) {
	seen := map[uint32]bool{}
	var cold []Rule
	for _, r := range rules {
		if seen[r.Call] {
			return nil, fmt.Errorf("seccomp: two rules for call %d", r.Call)
		}
		seen[r.Call] = true
		if !r.Hot {
			cold = append(cold, r)
		}
	}
	slices.SortFunc(cold, func(a, b Rule) int { return int(a.Call) - int(b.Call) })
	return cold, nil
}

// search finds the call among sorted rules. It does not fall through.
func (p *program) search(rules []Rule) {
	if len(rules) == 0 {
		p.ret(p.others)
		return
	}
	if len(rules) == 1 {
		other := p.label()
		p.emit(opEqual, rules[0].Call, next, other)
		p.rule(rules[0])
		p.here(other)
		p.ret(p.others)
		return
	}
	half := len(rules) / 2
	above := p.label()
	p.emit(opAbove, rules[half-1].Call, above, next)
	p.search(rules[:half])
	p.here(above)
	p.search(rules[half:])
}

// rule decides on a call that was found. It does not fall through.
func (p *program) rule(r Rule) {
	for _, conditions := range r.Alternatives {
		otherwise := p.label()
		for _, c := range conditions {
			p.condition(c, otherwise)
		}
		p.ret(verdicts[r.Verdict])
		p.here(otherwise)
	}
	if r.Alternatives != nil {
		p.ret(p.others)
		return
	}
	p.ret(verdicts[r.Verdict])
}

var verdicts = [...]uint32{Allow: retAllow, Absent: retAbsent, Pretend: retPretend, Kill: retKill}

// condition falls through where it holds.
func (p *program) condition(c Condition, otherwise label) {
	p.load(uint32(offArgs + 8*c.Arg))
	if len(c.Among) == 0 {
		p.emit(opBits, ^c.Mask, otherwise, next)
		return
	}
	holds := p.label()
	for i, v := range c.Among {
		if i == len(c.Among)-1 {
			p.emit(opEqual, v, next, otherwise)
		} else {
			p.emit(opEqual, v, holds, next)
		}
	}
	p.here(holds)
}

// link turns labels into distances.
func (p *program) link() ([]unix.SockFilter, error) {
	for i, j := range p.jumps {
		yes, no := p.distance(i, j.yes), p.distance(i, j.no)
		if yes > 255 || no > 255 {
			return nil, errTooFar
		}
		p.code[i].Jt, p.code[i].Jf = uint8(yes), uint8(no)
	}
	return p.code, nil
}

func (p *program) distance(from int, to label) int {
	if to == next {
		return 0
	}
	return p.places[to] - from - 1
}
