package profile

import (
	"debug/elf"
	"debug/gosym"
	"fmt"

	pprof "github.com/google/pprof/profile"
)

// Symbols finds functions and lines by address.
type Symbols struct{ table *gosym.Table }

// OpenSymbols reads the line table that every Go ELF carries, stripped or not.
func OpenSymbols(path string) (_ *Symbols, err error) {
	defer func() {
		if r := recover(); r != nil { // debug/gosym trusts its input
			err = fmt.Errorf("read symbols of %s: %v", path, r)
		}
	}()
	f, err := elf.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read symbols: %w", err)
	}
	defer f.Close()
	lines, text := f.Section(".gopclntab"), f.Section(".text")
	if lines == nil || text == nil {
		return nil, fmt.Errorf("read symbols of %s: it has no Go line table", path)
	}
	b, err := lines.Data()
	if err != nil {
		return nil, fmt.Errorf("read symbols of %s: %w", path, err)
	}
	t, err := gosym.NewTable(nil, gosym.NewLineTable(b, text.Addr))
	if err != nil {
		return nil, fmt.Errorf("read symbols of %s: %w", path, err)
	}
	return &Symbols{t}, nil
}

// builder makes one profile; locations and functions are shared by samples.
type builder struct {
	symbols   *Symbols
	out       *pprof.Profile
	locations map[uint64]*pprof.Location
	functions map[string]*pprof.Function
}

func newBuilder(s *Symbols, types ...*pprof.ValueType) *builder {
	return &builder{symbols: s, out: &pprof.Profile{SampleType: types},
		locations: map[uint64]*pprof.Location{}, functions: map[string]*pprof.Function{}}
}

// stack returns the locations of addresses, innermost first. All but those
// marked are return addresses: the call is one byte before.
func (b *builder) stack(pcs []uint64) []*pprof.Location {
	stack := make([]*pprof.Location, 0, len(pcs))
	for _, pc := range pcs {
		stack = append(stack, b.location(pc))
	}
	return stack
}

func (b *builder) location(pc uint64) *pprof.Location {
	if l := b.locations[pc]; l != nil {
		return l
	}
	l := &pprof.Location{ID: uint64(len(b.out.Location) + 1), Address: pc}
	if b.symbols != nil && pc > 0 {
		if file, line, fn := b.symbols.table.PCToLine(pc - 1); fn != nil {
			l.Line = []pprof.Line{{Function: b.function(fn.Name, file), Line: int64(line)}}
		}
	}
	b.locations[pc] = l
	b.out.Location = append(b.out.Location, l)
	return l
}

func (b *builder) function(name, file string) *pprof.Function {
	if f := b.functions[name]; f != nil {
		return f
	}
	f := &pprof.Function{ID: uint64(len(b.out.Function) + 1), Name: name, SystemName: name, Filename: file}
	b.functions[name] = f
	b.out.Function = append(b.out.Function, f)
	return f
}

func (b *builder) sample(stack []*pprof.Location, values ...int64) {
	b.out.Sample = append(b.out.Sample, &pprof.Sample{Location: stack, Value: values})
}
