// churn.go - the Go twin of churn.c. The objects hold pointers after their first word, so that Go
// too takes them from its scanned size classes.
package main

import (
	"fmt"
	"os"
	"sync"
	"time"
)

type obj16 struct {
	first uint64
	rest  [1]*byte
}
type obj64 struct {
	first uint64
	rest  [7]*byte
}
type obj256 struct {
	first uint64
	rest  [31]*byte
}
type obj1024 struct {
	first uint64
	rest  [127]*byte
}

const maxThreads = 64

// A slot for each thread and size, on cache lines of its own.
type slot struct {
	last16   *obj16
	last64   *obj64
	last256  *obj256
	last1024 *obj1024
	_        [96]byte
}

var slots [maxThreads]slot

func churn(size, count uint64, s *slot) uint64 {
	switch size {
	case 16:
		for i := uint64(0); i < count; i++ {
			p := new(obj16)
			p.first = i
			s.last16 = p
		}
		return s.last16.first
	case 64:
		for i := uint64(0); i < count; i++ {
			p := new(obj64)
			p.first = i
			s.last64 = p
		}
		return s.last64.first
	case 256:
		for i := uint64(0); i < count; i++ {
			p := new(obj256)
			p.first = i
			s.last256 = p
		}
		return s.last256.first
	case 1024:
		for i := uint64(0); i < count; i++ {
			p := new(obj1024)
			p.first = i
			s.last1024 = p
		}
		return s.last1024.first
	}
	os.Exit(2)
	return 0
}

func main() {
	size, threads, count := arg(1, 64), arg(2, 1), arg(3, 10000000)
	if threads < 1 || threads > maxThreads || count == 0 {
		os.Exit(2)
	}

	start := time.Now()
	var wg sync.WaitGroup
	var first [maxThreads]uint64
	for t := uint64(1); t < threads; t++ {
		wg.Add(1)
		go func(t uint64) {
			first[t] = churn(size, count, &slots[t])
			wg.Done()
		}(t)
	}
	first[0] = churn(size, count, &slots[0])
	wg.Wait()
	elapsed := time.Since(start)

	var check uint64
	for t := uint64(0); t < threads; t++ {
		check += first[t]
	}
	fmt.Printf("check %d\nns %.3f\n", check, float64(elapsed.Nanoseconds())/float64(count))
}
