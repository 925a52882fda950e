package stager

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// CPU is what this process and its dead children have used.
func cpu() time.Duration {
	var total time.Duration
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if syscall.Getrusage(who, &u) == nil {
			total += time.Duration(u.Utime.Nano() + u.Stime.Nano())
		}
	}
	return total
}

// BenchmarkOneLineChanged is what a second push of an app costs its stager, by
// step: time, and CPU time, which tells more on a busy machine.
func BenchmarkOneLineChanged(b *testing.B) {
	w := workshop(b)
	steps, times, cpus := []string{}, map[string]time.Duration{}, map[string]time.Duration{}
	s := store(b)
	change := func(n int) {
		last, at, used := "", time.Now(), cpu()
		end := func(name string) {
			times[last] += time.Since(at)
			cpus[last] += cpu() - used
			if _, known := times[name]; !known {
				steps = append(steps, name)
			}
			last, at, used = name, time.Now(), cpu()
		}
		source := tree{"go.mod": mod, "main.go": "package main\n\nimport (\n\t\"encoding/json\"\n\t\"log\"\n\t\"net/http\"\n\t\"os\"\n)\n\nfunc main() {\n" +
			"\thttp.HandleFunc(\"/\", func(w http.ResponseWriter, r *http.Request) { json.NewEncoder(w).Encode(\"" + fmt.Sprint(time.Now().UnixNano()) + "\") })\n" +
			"\tlog.Fatal(http.ListenAndServe(\":\"+os.Getenv(\"PORT\"), nil))\n}\n"}
		_, err := w.Build(b.Context(), &Request{Files: source.fs(), Tenant: "bench", Step: end, Limits: Limits{Memory: 1 << 30, Disk: 1 << 30, PIDs: 1024}}, s)
		check(b, err)
		end("")
	}
	change(0)
	clear(times)
	clear(cpus)
	steps = nil
	n := 0
	for b.Loop() {
		n++
		change(n)
	}
	for _, name := range steps {
		if name != "" {
			b.Logf("%-20s %6.0f ms, CPU %6.0f ms", name, times[name].Seconds()*1e3/float64(n), cpus[name].Seconds()*1e3/float64(n))
		}
	}
}
