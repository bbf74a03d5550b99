// trees.go - the Go twin of trees.c: the same trees in the same order.
package main

import (
	"fmt"
	"os"
)

const (
	small = 6
	kept  = 16
)

type node struct{ left, right *node }

var large *node

func build(depth uint64) *node {
	if depth == 0 {
		return &node{}
	}
	return &node{build(depth - 1), build(depth - 1)}
}

func (n *node) count() uint64 {
	if n.left == nil {
		return 1
	}
	return 1 + n.left.count() + n.right.count()
}

func replace(n *node, depth, way uint64) {
	at := &n
	for next := large; depth > small; depth, way = depth-1, way>>1 {
		at = &next.left
		if way&1 != 0 {
			at = &next.right
		}
		next = *at
	}
	*at = n
}

func main() {
	depth, operations := arg(1, 22), arg(2, 1000000)
	if depth <= small || depth > 40 {
		os.Exit(2)
	}
	p := newPauses()
	state, check := uint64(1), uint64(0)

	start := now()
	large = build(depth)
	stopsBegin()
	last := p.start()
	for i := uint64(0); i < operations; i++ {
		n := build(small)
		check += n.count()
		if i%kept == 0 {
			replace(n, depth, random(&state))
		}
		last = p.add(last)
	}
	p.finish()
	stopsEnd()
	check += large.count()
	fmt.Printf("check %d\ntotal %.6f\n", check, float64(p.end-start)/1e9)
	stopsShow()
	show([]*pauses{p})
}
