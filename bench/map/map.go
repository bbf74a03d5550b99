// map.go - the Go twin of map.c, on Go's built-in map.
package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	leastTotal = 1000000
	mostMaps   = 1000
)

type op struct {
	ns, count uint64
}

const (
	inOrder = iota
	byTable
	anyKey
	none
)

type source struct {
	kind  int
	table []uint32
	n     uint64
	state *uint64
}

func (s *source) at(i uint64) uint64 {
	switch s.kind {
	case byTable:
		return uint64(s.table[i])
	case anyKey:
		return random(s.state) % s.n
	case none:
		return keyMissing + i
	}
	return i
}

const (
	set = iota
	get
	remove
)

var (
	theBatch batch
	index    [batchSize]uint64
	start    = time.Now()
	maps     [mostMaps]map[key]uint64
)

func now() uint64 { return uint64(time.Since(start)) }

func pass(m map[key]uint64, action int, s source, count uint64, o *op) uint64 {
	var sum uint64
	b := &theBatch
	for at := uint64(0); at < count; {
		n := count - at
		if n > batchSize {
			n = batchSize
		}
		for j := uint64(0); j < n; j++ {
			index[j] = s.at(at + j)
		}
		b.fill(index[:n])
		keys := b.key[:n]
		begin := now()
		switch action {
		case set:
			for j, k := range keys {
				m[owned(k)] = index[j] + 1
			}
			sum += n
		case get:
			for _, k := range keys {
				sum += m[k]
			}
		case remove:
			had := len(m)
			for _, k := range keys {
				delete(m, k)
			}
			sum += uint64(had - len(m))
		}
		o.ns += now() - begin
		at += n
	}
	o.count += count
	return sum
}

func sumOf(m map[key]uint64) uint64 {
	var sum uint64
	for k, v := range m {
		sum += weigh(k) + v
	}
	return sum
}

func passSum(m map[key]uint64, n uint64, o *op) uint64 {
	times := uint64(1)
	if n < 20000 {
		times = 20000 / n
	}
	var sum uint64
	begin := now()
	for t := uint64(0); t < times; t++ {
		sum = sumOf(m)
	}
	o.ns += now() - begin
	o.count += times * n
	return sum
}

func expect(got, wanted uint64) {
	if got != wanted {
		die("the map gave a wrong answer")
	}
}

func show(name string, o *op) {
	fmt.Printf("%s %.3f\n", name, float64(o.ns)/float64(o.count))
}

func runTime(n, leastNs uint64) {
	var insert, hit, miss, iterate, del, reinsert, drain, refill op
	var check uint64
	state, half, all := n, n/2, n*(n+1)/2
	table := numbers(n)
	ordered, tabled := source{kind: inOrder}, source{kind: byTable, table: table}
	anyOf, noneOf := source{kind: anyKey, n: n, state: &state}, source{kind: none}
	for insert.ns < leastNs || del.ns < leastNs || reinsert.ns < leastNs {
		m := map[key]uint64{}
		maps[0] = m
		expect(pass(m, set, ordered, n, &insert), n)
		expect(uint64(len(m)), n)
		shuffle(table, &state)
		expect(pass(m, get, tabled, n, &hit), all)
		expect(pass(m, get, noneOf, n, &miss), 0)
		check = passSum(m, n, &iterate)
		expect(pass(m, remove, tabled, half, &del), half)
		expect(uint64(len(m)), n-half)
		shuffle(table[:half], &state)
		pass(m, set, tabled, half, &reinsert)
		expect(passSum(m, n, &iterate), check)
		shuffle(table, &state)
		expect(pass(m, remove, tabled, n, &drain), n)
		pass(m, set, ordered, n, &refill)
	}
	m := maps[0]
	for hit.ns < leastNs {
		pass(m, get, anyOf, n, &hit)
	}
	for miss.ns < leastNs {
		expect(pass(m, get, noneOf, n, &miss), 0)
	}
	for iterate.ns < leastNs {
		expect(passSum(m, n, &iterate), check)
	}
	fmt.Printf("check %d\n", check)
	show("insert", &insert)
	show("hit", &hit)
	show("miss", &miss)
	show("iterate", &iterate)
	show("delete", &del)
	show("reinsert", &reinsert)
	show("drain", &drain)
	show("refill", &refill)
}

func kernelSays(file, what string) float64 {
	text, _ := os.ReadFile(file)
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, what) {
			kib, _ := strconv.ParseFloat(strings.Fields(line)[1], 64)
			return kib * 1024
		}
	}
	die("the kernel doesn't tell the RSS")
	return 0
}

func rss() float64 { return kernelSays("/proc/self/smaps_rollup", "Rss:") }

func setOne(m map[key]uint64, i uint64) {
	index[0] = i
	theBatch.fill(index[:1])
	m[owned(theBatch.key[0])] = i + 1
}

func runMemory(n uint64) {
	count := uint64(1)
	if n < leastTotal {
		count = leastTotal / n
	}
	if count > mostMaps {
		count = mostMaps
	}
	maps[0] = map[key]uint64{}
	setOne(maps[0], keyMissing)
	for j := uint64(0); j < count; j++ {
		maps[j] = map[key]uint64{}
	}
	rss() // what the reading itself needs is there before
	before := rss()
	for i := uint64(0); i < n; i++ {
		for j := uint64(0); j < count; j++ {
			setOne(maps[j], j*n+i)
		}
	}
	rest, peak := rss(), kernelSays("/proc/self/status", "VmHWM:")
	if peak < rest {
		peak = rest
	}
	var sum uint64
	for _, m := range maps[:count] {
		expect(uint64(len(m)), n)
		sum += sumOf(m)
	}
	entries := float64(n * count)
	fmt.Printf("check %d\nrest %.3f\npeak %.3f\n", sum, (rest-before)/entries,
		(peak-before)/entries)
}

func main() {
	n := arg(2, 0)
	if n == 0 {
		os.Exit(2)
	}
	if os.Args[1] == "time" {
		runTime(n, arg(3, 200)*1000000)
	} else {
		runMemory(n)
	}
}
