// trees.go - the Go twin of trees.c: the same trees in the same order.
package main

import (
	"fmt"
	"time"
)

const (
	minDepth  = 4
	depthStep = 4
)

type node struct{ left, right *node }

func build(depth uint) *node {
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

func main() {
	max := uint(arg(1, 20))

	start := time.Now()
	check := build(max + 1).count()
	longLived := build(max)
	for depth := uint(minDepth); depth <= max; depth += depthStep {
		trees := uint64(1) << (max - depth + minDepth)
		for i := uint64(0); i < trees; i++ {
			check += build(depth).count()
		}
	}
	check += longLived.count()
	elapsed := time.Since(start)

	fmt.Printf("check %d\ntime %.6f\n", check, elapsed.Seconds())
}
