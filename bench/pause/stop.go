// stop.go - the Go twin of stop.c, with goroutines. What Go tells of a stop is how long a reading
// of the statistics takes. `runtime` allocates, and so collects at times; of `syscall` each keeps a
// thread of the system.
package main

import (
	"fmt"
	"os"
	"runtime"
	"sort"
	"sync"
	"syscall"
	"time"
)

var (
	ends    [2]int
	results [256]uint64
	objects [256]*[8]uint64
	started sync.WaitGroup
)

func compute(i uint64) {
	started.Done()
	for state := uint64(1); ; {
		results[i] = random(&state)
	}
}

func inAndOut(i uint64) {
	started.Done()
	for {
		objects[i] = new([8]uint64)
	}
}

func block(uint64) {
	started.Done()
	<-make(chan bool)
}

func callSystem(uint64) {
	var b [1]byte
	started.Done()
	for {
		syscall.Read(ends[0], b[:])
	}
}

func main() {
	names := []string{"compute", "runtime", "blocked", "syscall"}
	kinds := []func(uint64){compute, inAndOut, block, callSystem}
	threads, stops := arg(1, 16), arg(3, 300)
	if len(os.Args) < 3 || threads > 256 || stops == 0 {
		os.Exit(2)
	}
	if os.Args[2] != "mixed" {
		k := 0
		for k < len(names)-1 && names[k] != os.Args[2] {
			k++
		}
		kinds = kinds[k : k+1]
	}
	syscall.Pipe(ends[:])
	started.Add(int(threads))
	for i := uint64(0); i < threads; i++ {
		go kinds[i%uint64(len(kinds))](i)
	}
	started.Wait()
	var memory runtime.MemStats
	whole := make([]float64, stops)
	for i := range whole {
		time.Sleep(time.Millisecond)
		begin := time.Now()
		runtime.ReadMemStats(&memory)
		whole[i] = float64(time.Since(begin).Nanoseconds()) / 1e3
	}
	sort.Float64s(whole)
	fmt.Printf("whole %.3f\nwhole_worst %.3f\n", whole[stops/2], whole[stops-1])
}
