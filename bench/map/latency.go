// latency.go - the Go twin of latency.h. Its arrays lie outside of Go's heap.
package main

import (
	"fmt"
	"math"
	"os"
	"sort"
	"syscall"
	"time"
)

const (
	latencyDirect = 65536
	latencyLong   = 500
	latencyOthers = 1 << 31
	latencyBucket = 1.2115276586285884
)

var start = time.Now()

func now() uint64 { return uint64(time.Since(start)) }

type latency struct {
	ns               []uint32
	count            uint64
	switches, faults int64
	faulted          uint64
	faultMost        uint32
}

// Of this thread, to which main locks its goroutine.
func (l *latency) look() {
	const thread = 1 // RUSAGE_THREAD
	var u syscall.Rusage
	syscall.Getrusage(thread, &u)
	l.switches, l.faults = u.Nivcsw, u.Minflt+u.Majflt
}

func newLatency(most uint64) *latency {
	l := &latency{ns: numbers(most)}
	l.look()
	return l
}

func (l *latency) add(last, now uint64) uint64 {
	ns := min(now-last, latencyOthers-1)
	l.ns[l.count] = uint32(ns)
	l.count++
	if ns < latencyLong {
		return now
	}
	return l.long(&l.ns[l.count-1])
}

//go:noinline
func (l *latency) long(ns *uint32) uint64 {
	switches, faults := l.switches, l.faults
	l.look()
	if l.faults != faults {
		l.faulted++
		if *ns > l.faultMost {
			l.faultMost = *ns
		}
	}
	if l.faults != faults || l.switches != switches {
		*ns |= latencyOthers
	}
	return now()
}

type latencySum struct {
	direct [latencyDirect]uint64
	above  []uint32
	count  uint64
}

var sum latencySum

func (s *latencySum) clear() { *s = latencySum{} }

// With own, only the operations that are the map's own work.
func (s *latencySum) note(v []uint32, own bool) {
	for _, ns := range v {
		if own && ns&latencyOthers != 0 {
			continue
		}
		ns &^= latencyOthers
		s.count++
		if ns < latencyDirect {
			s.direct[ns]++
		} else {
			s.above = append(s.above, ns)
		}
	}
	sort.Slice(s.above, func(i, j int) bool { return s.above[i] < s.above[j] })
}

func (s *latencySum) at(part float64) uint32 {
	rank, seen := uint64(math.Ceil(part*float64(s.count))), uint64(0)
	if s.count == 0 {
		return 0
	}
	if rank == 0 {
		rank = 1
	}
	for ns, n := range s.direct {
		seen += n
		if seen >= rank {
			return uint32(ns)
		}
	}
	return s.above[rank-seen-1]
}

func (s *latencySum) over(ns uint32) uint64 {
	n := uint64(0)
	for _, c := range s.direct[min(uint64(ns)+1, latencyDirect):] {
		n += c
	}
	for _, a := range s.above {
		if a > ns {
			n++
		}
	}
	return n
}

func min(a, b uint64) uint64 {
	if a < b {
		return a
	}
	return b
}

func (s *latencySum) show(prefix string) {
	for _, p := range []struct {
		name string
		part float64
	}{{"p50", 0.5}, {"p99", 0.99}, {"p999", 0.999}, {"p9999", 0.9999}} {
		fmt.Printf("%s%s %d\n", prefix, p.name, s.at(p.part))
	}
	fmt.Printf("%smax %.1f\n", prefix, float64(s.at(1))/1e3)
	fmt.Printf("%sover10 %d\n%sover100 %d\n%sover1000 %d\n", prefix, s.over(10000), prefix,
		s.over(100000), prefix, s.over(1000000))
}

func (l *latency) showOwn() {
	sum.clear()
	sum.note(l.ns[:l.count], true)
	fmt.Printf("own_p9999 %d\nown_max %.1f\nfault_max %.1f\nfaults %d\n", sum.at(0.9999),
		float64(sum.at(1))/1e3, float64(l.faultMost)/1e3, l.faulted)
}

func (l *latency) plot(deletes bool, path string) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0666)
	if err != nil {
		die("the figures for the plot can't be written")
	}
	for first, lo := uint64(1), 1.0; first <= l.count; lo *= latencyBucket {
		next := uint64(math.Ceil(lo * latencyBucket))
		if next <= first {
			continue
		}
		if next+(next-first)/2 > l.count {
			next = l.count + 1
		}
		from := first - 1
		if deletes {
			from = l.count - next + 1
		}
		sum.clear()
		sum.note(l.ns[from:from+next-first], false)
		fmt.Fprintf(f, "%d %d %d %d\n", first, next-1, sum.at(1), sum.at(0.9999))
		first = next
	}
	if f.Close() != nil {
		die("the figures for the plot can't be written")
	}
}
