package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/dewpaas/dew/cmd/dew/client"
)

// site is one dew up in a folder of its own.
type site struct {
	dew, data, listen string
	up                *exec.Cmd
	api               *client.Client
}

// start begins dew up and returns when the API answers.
func (s *site) start(ctx context.Context) (time.Duration, error) {
	begun := time.Now()
	log, err := os.OpenFile(filepath.Join(s.data, "up.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer log.Close()
	s.up = exec.Command(s.dew, "up", "--data", s.data, "--listen", s.listen, "--memory", "256G")
	s.up.Stdout, s.up.Stderr = log, log
	if err := s.up.Start(); err != nil {
		return 0, err
	}
	err = until(ctx, func() bool {
		a, err := http.Get("http://" + s.listen + "/v3/info")
		if err != nil {
			return false
		}
		a.Body.Close()
		return a.StatusCode == http.StatusOK
	})
	took := time.Since(begun)
	if err != nil || s.api != nil {
		return took, err
	}
	local, err := client.FindLocal(s.data)
	if err != nil {
		return took, err
	}
	s.api = client.New(&client.Config{}, "bench")
	return took, local.Login(ctx, s.api)
}

func (s *site) kill() {
	s.up.Process.Kill()
	s.up.Wait()
}

func (s *site) down() error {
	out, err := exec.Command(s.dew, "down", "--data", s.data).CombinedOutput()
	s.up.Wait()
	if err != nil {
		return fmt.Errorf("dew down: %w: %s", err, out)
	}
	return nil
}

// run runs a verb of dew.
func (s *site) run(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, s.dew, args...)
	cmd.Env = append(os.Environ(), "CF_HOME="+s.data, "DEW_DATA="+s.data)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("dew %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// until waits until ok, looking twenty times a second.
func until(ctx context.Context, ok func() bool) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.New("it takes too long")
		}
	}
	return nil
}

// keeper is the process that holds the guests.
func (s *site) keeper() (int, error) {
	all, err := os.ReadDir("/proc")
	if err != nil {
		return 0, err
	}
	for _, e := range all {
		line, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err == nil && strings.HasSuffix(string(line), "\x00keep\x00"+filepath.Join(s.data, "cell")+"\x00") {
			return strconv.Atoi(e.Name())
		}
	}
	return 0, errors.New("there is no keeper")
}

// guests are the children of the keeper.
func (s *site) guests() ([]int, error) {
	keeper, err := s.keeper()
	if err != nil {
		return nil, err
	}
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", keeper))
	var pids []int
	for _, file := range tasks {
		b, _ := os.ReadFile(file)
		for _, text := range strings.Fields(string(b)) {
			pid, err := strconv.Atoi(text)
			if err != nil {
				return nil, err
			}
			pids = append(pids, pid)
		}
	}
	return pids, err
}

// cpu is what a process has used, its ended children left out.
func cpu(pid int) time.Duration {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
}

// pss is the memory of a process, in bytes: its own and its share of what others have too.
func pss(pid int) int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			n, _ := strconv.Atoi(strings.Fields(rest)[0])
			return n << 10
		}
	}
	return 0
}
