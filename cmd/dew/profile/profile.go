package profile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	pprof "github.com/google/pprof/profile"
)

var (
	errCut    = errors.New("the guest's profile is cut short")
	errPeriod = errors.New("the guest's profile has no sampling period")
)

// maxDepth is more frames than the runtime records.
const maxDepth = 1024

// words are little-endian numbers that are read from the front.
type words []byte

func (w *words) next() (uint64, bool) {
	if len(*w) < 8 {
		return 0, false
	}
	n := binary.LittleEndian.Uint64(*w)
	*w = (*w)[8:]
	return n, true
}

// take returns the next n numbers.
func (w *words) take(n uint64) ([]uint64, bool) {
	if n > maxDepth || n > uint64(len(*w)/8) {
		return nil, false
	}
	v := make([]uint64, n)
	for i := range v {
		v[i], _ = w.next()
	}
	return v, true
}

// Heap reads an answer to control.Heap: the sampling rate in bytes, then per
// record allocated and freed bytes, allocated and freed objects, the number of
// frames, and the frames.
func Heap(b []byte, s *Symbols) (*pprof.Profile, error) {
	w := words(b)
	rate, ok := w.next()
	if !ok {
		return nil, fmt.Errorf("heap profile: %w", errCut)
	}
	out := newBuilder(s, value("alloc_objects", "count"), value("alloc_space", "bytes"),
		value("inuse_objects", "count"), value("inuse_space", "bytes"))
	out.out.PeriodType, out.out.Period = value("space", "bytes"), int64(rate&math.MaxInt64)
	out.out.DefaultSampleType = "inuse_space"
	for len(w) > 0 {
		head, ok := w.take(5)
		if !ok {
			return nil, fmt.Errorf("heap profile: %w", errCut)
		}
		stack, ok := w.take(head[4])
		if !ok {
			return nil, fmt.Errorf("heap profile: %w", errCut)
		}
		allocObjects, allocBytes := scale(int64(head[2]), int64(head[0]), rate)
		useObjects, useBytes := scale(int64(head[2])-int64(head[3]), int64(head[0])-int64(head[1]), rate)
		out.sample(out.stack(stack), allocObjects, allocBytes, useObjects, useBytes)
	}
	return out.out, nil
}

// scale estimates the whole from a sample: an allocation of size bytes is seen
// with probability 1-exp(-size/rate).
func scale(count, size int64, rate uint64) (int64, int64) {
	if count <= 0 || size <= 0 || rate <= 1 {
		return max(count, 0), max(size, 0)
	}
	average := float64(size) / float64(count)
	factor := 1 / (1 - math.Exp(-average/float64(rate)))
	return int64(float64(count) * factor), int64(float64(size) * factor)
}

// CPU reads an answer to control.CPUStop: the runtime's own profile buffer. Its
// first record is {3, 0, samples a second}; each other is {length in words,
// time, count, frames...}. A count of 0 with one frame tells how many were lost
// (runtime/cpuprof.go, runtime/profbuf.go).
func CPU(b []byte, s *Symbols) (*pprof.Profile, error) {
	w := words(b)
	head, ok := w.take(3)
	if !ok || head[0] != 3 || head[2] == 0 || head[2] > 1e9 {
		return nil, fmt.Errorf("CPU profile: %w", errPeriod)
	}
	period := int64(1e9 / head[2])
	out := newBuilder(s, value("samples", "count"), value("cpu", "nanoseconds"))
	out.out.PeriodType, out.out.Period = value("cpu", "nanoseconds"), period
	for len(w) > 0 {
		head, ok := w.take(3)
		if !ok || head[0] < 3 {
			return nil, fmt.Errorf("CPU profile: %w", errCut)
		}
		stack, ok := w.take(head[0] - 3)
		if !ok {
			return nil, fmt.Errorf("CPU profile: %w", errCut)
		}
		count := head[2]
		if count == 0 || count > math.MaxInt32 || len(stack) == 0 {
			continue
		}
		stack[0]++ // the innermost is where it was, not a return address
		out.sample(out.stack(stack), int64(count), int64(count)*period)
	}
	return out.out, nil
}

func value(kind, unit string) *pprof.ValueType { return &pprof.ValueType{Type: kind, Unit: unit} }
