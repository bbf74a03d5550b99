// pause.go - the Go twin of pause.h. Its recorders lie outside of Go's heap.
package main

import (
	"fmt"
	"math"
	"math/bits"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"
)

const (
	subBits = 6
	buckets = (64 - subBits + 1) << subBits
	notedNs = 20000
	maxGaps = 1 << 22
)

type gap struct{ begin, end, before uint64 }

type pauses struct {
	begin, end, most, noted, over, ngaps uint64
	counts                               [buckets]uint64
	gaps                                 [maxGaps]gap
}

var started = time.Now()

func now() uint64 { return uint64(time.Since(started)) }

func die(what string) {
	fmt.Fprintln(os.Stderr, what)
	os.Exit(1)
}

func bucketOf(ns uint64) uint64 {
	if ns < 2<<subBits {
		return ns
	}
	shift := uint64(63-bits.LeadingZeros64(ns)) - subBits
	return shift<<subBits + ns>>shift
}

func upper(bucket uint64) uint64 {
	if bucket < 2<<subBits {
		return bucket
	}
	shift := bucket>>subBits - 1
	return (bucket-shift<<subBits+1)<<shift - 1
}

func newPauses() *pauses {
	b, err := syscall.Mmap(-1, 0, int(unsafe.Sizeof(pauses{})),
		syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		die("out of memory")
	}
	p := (*pauses)(unsafe.Pointer(&b[0]))
	for i := range p.counts {
		p.counts[i] = 0
	}
	p.noted = notedNs
	return p
}

func (p *pauses) thin() {
	kept := uint64(0)
	p.noted *= 2
	for _, g := range p.gaps[:p.ngaps] {
		if g.end-g.begin >= p.noted {
			p.gaps[kept] = g
			kept++
		}
	}
	p.ngaps = kept
}

//go:noinline
func (p *pauses) note(last, at uint64) uint64 {
	p.over++
	for p.ngaps == maxGaps {
		p.thin()
	}
	if at-last >= p.noted {
		p.gaps[p.ngaps] = gap{last, at, 0}
		p.ngaps++
	}
	return now()
}

func (p *pauses) start() uint64 {
	p.begin = now()
	return p.begin
}

func (p *pauses) add(last uint64) uint64 {
	at := now()
	ns := at - last
	p.counts[bucketOf(ns)]++
	if ns > p.most {
		p.most = ns
	}
	if ns < notedNs {
		return at
	}
	return p.note(last, at)
}

func (p *pauses) leaveOut(ns uint64) {
	p.begin += ns
	for i := range p.gaps[:p.ngaps] {
		p.gaps[i].begin += ns
		p.gaps[i].end += ns
	}
}

func (p *pauses) finish() {
	sum := uint64(0)
	p.end = now()
	for i := range p.gaps[:p.ngaps] {
		g := &p.gaps[i]
		g.before = sum
		sum += g.end - g.begin
	}
}

func (p *pauses) first(t uint64) uint64 {
	lo, hi := uint64(0), p.ngaps
	for lo < hi {
		mid := (lo + hi) / 2
		if p.gaps[mid].end > t {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

func (p *pauses) lost(t uint64) uint64 {
	i := p.first(t)
	if i == p.ngaps {
		if i == 0 {
			return 0
		}
		g := &p.gaps[i-1]
		return g.before + g.end - g.begin
	}
	g := &p.gaps[i]
	if t > g.begin {
		return g.before + t - g.begin
	}
	return g.before
}

func (p *pauses) mmu(window uint64) float64 {
	most := uint64(0)
	if p.end-p.begin < window {
		window = p.end - p.begin
	}
	for i := uint64(0); i < 2*p.ngaps; i++ {
		g := &p.gaps[i/2]
		lo := g.begin
		if i%2 == 1 {
			lo = g.end - window
			if g.end < p.begin+window {
				lo = p.begin
			}
		}
		if lo > p.end-window {
			lo = p.end - window
		}
		if lost := p.lost(lo+window) - p.lost(lo); lost > most {
			most = lost
		}
	}
	if window == 0 {
		return 100
	}
	return 100 * float64(window-most) / float64(window)
}

func (p *pauses) at(part float64) uint64 {
	count, seen := uint64(0), uint64(0)
	for _, c := range p.counts {
		count += c
	}
	rank := uint64(math.Ceil(part * float64(count)))
	for i, c := range p.counts {
		seen += c
		if seen >= rank && seen > 0 {
			if u := upper(uint64(i)); u < p.most {
				return u
			}
			return p.most
		}
	}
	return 0
}

func cost() float64 {
	const times, readings = 50, 50000
	p := newPauses()
	least := uint64(math.MaxUint64)
	for t := 0; t < times; t++ {
		begin := p.start()
		last := begin
		for i := 0; i < readings; i++ {
			last = p.add(last)
		}
		if last-begin < least {
			least = last - begin
		}
	}
	return float64(least) / readings
}

func show(all []*pauses) {
	p := all[0]
	for _, ms := range []uint64{1, 10, 100} {
		least := 100.0
		for _, q := range all {
			least = math.Min(least, q.mmu(ms*1000000))
		}
		fmt.Printf("mmu%d %.3f\n", ms, least)
	}
	for _, q := range all[1:] {
		for b, c := range q.counts {
			p.counts[b] += c
		}
		p.over += q.over
		if q.most > p.most {
			p.most = q.most
		}
	}
	fmt.Printf("worst %.3f\np9999 %.3f\np999 %.3f\np50 %d\nover %d\nclock %.1f\n",
		float64(p.most)/1e3, float64(p.at(0.9999))/1e3, float64(p.at(0.999))/1e3, p.at(0.5),
		p.over, cost())
}

var stops struct {
	memory runtime.MemStats
	cycles uint32
	most   uint64
}

func stopsBegin() {
	runtime.ReadMemStats(&stops.memory)
	stops.cycles = stops.memory.NumGC
}

func stopsEnd() {
	m := &stops.memory
	runtime.ReadMemStats(m)
	stops.cycles = m.NumGC - stops.cycles
	for i := uint32(0); i < stops.cycles && i < 256; i++ {
		if ns := m.PauseNs[(m.NumGC-i+255)%256]; ns > stops.most {
			stops.most = ns
		}
	}
}

func stopsShow() {
	fmt.Printf("cycles %d\n", stops.cycles)
	if stops.most > 0 {
		fmt.Printf("stop %.3f\n", float64(stops.most)/1e3)
	}
}
