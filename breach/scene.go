package breach

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dewpaas/dew/tender"
)

// scene is one run of one attack.
type scene struct {
	suite   *Suite
	row     *Row
	name    string // unique on this host
	dir     string // of its own, readable for all
	token   string // what there is to gain, or to leave behind
	values  map[string]string
	undo    []func()
	program string // path of the attacker's program

	// How the attacker is started. Guards change these to be off.
	stand      stand
	image      *os.File
	env        []string
	limits     tender.Limits
	alter      func(args []string) []string // QEMU's arguments
	politeOnly bool                         // do not kill, only ask
	believe    bool                         // a caretaker without bounds
	toFile     bool                         // stdout is a file
	unsealed   bool                         // the boot record can be written
	writable   bool                         // the image can be written
	patience   time.Duration                // for the witness, once the attacker holds
	off        bool                         // a guard is out
	baseline   stand                        // the container that this is about; nil: none
	deaf       bool                         // do not read the log once the attacker holds
	final      bool                         // the witness has seen all that there will be

	out       *os.File // the read end of stdout
	said      *said
	body      body
	exit      tender.Exit // when ended is closed
	ended     chan struct{}
	neighbour *scene
	control   *recorder
	street    *street     // nil: no network
	paving    paving      // of the street
	site      *Site       // nil: a street of the scene's own
	frames    []string    // of the step "{frames}", as the attacker writes them
	questions []string    // of the step "{questions}": the same by an ordinary socket
	upstream  *house      // what a name server outside was asked
	relays    bool        // names are passed on as they are
	heard     chan string // by a listener
	answer    chan []byte // to the suite's question
	loot      string      // what was read by a process that was taken over
	record    *os.File    // of a bare process
}

// body is a running attacker.
type body interface {
	PID() int
	Kill() error
	Wait(ctx context.Context) (tender.Exit, error)
}

// stand starts the attacker of a scene with these steps.
type stand func(s *scene, stdout *os.File, steps []string) (body, error)

// Outcome is how one run of an attack went.
type Outcome struct {
	Gained bool   // by the witness
	Tried  bool   // the attacker made it, by its own word or by how it died
	How    string // it ended, for people
}

// attackTime bounds one run.
const attackTime = 40 * time.Second

func (u *Suite) newScene(row *Row, st stand) (*scene, error) {
	token := make([]byte, 12)
	rand.Read(token)
	s := &scene{suite: u, row: row, stand: st, token: tokenPrefix + hex.EncodeToString(token), values: map[string]string{}, program: u.program,
		name: fmt.Sprintf(groupPrefix+"%d-%d", os.Getpid(), u.scenes.Add(1)), patience: time.Second,
		limits: tender.Limits{Memory: 64 << 20, CPUs: 1, PIDs: 50}, ended: make(chan struct{})}
	if row.Tender == QEMU {
		s.limits = tender.Limits{Memory: 160 << 20, CPUs: 1}
	}
	s.dir = filepath.Join(u.dir, s.name)
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		return nil, err
	}
	dir := s.dir
	s.later(func() { os.RemoveAll(dir) })
	s.set("token", s.token)
	return s, nil
}

// later undoes something when the scene ends, last first.
func (s *scene) later(f func()) { s.undo = append(s.undo, f) }

func (s *scene) set(name, value string) { s.values[name] = value }

func (s *scene) setNumber(name string, n int) { s.set(name, strconv.Itoa(n)) }

// close ends everything that the scene has started.
func (s *scene) close() {
	for _, f := range slices.Backward(s.undo) {
		f()
	}
}

// play makes the attack and looks for what it gained.
func (s *scene) play(ctx context.Context) (Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, attackTime)
	defer cancel()
	for _, arrange := range s.row.Witness.arrange {
		if err := arrange(s); err != nil {
			return Outcome{}, err
		}
	}
	if err := s.start(s.filled()); err != nil {
		return Outcome{}, err
	}
	if s.row.Witness.begun != nil {
		if err := s.row.Witness.begun(s); err != nil {
			return Outcome{}, err
		}
	}
	holds, err := s.until(ctx, "holding")
	if err != nil {
		return Outcome{}, err
	}
	if holds && s.row.Witness.after != nil {
		if err := s.row.Witness.after(s); err != nil {
			return Outcome{}, err
		}
	}
	gained, err := s.look(ctx)
	if err != nil {
		return Outcome{}, fmt.Errorf("witness: %w", err)
	}
	return Outcome{Gained: gained, Tried: s.tried(holds), How: s.how(holds)}, nil
}

// script is the row's steps, or those for a container.
func (s *scene) script() []string {
	if s.baseline != nil && s.row.Baseline != nil {
		return s.row.Baseline
	}
	return s.row.Steps
}

// filled are the steps with the scene's values.
func (s *scene) filled() []string {
	pairs := []string{}
	for name, value := range s.values {
		pairs = append(pairs, "{"+name+"}", value)
	}
	fill := strings.NewReplacer(pairs...)
	steps := []string{}
	for _, step := range s.script() {
		switch step {
		case "{frames}":
			for _, f := range s.frames {
				steps = append(steps, "send "+f)
			}
		case "{questions}":
			steps = append(steps, s.questions...)
		default:
			steps = append(steps, fill.Replace(step))
		}
	}
	return steps
}

// start starts the attacker, in the room.
func (s *scene) start(steps []string) error {
	stdout, err := s.stdout()
	if err != nil {
		return err
	}
	defer stdout.Close()
	err = s.suite.room.do(func() (err error) {
		s.body, err = s.stand(s, stdout, steps)
		return err
	})
	if err != nil {
		s.said.drop()
		return err
	}
	go func() {
		s.exit, _ = s.body.Wait(context.Background())
		close(s.ended)
	}()
	s.later(func() {
		s.body.Kill()
		<-s.ended
		s.said.drop()
	})
	return nil
}

// stdout makes where the attacker prints to, and begins to hear it.
func (s *scene) stdout() (w *os.File, err error) {
	if s.toFile {
		path := filepath.Join(s.dir, "stdout")
		if w, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
			return nil, err
		}
		if s.out, err = os.Open(path); err != nil {
			w.Close()
			return nil, err
		}
	} else if s.out, w, err = os.Pipe(); err != nil {
		return nil, err
	}
	s.said = hear(s.out, s.ended, s.toFile, s.deaf)
	return w, nil
}

// until waits for words, and tells whether they were said.
func (s *scene) until(ctx context.Context, words string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, attackTime)
	defer cancel()
	for {
		news, all := s.said.next()
		if s.said.has(words) {
			return true, nil
		}
		if all {
			select {
			case <-s.ended:
				return false, nil
			case <-ctx.Done():
				return false, errors.New("the attacker neither ends nor holds")
			}
		}
		select {
		case <-news:
		case <-ctx.Done():
			return false, fmt.Errorf("the attacker is at %q after %v", s.lastWords(), attackTime)
		}
	}
}

// look asks the witness until it has seen the gain, patience is over, or the
// attacker has ended.
func (s *scene) look(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		over := false
		select {
		case <-s.ended:
			over = true
		default:
		}
		gained, err := s.row.Witness.gained(s)
		if gained || err != nil || over || s.final {
			return gained, err
		}
		select {
		case <-again.C:
		case <-s.ended:
		case <-ctx.Done():
			return false, nil
		}
	}
}

// alive tells whether the attacker runs.
func (s *scene) alive() bool {
	select {
	case <-s.ended:
		return false
	default:
		return true
	}
}

// tried tells whether there is a sign that the last step was made: that the
// attacker tells how it went, or died of it.
func (s *scene) tried(holds bool) bool {
	if holds {
		return true
	}
	name, _, _ := strings.Cut(s.script()[len(s.script())-1], " ")
	return s.exit.Reason != tender.Exited && s.exit.Reason != tender.HostFailed || s.said.has(name+": ")
}

func (s *scene) how(holds bool) string {
	switch {
	case s.alive() && len(s.said.String()) > len("holding\n"):
		return s.lastWords()
	case s.alive():
		return "the attacker holds on"
	case s.exit.Reason == tender.Exited && s.exit.Status == 0:
		return s.lastWords()
	}
	return s.exit.String()
}

// lastWords is the last line, cut to a length for tables.
func (s *scene) lastWords() string {
	lines := strings.Split(strings.TrimSpace(strings.ReplaceAll(s.said.String(), "holding\n", "")), "\n")
	last := lines[len(lines)-1]
	return strings.ToValidUTF8(last[:min(len(last), 100)], "?")
}
