// graph.go - the Go twin of graph.c: the same nodes, the same edges, the same replacements.
package main

import (
	"fmt"
	"os"
	"sync"
)

const (
	edges      = 4
	maxThreads = 64
)

type node struct {
	out     [edges]*node
	payload [4]uint64
}

type share struct {
	from, pairs, operations, writes, state, check uint64
	build, p                                      *pauses
	_                                             [64]byte // no two in one cache line
}

var table []*node

func (s *share) stable() uint64 {
	return s.from + random(&s.state)%s.pairs*2
}

func makeNode(i uint64) *node {
	n := new(node)
	n.payload[0] = i
	return n
}

func (s *share) link(n *node) {
	for e := range n.out {
		n.out[e] = table[s.stable()]
	}
}

func (s *share) grow() {
	end := s.from + 2*s.pairs
	last := s.build.start()
	for i := s.from; i < end; i++ {
		table[i] = makeNode(i)
		last = s.build.add(last)
	}
	for i := s.from; i < end; i++ {
		s.link(table[i])
	}
}

func (s *share) mutate() {
	last := s.p.start()
	for i := uint64(0); i < s.operations; i++ {
		place := s.stable() + 1
		n := makeNode(i)
		s.link(n)
		table[place] = n
		for w := uint64(0); w < s.writes; w++ {
			from := table[s.stable()]
			from.out[w%edges] = table[s.stable()]
		}
		last = s.p.add(last)
	}
	s.p.finish()
}

func (s *share) look() {
	for i := s.from; i < s.from+2*s.pairs; i++ {
		s.check += table[i].payload[0]*i ^ table[i].out[i%edges].payload[0]
	}
}

// each runs f for all shares at once: the first here, as C's main thread does.
func each(shares []share, f func(*share)) {
	var all sync.WaitGroup
	for i := range shares[1:] {
		all.Add(1)
		go func(s *share) {
			f(s)
			all.Done()
		}(&shares[i+1])
	}
	f(&shares[0])
	all.Wait()
}

func main() {
	nodes, operations := arg(1, 8388608), arg(2, 8388608)
	threads, writes := arg(3, 1), arg(4, 0)
	if threads == 0 || threads > maxThreads || nodes < 2*threads {
		os.Exit(2)
	}
	table = make([]*node, nodes)
	shares := make([]share, threads)
	for i := range shares {
		pairs := nodes / threads / 2
		shares[i] = share{from: uint64(i) * pairs * 2, pairs: pairs, writes: writes,
			operations: operations / threads, state: uint64(i + 1),
			build: newPauses(), p: newPauses()}
	}

	each(shares, (*share).grow)
	stopsBegin()
	each(shares, (*share).mutate)
	stopsEnd()
	each(shares, (*share).look)

	most, end, check := uint64(0), uint64(0), uint64(0)
	var all []*pauses
	for i := range shares {
		s := &shares[i]
		all = append(all, s.p)
		if s.build.most > most {
			most = s.build.most
		}
		if s.p.end > end {
			end = s.p.end
		}
		check += s.check
	}
	fmt.Printf("check %d\nbuild %.3f\ntotal %.6f\n", check, float64(most)/1e3,
		float64(end-shares[0].build.begin)/1e9)
	stopsShow()
	show(all)
}
