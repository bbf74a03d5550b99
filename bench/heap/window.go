// window.go - the Go twin of window.c. Go 1.19 has no memset for a byte other than 0; the fill
// copies what is there in doubling steps, as bytes.Repeat does: memmove's speed, not a byte at a
// time.
package main

import (
	"fmt"
	"os"
	"time"
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

	ring = make([][]byte, live)

	var worst time.Duration
	start := time.Now()
	before := start
	for i := uint64(0); i < pushes; i++ {
		m := make([]byte, message)
		fill(m, byte(i&0xff))
		ring[i%live] = m
		now := time.Now()
		if d := now.Sub(before); d > worst {
			worst = d
		}
		before = now
	}

	var check uint64
	for i := uint64(0); i < live; i++ {
		check += uint64(ring[i][i%message])
	}
	fmt.Printf("check %d\nworst %.3f\ntotal %.6f\n", check, float64(worst.Nanoseconds())/1e3,
		before.Sub(start).Seconds())
}
