// resize.go - the Go twin of resize.c. Whether a map is growing, Go's header of it says: the
// fourth word holds the old array.
package main

import (
	"fmt"
	"os"
	"runtime"
	"sort"
	"unsafe"
)

const windows = 320

var (
	theMap   map[key]uint64
	theBatch batch
	index    [batchSize]uint64
)

func resizing(m map[key]uint64) bool {
	header := *(**[4]uintptr)(unsafe.Pointer(&m))
	return header[3] != 0
}

func timedWrites(m map[key]uint64, table []uint32, n uint64, deletes bool, l *latency) {
	b := &theBatch
	for at := uint64(0); at < n; at += batchSize {
		c := min(n-at, batchSize)
		for j := uint64(0); j < c; j++ {
			index[j] = at + j
			if deletes {
				index[j] = uint64(table[at+j])
			}
		}
		b.fill(index[:c])
		last := now()
		if deletes {
			for _, k := range b.key[:c] {
				delete(m, k)
				last = l.add(last, now())
			}
			continue
		}
		for j, k := range b.key[:c] {
			m[k] = index[j] + 1
			last = l.add(last, now())
		}
	}
}

func insertPlain(m map[key]uint64, from, to uint64) {
	for i := from; i < to; i++ {
		m[keyNumber(i)] = i + 1
	}
}

func runWrites(n uint64, deletes bool, path string) {
	m := map[key]uint64{}
	theMap = m
	l := newLatency(n)
	var table []uint32
	wanted := n
	if deletes {
		state := n
		table = numbers(n)
		shuffle(table, &state)
		insertPlain(m, 0, n)
		wanted = 0
	}
	l.look()
	before, ns := l.switches, now()
	timedWrites(m, table, n, deletes, l)
	ns = now() - ns
	l.look()
	lost := l.switches - before
	if uint64(len(m)) != wanted {
		die("the map has a wrong length")
	}
	var check uint64
	for k, v := range m {
		check += k + v
	}
	sum.note(l.ns[:l.count], false)
	fmt.Printf("check %d\n", check)
	sum.show("")
	l.showOwn()
	fmt.Printf("seconds %.3f\nswitches %d\n", float64(ns)/1e9, lost)
	l.plot(deletes, path)
}

type window struct {
	mean          float64
	before, after bool
}

func lookups(m map[key]uint64, count, entries uint64, state *uint64, each *latency,
	ns *uint64) uint64 {
	total := uint64(0)
	b := &theBatch
	for at := uint64(0); at < count; at += batchSize {
		c := min(count-at, batchSize)
		for j := uint64(0); j < c; j++ {
			index[j] = random(state) % entries
		}
		b.fill(index[:c])
		last := now()
		for j, k := range b.key[:c] {
			if m[k] == index[j]+1 {
				total++
			}
			if each != nil {
				last = each.add(last, now())
			}
		}
		if each == nil {
			*ns += now() - last
		}
	}
	return total
}

func showWindows(w []window, ns []uint32, each uint64, during bool, from, to uint64,
	prefix string) float64 {
	sum.clear()
	var means []float64
	for i := from; i < to; i++ {
		if w[i].before != during || w[i].after != during {
			continue
		}
		sum.note(ns[i*each:(i+1)*each], false)
		means = append(means, w[i].mean)
	}
	if len(means) == 0 {
		return 0
	}
	sort.Float64s(means)
	mean := means[len(means)/2]
	fmt.Printf("%smean %.2f\n", prefix, mean)
	sum.show(prefix)
	return mean
}

func runLookups(n uint64) {
	var w [windows]window
	have := n / 2
	state, step, right := n, (n-have)/windows, uint64(0)
	m := map[key]uint64{}
	theMap = m
	l := newLatency(windows * step)
	insertPlain(m, 0, have)
	first, end := uint64(windows), uint64(0)
	growing := resizing(m)
	for i := uint64(0); i < windows; i++ {
		ns := uint64(0)
		w[i].before = growing
		insertPlain(m, have, have+step)
		have += step
		growing = resizing(m)
		w[i].after = growing
		right += lookups(m, step, have, &state, nil, &ns)
		right += lookups(m, step, have, &state, l, &ns)
		w[i].mean = float64(ns) / float64(step)
		if !w[i].before || !w[i].after {
			continue
		}
		if first == windows {
			first = i
		}
		end = i + 1
	}
	if right != 2*windows*step {
		die("the map gave a wrong answer")
	}
	fmt.Printf("check %d\n", right)
	half := uint64(windows)
	if first < end {
		half = (end - first + 1) / 2
	}
	during := showWindows(w[:], l.ns, step, true, first, end, "during_")
	from := uint64(0)
	if first > half+1 {
		from = first - half - 1
	}
	rest := showWindows(w[:], l.ns, step, false, from, min(end+half+1, windows), "rest_")
	if during > 0 && rest > 0 {
		fmt.Printf("ratio %.3f\n", during/rest)
	}
}

func main() {
	n := arg(2, 0)
	if n < 2*windows {
		os.Exit(2)
	}
	runtime.LockOSThread()
	if os.Args[1] == "lookup" {
		runLookups(n)
	} else {
		runWrites(n, os.Args[1] == "delete", os.Args[0]+"."+os.Args[1])
	}
}
