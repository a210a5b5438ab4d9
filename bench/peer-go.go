// SPDX-License-Identifier: LGPL-2.1-or-later

// The peer Go: a goroutine for each item, a channel with one receiver for what runs one at a time,
// time.AfterFunc for timers.  Called as wq-bench --alone is, it prints a figure a line, NaN for
// what does not apply, once all items have run.
package main

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"sort"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var quick bool

func must(ok bool, what string) {
	if !ok {
		fmt.Fprintf(os.Stderr, "peer-go: %s failed\n", what)
		os.Exit(1)
	}
}

func pick(few, many int) int {
	if quick {
		return few
	}
	return many
}

func nsEach(took time.Duration, nr int) float64 {
	return float64(took.Nanoseconds()) / float64(nr)
}

func percentileUs(took []time.Duration, percent int) float64 {
	sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
	return float64(took[len(took)*percent/100].Nanoseconds()) / 1000
}

// What blocks a thread, as a system call or C code does; time.Sleep would not.
func blockThread(d time.Duration) {
	left := syscall.NsecToTimespec(d.Nanoseconds())
	for syscall.Nanosleep(&left, &left) == syscall.EINTR {
	}
}

// --- items that do nothing ---

var ran int64

func runItem(group *sync.WaitGroup) {
	atomic.AddInt64(&ran, 1)
	group.Done()
}

func mustHaveRun(nr int) {
	must(atomic.LoadInt64(&ran) == int64(nr), "running every item once")
}

func empty(producers int) []float64 {
	return emptyOf(producers, pick(400000, 2000000))
}

func emptyOf(producers, nr int) []float64 {
	var group sync.WaitGroup
	group.Add(nr)
	ran = 0
	start := time.Now()
	for p := 0; p < producers; p++ {
		go func() {
			for i := 0; i < nr/producers; i++ {
				go runItem(&group)
			}
		}()
	}
	group.Wait()
	took := time.Since(start)
	mustHaveRun(nr)
	return []float64{nsEach(took, nr)}
}

func producers() []float64 {
	values := []float64{}
	for _, nr := range []int{1, 2, 4, 8, 16} {
		values = append(values, emptyOf(nr, pick(96000, 960000))...)
	}
	return values
}

func serial() []float64 {
	nr := pick(200000, 1000000)
	items := make(chan func(), 1024)
	done := make(chan bool)
	ran = 0
	item := func() { ran++ }
	start := time.Now()
	for p := 0; p < 2; p++ {
		go func() {
			for i := 0; i < nr/2; i++ {
				items <- item
			}
		}()
	}
	go func() {
		for i := 0; i < nr; i++ {
			(<-items)()
		}
		done <- true
	}()
	<-done
	took := time.Since(start)
	mustHaveRun(nr)
	return []float64{nsEach(took, nr)}
}

func tree(group *sync.WaitGroup, number, nr int) {
	if child := 2*number + 1; child < nr {
		go tree(group, child, nr)
		go tree(group, child+1, nr)
	}
	runItem(group)
}

func spawnTree() []float64 {
	nr := 2<<pick(17, 20) - 1
	var group sync.WaitGroup
	group.Add(nr)
	ran = 0
	start := time.Now()
	go tree(&group, 0, nr)
	group.Wait()
	took := time.Since(start)
	mustHaveRun(nr)
	return []float64{nsEach(took, nr)}
}

func hop(group *sync.WaitGroup, left int) {
	if left > 1 {
		go hop(group, left-1)
	}
	runItem(group)
}

func chain() []float64 {
	nr := pick(200000, 1000000)
	var group sync.WaitGroup
	group.Add(nr)
	ran = 0
	start := time.Now()
	go hop(&group, nr)
	group.Wait()
	took := time.Since(start)
	mustHaveRun(nr)
	return []float64{nsEach(took, nr)}
}

func pingpong(nr int, pause time.Duration) []float64 {
	took := make([]time.Duration, nr)
	done := make(chan bool)
	ran = 0
	for i := range took {
		if pause > 0 {
			blockThread(pause)
		}
		start := time.Now()
		go func() {
			atomic.AddInt64(&ran, 1)
			done <- true
		}()
		<-done
		took[i] = time.Since(start)
	}
	mustHaveRun(nr)
	return []float64{percentileUs(took, 50)}
}

// --- from queueing to start, under load ---

// Items compute by the machine's clock, for a goroutine has no CPU time of its own.
func compute(d time.Duration) {
	for start := time.Now(); time.Since(start) < d; {
	}
}

func latencyAt(load int) []float64 {
	const item = 50 * time.Microsecond
	nr := pick(1000, 10000)
	gap := float64(item.Nanoseconds()) * 100 / float64(load) / float64(runtime.NumCPU())
	waited := make([]time.Duration, nr)
	var group sync.WaitGroup
	group.Add(nr)
	ran = 0
	state := uint64(88172645463325252)
	start := time.Now()
	due := 0.0
	for i := range waited {
		i := i
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		due -= gap * math.Log(1-float64(state>>11)/float64(1<<53))
		for {
			left := time.Duration(due) - time.Since(start)
			if left <= 0 {
				break
			}
			if left > 5*time.Microsecond {
				blockThread(left)
			}
		}
		queued := time.Now()
		go func() {
			waited[i] = time.Since(queued)
			compute(item)
			runItem(&group)
		}()
	}
	group.Wait()
	mustHaveRun(nr)
	values := []float64{percentileUs(waited, 50), percentileUs(waited, 99)}
	return append(values, float64(waited[nr*999/1000].Nanoseconds())/1000)
}

func latency() []float64 {
	return append(append(latencyAt(25), latencyAt(50)...), latencyAt(80)...)
}

// --- items that block ---

func blockingMs() float64 {
	nr := pick(32, 256)
	var group sync.WaitGroup
	group.Add(nr)
	ran = 0
	start := time.Now()
	for i := 0; i < nr; i++ {
		go func() {
			blockThread(20 * time.Millisecond)
			runItem(&group)
		}()
	}
	group.Wait()
	took := time.Since(start)
	mustHaveRun(nr)
	return float64(took.Nanoseconds()) / 1e6
}

func blocking() []float64 {
	first := blockingMs()
	warm := make([]float64, pick(1, 5))
	for i := range warm {
		warm[i] = blockingMs()
	}
	sort.Float64s(warm)
	return []float64{first, warm[len(warm)/2]}
}

func usage() (int64, time.Duration) {
	var all syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &all) == nil, "getrusage")
	return all.Nvcsw + all.Nivcsw, time.Duration(all.Utime.Nano() + all.Stime.Nano())
}

func starvationMs() float64 {
	var group sync.WaitGroup
	group.Add(64 + 1000)
	ran = 0
	var computed int64
	var took time.Duration
	start := time.Now()
	for i := 0; i < 64; i++ {
		go func() {
			blockThread(10 * time.Millisecond)
			runItem(&group)
		}()
	}
	for i := 0; i < 1000; i++ {
		go func() {
			compute(20 * time.Microsecond)
			if atomic.AddInt64(&computed, 1) == 1000 {
				took = time.Since(start)
			}
			runItem(&group)
		}()
	}
	group.Wait()
	mustHaveRun(64 + 1000)
	return float64(took.Nanoseconds()) / 1e6
}

func starvation() []float64 {
	first := math.NaN()
	if !quick {
		first = starvationMs()
	}
	return []float64{first, starvationMs(), math.NaN()}
}

func idle() []float64 {
	var group sync.WaitGroup
	nr := 100064
	group.Add(nr)
	ran = 0
	for i := 0; i < nr; i++ {
		blocks := i < 64
		go func() {
			if blocks {
				blockThread(10 * time.Millisecond)
			}
			runItem(&group)
		}()
	}
	group.Wait()
	mustHaveRun(nr)
	blockThread(time.Duration(pick(200, 1000)) * time.Millisecond)
	switches, cpu := usage()
	blockThread(time.Duration(pick(200, 5000)) * time.Millisecond)
	switchesAfter, cpuAfter := usage()
	// One switch is that of the thread that sleeps.
	return []float64{float64(switchesAfter - switches - 1), float64((cpuAfter - cpu).Microseconds())}
}

// --- timers ---

func delays(nr int, from, span time.Duration) []time.Duration {
	state := uint64(88172645463325252)
	d := make([]time.Duration, nr)
	for i := range d {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		d[i] = from + time.Duration(state%uint64(span))
	}
	return d
}

func armCancel() []float64 {
	nr := pick(100000, 1000000)
	d := delays(nr, time.Second, 9*time.Second)
	timers := make([]*time.Timer, nr)
	var armed, cancelled time.Duration
	for pass := 0; pass < 2; pass++ {
		var fired, stopped int64
		start := time.Now()
		for i := range timers {
			timers[i] = time.AfterFunc(d[i], func() { atomic.AddInt64(&fired, 1) })
		}
		armed = time.Since(start)
		start = time.Now()
		for _, timer := range timers {
			if timer.Stop() {
				stopped++
			}
		}
		cancelled = time.Since(start)
		time.Sleep(20 * time.Millisecond)
		must(stopped+atomic.LoadInt64(&fired) == int64(nr), "either cancelling or firing every timer")
	}
	nan := math.NaN()
	return []float64{nsEach(armed, nr), nan, nsEach(cancelled, nr), nan, nan}
}

func late() []float64 {
	nr := pick(2000, 10000)
	d := delays(nr, 20*time.Millisecond, time.Duration(pick(200, 1000))*time.Millisecond)
	lateness := make([]time.Duration, nr)
	var group sync.WaitGroup
	group.Add(nr)
	early := 0
	for i := range d {
		i := i
		due := time.Now().Add(d[i])
		time.AfterFunc(d[i], func() {
			lateness[i] = time.Since(due)
			group.Done()
		})
	}
	group.Wait()
	for i := range lateness {
		if lateness[i] < 0 {
			early++
			lateness[i] = 0
		}
	}
	return []float64{percentileUs(lateness, 50), percentileUs(lateness, 99), float64(early)}
}

// --- all of them ---

var workloads = map[string]func() []float64{
	"empty_1p":         func() []float64 { return empty(1) },
	"empty_2p":         func() []float64 { return empty(2) },
	"empty_4p":         func() []float64 { return empty(4) },
	"spawn_tree":       spawnTree,
	"resubmit_chain":   chain,
	"serial_2p":        serial,
	"producers":        producers,
	"latency":          latency,
	"pingpong_hot":     func() []float64 { return pingpong(pick(5000, 50000), 0) },
	"pingpong_cold":    func() []float64 { return pingpong(pick(500, 3000), 200*time.Microsecond) },
	"blocking_256":     blocking,
	"starvation":       starvation,
	"idle":             idle,
	"timer_arm_cancel": armCancel,
	"timer_late":       late,
}

func main() {
	var run func() []float64
	for i, arg := range os.Args {
		if arg == "--quick" {
			quick = true
		}
		if arg == "--workload" && i+1 < len(os.Args) {
			run = workloads[os.Args[i+1]]
		}
	}
	must(run != nil, "finding the workload")
	for _, value := range run() {
		fmt.Printf("%f\n", value)
	}
}
