package breach

import (
	"bytes"
	"io"
	"os"
	"sync"
	"time"
)

// said is what an attacker prints. One goroutine reads it until the end of the
// file, or until drop.
type said struct {
	file *os.File

	mu    sync.Mutex // guards the fields below
	text  []byte
	total int64
	news  chan struct{} // closed at the next piece, and replaced
	ended bool
}

const maxSaid = 4 << 20 // bytes kept

// hear reads r. Where it is a file that grows, it is read until ended is
// closed. With deaf it is read only until the attacker holds.
func hear(r *os.File, ended <-chan struct{}, grows, deaf bool) *said {
	s := &said{file: r, news: make(chan struct{})}
	go func() {
		b := make([]byte, 64<<10)
		for {
			n, err := r.Read(b)
			again := err == io.EOF && grows && wait(ended)
			s.add(b[:n], err != nil && !again)
			if err != nil && !again || deaf && s.has("holding") {
				return
			}
		}
	}()
	return s
}

// wait is a moment, and false when there is nothing to wait for any more.
func wait(ended <-chan struct{}) bool {
	select {
	case <-ended:
		return false
	case <-time.After(5 * time.Millisecond):
		return true
	}
}

// drop stops hearing.
func (s *said) drop() { s.file.Close() }

func (s *said) add(b []byte, end bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total += int64(len(b))
	s.text = append(s.text, b[:min(len(b), maxSaid-len(s.text))]...)
	s.ended = end
	close(s.news)
	s.news = make(chan struct{})
}

// has tells whether words were said.
func (s *said) has(words string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Contains(s.text, []byte(words))
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.text)
}

// next is closed when more is said, or when all has been.
func (s *said) next() (news <-chan struct{}, ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.news, s.ended
}
