// window.go - the Go twin of window.c. The fill copies what is there in doubling steps, as
// bytes.Repeat does: memmove's speed.
package main

import (
	"fmt"
	"os"
)

const message = 1024

var ring [][]byte

func fill(m []byte, b byte) {
	m[0] = b
	for n := 1; n < len(m); n *= 2 {
		copy(m[n:], m[:n])
	}
}

func main() {
	live, pushes := arg(1, 200000), arg(2, 2000000)
	if live == 0 || pushes < live {
		os.Exit(2)
	}
	p := newPauses()
	ring = make([][]byte, live)

	stopsBegin()
	last := p.start()
	for i := uint64(0); i < pushes; i++ {
		m := make([]byte, message)
		fill(m, byte(i&0xff))
		ring[i%live] = m
		last = p.add(last)
	}
	p.finish()
	stopsEnd()

	var check uint64
	for i := uint64(0); i < live; i++ {
		check += uint64(ring[i][i%message])
	}
	fmt.Printf("check %d\ntotal %.6f\n", check, float64(p.end-p.begin)/1e9)
	stopsShow()
	show([]*pauses{p})
}
