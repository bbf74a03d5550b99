// graph.go - the Go twin of graph.c: the same nodes, the same edges.
package main

import (
	"fmt"
	"os"
	"runtime"
	"sort"
	"time"
)

const (
	edges = 4
	runs  = 3
)

type node struct {
	out     [edges]*node
	payload [4]uint64
}

var table []*node

func main() {
	nodes := arg(1, 16777216)
	if nodes == 0 {
		os.Exit(2)
	}

	table = make([]*node, nodes)
	for i := range table {
		n := new(node)
		n.payload[0] = uint64(i)
		table[i] = n
	}
	state := uint64(1)
	for i := range table {
		for e := 0; e < edges; e++ {
			table[i].out[e] = table[random(&state)%nodes]
		}
	}

	var ms [runs]float64
	for r := range ms {
		start := time.Now()
		runtime.GC()
		ms[r] = float64(time.Since(start).Nanoseconds()) / 1e6
	}
	sort.Float64s(ms[:])

	var check uint64
	for i := range table {
		check += table[i].out[i%edges].payload[0] ^ uint64(i)
	}
	fmt.Printf("check %d\nbest %.3f\nmedian %.3f\n", check, ms[0], ms[runs/2])
}
