// collector.go - the collector's side: finalizers, stacks, churn, thrash, fragments, profiles.
package main

import (
	"math"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

func init() {
	programs["short-lived-churn-missed"] = shortLivedChurn
	programs["thread-stack-leak"] = threadStackLeak
	programs["finalizer-cycle"] = finalizerCycle
	programs["gc-thrash"] = gcThrash
	programs["floating-garbage"] = floatingGarbage
	programs["span-pinned-by-one-object"] = spanPinned
	programs["three-sigma-detector"] = threeSigma
	programs["heap-profile-of-a-map"] = heapProfile
}

var objects []*[64]byte
var objectSink *[64]byte

func shortLivedChurn() {
	start := live()
	for r := 0; r < 4; r++ {
		for i := 0; i < 200000; i++ {
			objectSink = new([64]byte)
		}
		objectSink = nil
		live()
	}
	row("4 rounds of 200,000 objects of 64 bytes, dropped", live()-start)
	objects = make([]*[64]byte, 2000)
	start = live()
	for i := 0; i < 200000; i++ {
		p := new([64]byte)
		objectSink = p
		if i%100 == 0 {
			objects[i/100] = p
		}
	}
	objectSink = nil
	row("one round of which every 100th object is kept", live()-start)
}

var dumps [][]byte

//go:noinline
func dump(keep bool) {
	b := make([]byte, 4096)
	runtime.Stack(b, false)
	if keep {
		dumps = append(dumps, b)
	} else {
		sink = b
	}
}

func threadStackLeak() {
	start := live()
	for i := 0; i < 20000; i++ {
		dump(false)
	}
	sink = nil
	row("20,000 stack dumps into fresh 4 KiB buffers", live()-start)
	for i := 0; i < 20000; i++ {
		dump(true)
	}
	row("the same, buffers kept", live()-start)
}

// ---- finalizers ----

type node struct {
	next *node
	body [1016]byte
}

var finalized int64

func count(*node) { atomic.AddInt64(&finalized, 1) }

//go:noinline
func makeNodes(n int, cycle, first, second bool) {
	for i := 0; i < n; i++ {
		a, b := &node{}, &node{}
		a.next = b
		if cycle {
			b.next = a
		}
		if first {
			runtime.SetFinalizer(a, count)
		}
		if second {
			runtime.SetFinalizer(b, count)
		}
	}
}

func collectOnce() float64 {
	runtime.GC()
	time.Sleep(50 * time.Millisecond)
	return float64(stats().HeapAlloc)
}

func finalizerCycle() {
	start := live()
	makeNodes(1000, false, true, false)
	collectOnce()
	row("1,000 acyclic pairs with a finalizer on the first node", collectOnce()-start)
	atomic.StoreInt64(&finalized, 0)
	apart(func() {
		var last *node
		for i := 0; i < 10; i++ {
			n := &node{next: last}
			runtime.SetFinalizer(n, count)
			last = n
		}
	})
	rounds := 0
	for ; atomic.LoadInt64(&finalized) < 10 && rounds < 20; rounds++ {
		collectOnce()
	}
	row("a chain of 10 with finalizers: collections until all ran", float64(rounds))
	start = live()
	gate := make(chan struct{})
	apart(func() { runtime.SetFinalizer(&node{}, func(*node) { <-gate }) })
	collectOnce()
	apart(func() {
		for i := 0; i < 1000; i++ {
			runtime.SetFinalizer(&node{}, count)
		}
	})
	row("one blocked finalizer before 1,000 others", live()-start)
	close(gate)
	time.Sleep(100 * time.Millisecond)
	start = live()
	makeNodes(1000, true, false, false)
	row("1,000 cycles of two 1 KiB nodes, no finalizers", live()-start)
	start = live()
	makeNodes(1000, true, true, true)
	live()
	row("the same, finalizers on both nodes", live()-start)
}

// ---- thrash ----

var nodes *node
var nodeSink *node

func gcThrash() {
	for i := 0; i < 65536; i++ {
		nodes = &node{next: nodes}
	}
	const mib = 1 << 20
	run := func(what string, percent int, bytes int64) {
		runtime.GC()
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(bytes)
		before := stats().NumGC
		for i := 0; i < 131072; i++ {
			nodeSink = &node{}
		}
		n := stats().NumGC - before
		nodeSink = nil
		debug.SetMemoryLimit(math.MaxInt64)
		row(what+": collections", float64(n))
	}
	run("128 MiB of garbage beside 64 MiB, gc_percent 100", 100, math.MaxInt64)
	run("the same, gc_percent 25", 25, math.MaxInt64)
	run("the same, gc_percent 5", 5, math.MaxInt64)
	alive := int64(stats().Sys) - int64(stats().HeapReleased) - int64(stats().HeapIdle)
	run("the same, a memory limit of 16 MiB more than lives", 100, alive+16*mib)
	run("the same, a memory limit of 4 MiB less than lives", 100, alive-4*mib)
}

// ---- floating garbage ----

type link struct{ next, other *link }

var links *link
var pieces [2000]*[4096]byte

func floatingGarbage() {
	for i := 0; i < 2000000; i++ {
		links = &link{next: links}
	}
	beside := func(what string, mutate func()) {
		start := live()
		if strings.Contains(what, "lived") {
			for i := range pieces {
				pieces[i] = new([4096]byte)
			}
		}
		var wg sync.WaitGroup
		wg.Add(1)
		go func() {
			runtime.GC()
			wg.Done()
		}()
		time.Sleep(2 * time.Millisecond) // the mark takes some ten
		mutate()
		wg.Wait()
		// live after the mark in which they died; the next frees all
		row(what, float64(stats().HeapAlloc)-start)
	}
	beside("2,000 objects of 4 KiB born and dropped beside a mark", func() {
		for i := 0; i < 2000; i++ {
			sink = new([4096]byte)
		}
		sink = nil
	})
	beside("2,000 objects of 4 KiB that lived, dropped beside a mark", func() {
		for i := range pieces {
			pieces[i] = nil
		}
	})
}

// ---- fragments ----

var keptWords []*int
var wordSink *int

func spanPinned() {
	fill := func(keep bool) float64 {
		before := live()
		inuse := float64(stats().HeapInuse)
		debug.SetGCPercent(-1)
		if keep {
			keptWords = make([]*int, 0, 4096)
		}
		for i := 0; i < 4<<20; i++ {
			p := new(int)
			*p = i
			wordSink = p
			if keep && i%1024 == 0 {
				keptWords = append(keptWords, p)
			}
		}
		wordSink = nil
		debug.SetGCPercent(100)
		live()
		_ = before
		return float64(stats().HeapInuse) - inuse
	}
	row("4 million objects of 8 bytes, 1 in 1,024 kept: heap_inuse", fill(true))
	keptWords = nil
	live()
	row("the same, none kept", fill(false))
}

// ---- three sigma ----

var leaked [][]byte

func threeSigma() {
	const samples, window = 300, 30
	alarms := func(x []float64) float64 {
		n := 0
		for i := window; i < len(x); i++ {
			mean, variance := 0.0, 0.0
			for _, v := range x[i-window : i] {
				mean += v / window
			}
			for _, v := range x[i-window : i] {
				variance += (v - mean) * (v - mean) / window
			}
			if x[i] > mean+3*math.Sqrt(variance) && x[i] != mean {
				n++
			}
		}
		return float64(n)
	}
	run := func(leaks, temporary, collects bool) ([]float64, []float64) {
		var sys, lives []float64
		for i := 0; i < samples; i++ {
			for j := 0; j < 1024; j++ {
				sink = new([1024]byte)
			}
			if leaks {
				leaked = append(leaked, make([]byte, 64<<10))
			}
			if temporary && i == samples/2 {
				sink = make([]byte, 64<<20)
			}
			sink = nil
			if collects && i%10 == 9 {
				lives = append(lives, live())
			}
			sys = append(sys, float64(stats().Sys))
		}
		leaked = nil
		live()
		return sys, lives
	}
	rises := func(x []float64) float64 {
		n := 0
		for i := 1; i < len(x); i++ {
			if x[i] > x[i-1]+4096 {
				n++
			}
		}
		return float64(n)
	}
	sys, _ := run(true, false, false)
	row("300 samples, a leak of 64 KiB each: alarms of sys", alarms(sys))
	var ramp []float64
	for i := 0; i < samples; i++ {
		ramp = append(ramp, float64(i)*65536)
	}
	row("a pure ramp: alarms", alarms(ramp))
	sys, _ = run(false, true, false)
	row("no leak, one object of 64 MiB for a moment: alarms of sys", alarms(sys))
	_, lives := run(true, false, true)
	row("the leak: live bytes rose, of 29 times", rises(lives))
	_, lives = run(false, false, true)
	row("no leak: live bytes rose, of 29 times", rises(lives))
	_, lives = run(false, true, true)
	row("no leak, one object of 64 MiB for a moment: live bytes rose, of 29 times", rises(lives))
}

// ---- the profile ----

func heapProfile() {
	globalInts = fillInts(1000000)
	live()
	records := make([]runtime.MemProfileRecord, 1000)
	n, _ := runtime.MemProfile(records, false)
	ours, total := int64(0), int64(0)
	for _, r := range records[:n] {
		total += r.InUseBytes()
		for _, pc := range r.Stack() {
			if f := runtime.FuncForPC(pc); f != nil && strings.HasSuffix(f.Name(), "fillInts") {
				ours += r.InUseBytes()
				break
			}
		}
	}
	row("map of 1,000,000: in use by the function that inserts", float64(ours)/float64(total)*100)
	runtime.KeepAlive(globalInts)
}
