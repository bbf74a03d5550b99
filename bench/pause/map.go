// map.go - the Go twin of map.c, on Go's map.
package main

import "fmt"

const looked = 1000

type item struct {
	next *item
	key  uint64
}

var (
	theMap map[uint64]*item
	p      *pauses
	check  uint64
)

func keyOf(i uint64) uint64 { return mix((i + 1) * 0x9e3779b97f4a7c15) }

func look(from, to, last uint64) uint64 {
	check += uint64(len(theMap))
	for i := uint64(0); i < looked && to > from; i++ {
		if found := theMap[keyOf(from+i*7919%(to-from))]; found != nil {
			check += found.key
		} else {
			check++
		}
	}
	at := now()
	p.leaveOut(at - last)
	return at
}

func grow(from, to, last uint64) uint64 {
	for i := from; i < to; i++ {
		k := keyOf(i)
		theMap[k] = &item{key: k}
		last = p.add(last)
	}
	return look(0, to, last)
}

func shrink(from, to, last uint64) uint64 {
	for i := from; i > to; i-- {
		delete(theMap, keyOf(i-1))
		last = p.add(last)
	}
	return look(0, from, last)
}

func main() {
	entries := arg(1, 10000000)
	p = newPauses()
	theMap = map[uint64]*item{}

	stopsBegin()
	last := p.start()
	last = grow(0, entries, last)
	last = shrink(entries, entries/10, last)
	last = grow(entries/10, entries, last)
	shrink(entries, 0, last)
	p.finish()
	stopsEnd()
	fmt.Printf("check %d\ntotal %.6f\n", check, float64(p.end-p.begin)/1e9)
	stopsShow()
	show([]*pauses{p})
}
