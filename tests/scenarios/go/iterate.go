// iterate.go - ranges and iterators beside growths, and maps that threads share.
package main

import (
	"fmt"
	"runtime"
	"sync"
	"time"
	"unsafe"
)

func init() {
	programs["stuck-iterator"] = stuckIterator
	programs["range-insert-delete-pins-oldbuckets"] = rangeInsertDelete
	programs["field-map-iteration-stalls-growth"] = fieldMapIteration
	programs["clear-during-range"] = clearDuringRange
	programs["concurrent-range-mid-growth"] = concurrentRange
	programs["emptied-mid-growth"] = emptiedMidGrowth
	programs["syncmap-delayed-delete"] = syncmapDelayedDelete
	programs["syncmap-dirty-promotion"] = syncmapDirtyPromotion
	programs["concurrent-map-comparison"] = concurrentMapComparison
}

var iterators []iterator

// Whether to leave a range: known only when it runs, so that the range is live until then.
var stop = true

// ---- stuck iterators ----

func growAll(m map[int]int) {
	h, n := headOf(m), len(m)
	for i := 0; h.growing(); i++ {
		m[i%n] = i
	}
}

func growPointers(m map[int]*payload, part int) {
	h, n := headOfPointers(m), len(m)
	for i := 0; h.growing() && (part == 0 || h.evacuated(intBucket) < part); i++ {
		m[i%n] = nil
	}
}

func fillPointers(n int) map[int]*payload {
	m := map[int]*payload{}
	p := &payload{}
	for i := 0; i < n; i++ {
		m[i] = p
	}
	return m
}

// What is live with the iterators, less what is without them.
func pinned(m interface{}) float64 {
	with := live()
	runtime.KeepAlive(iterators)
	iterators = nil
	without := live()
	runtime.KeepAlive(m)
	return with - without
}

func stuckIterator() {
	n := limit(16)
	intMoments := func(what string, before, mid func(m map[int]int)) {
		m := fillTo(n)
		if before != nil {
			before(m)
		}
		m[n] = n
		if mid != nil {
			mid(m)
		}
		growAll(m)
		row(what, pinned(m))
	}
	begin := func(m map[int]int) { iterators = append(iterators, iterate(m)) }
	beginIn := func(m map[int]int, old bool) {
		for i := 0; i < 1000; i++ {
			it := iterate(m)
			if it.inOld(headOf(m), intBucket) == old {
				iterators = append(iterators, it)
				return
			}
		}
		panic("no such place")
	}
	intMoments("int->int, no iterator", nil, nil)
	intMoments("int->int, iterator finished before growth", func(m map[int]int) {
		for k := range m {
			sum += k
		}
	}, nil)
	intMoments("int->int, broken out of before growth", func(m map[int]int) {
		for k := range m {
			sum += k
			break
		}
	}, nil)
	intMoments("int->int, begun before growth", begin, nil)
	intMoments("int->int, begun mid-growth, in an old bucket", nil, func(m map[int]int) { beginIn(m, true) })
	intMoments("int->int, begun half-way, in a new bucket", nil, func(m map[int]int) {
		for i := 0; headOf(m).evacuated(intBucket) < 32768; i++ {
			m[i%n] = i
		}
		beginIn(m, false)
	})
	pointers := func(what string, part int, old, before bool) {
		m := fillPointers(n)
		if before {
			iterators = append(iterators, iterate(m))
		}
		m[n] = nil
		if part != 0 {
			growPointers(m, part)
		}
		for i := 0; !before && i < 1000; i++ {
			it := iterate(m)
			if it.inOld(headOfPointers(m), intBucket) == old {
				iterators = append(iterators, it)
				break
			}
		}
		growPointers(m, 0)
		row(what, pinned(m))
	}
	pointers("int->pointer, begun before growth", 0, false, true)
	pointers("int->pointer, begun mid-growth, in an old bucket", 0, true, false)
	pointers("int->pointer, begun half-way, in a new bucket", 32768, false, false)

	m := fillTo(n)
	gate, inside, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		for k := range m {
			sum += k
			close(inside)
			<-gate
			if stop {
				break
			}
		}
		close(done)
	}()
	<-inside
	m[n] = n
	growAll(m)
	with := live()
	close(gate)
	<-done
	time.Sleep(20 * time.Millisecond)
	row("int->int, thread blocked inside a range", with-live())
	runtime.KeepAlive(m)

	m = map[int]int{}
	for B := uint(8); B <= 16; B++ {
		for i := len(m); i < limit(B); i++ {
			m[i] = i
		}
		begin(m)
	}
	m[n] = n
	growAll(m)
	row("int->int, 9 iterators, one per doubling B = 8 to 16", pinned(m))

	const window = 23961
	m = fillTo(window)
	next, begun := window, false
	begin(m)
	for len(iterators) < 15 {
		m[next] = next
		delete(m, next-window)
		next++
		if headOf(m).growing() {
			begun = true
		} else if begun {
			begun = false
			begin(m)
		}
	}
	iterators = iterators[:14]
	row("int->int, 14 iterators, one per same-size growth, B = 12", pinned(m))

	type value = [4096]byte
	values := map[int]*value{}
	start := live()
	for i := 0; i < 1665; i++ {
		if i == limit(8) {
			iterators = append(iterators, iterate(values))
		}
		values[i] = new(value)
	}
	h := *(**hmap)(unsafe.Pointer(&values))
	for i := 0; h.growing(); i++ {
		values[i%1665] = values[i%1665]
	}
	for i := 0; i < 1665; i++ {
		delete(values, i)
	}
	row("1,665 values of 4 KiB, all deleted, one old iterator", live()-start)
	runtime.KeepAlive(values)
	runtime.KeepAlive(iterators)
}

// ---- ranges that write ----

func rangeInsertDelete() {
	m := fillTo(limit(12))
	next := len(m)
	inside := 0.0
	for k := range m {
		delete(m, k)
		for i := 0; i < 32; i++ {
			m[next] = next
			next++
		}
		if len(m) >= 826176 {
			inside = live()
			if stop {
				break
			}
		}
	}
	row("range that deletes one and inserts 32 a step: pinned inside", inside-live())
	runtime.KeepAlive(m)
	m = nil
	base := live()
	most := 0.0
	m = fillTo(limit(12))
	next = len(m)
	for r := 0; r < 20; r++ {
		for k := range m {
			delete(m, k)
			m[next] = next
			next++
		}
		for headOf(m).growing() {
			delete(m, next-1)
			m[next] = next
			next++
		}
		if l := live() - base; l > most {
			most = l
		}
	}
	row("20 ranges that delete one and insert one: most live", most)
	m = nil
	start := live()
	m = map[int]int{}
	for i := 0; i < 1000000; i++ {
		m[i%100] = i
		if i%1000 == 0 {
			for k := range m {
				sum += k
			}
		}
	}
	row("100 keys, a million writes, a range every 1,000", live()-start)
	runtime.KeepAlive(m)
}

func fieldMapIteration() {
	n := limit(12)
	writes := func(m map[int]int) float64 {
		m[n] = n
		i := 0
		for ; headOf(m).growing(); i++ {
			m[i%1000] = i
		}
		return float64(i)
	}
	row("growth without a range: writes until it is done", writes(fillTo(n)))
	m := fillTo(n)
	it := iterate(m)
	row("growth beside a stuck range: writes until it is done", writes(m))
	runtime.KeepAlive(it)
	m = fillTo(n)
	m[n] = n
	before := headOf(m).evacuated(intBucket)
	steps, done := 0, 0
	for k := range m {
		sum += k
		steps++
		if steps == 100 {
			row("100 range steps in mid-growth: old buckets moved by them",
				float64(headOf(m).evacuated(intBucket)-before))
		}
		if steps < 100 {
			continue
		}
		m[steps%1000] = steps
		if done == 0 && !headOf(m).growing() {
			done = steps - 100
		}
	}
	row("then a write a step: steps until the growth is done", float64(done))
	m = nil
	start := live()
	m = fillTo(n)
	m[n] = n
	i := 0
	for ; headOf(m).evacuated(intBucket) < 2048; i++ {
		m[i%1000] = i
	}
	half := live() - start
	growAll(m)
	row("half-way through the growth: live, of that at its end", half/(live()-start))
	runtime.KeepAlive(m)
}

func clearDuringRange() {
	stale := 0
	for round := 0; round < 200; round++ {
		m := fillTo(limit(4))
		first := true
		for k := range m {
			if !first {
				stale++
				continue
			}
			first = false
			sum += k
			m[-1] = 0
			for k := range m {
				delete(m, k)
			}
		}
	}
	row("200 maps of 104 cleared inside a range: stale keys yielded", float64(stale))
}

func concurrentRange() {
	m := fillTo(limit(14) + 1)
	n := len(m)
	var wg sync.WaitGroup
	var lock sync.Mutex
	wrong := 0
	for t := 0; t < 8; t++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for r := 0; r < 5; r++ {
				count := 0
				for range m {
					count++
				}
				if count != n {
					lock.Lock()
					wrong++
					lock.Unlock()
				}
			}
		}()
	}
	wg.Wait()
	row("8 threads, 5 full ranges each, in mid-growth: wrong counts", float64(wrong))
}

func emptiedMidGrowth() {
	spoilHash(map[grouped]int{})
	groups = 8
	m := make(map[grouped]int, 1000)
	h := *(**hmap)(unsafe.Pointer(&m))
	for g := 0; g < 8 && h.noverflow < 255; g++ {
		i := 0
		for ; i < 1200 && h.noverflow < 255; i++ {
			m[grouped(i*8+g)] = i
		}
		for ; i >= 0; i-- {
			delete(m, grouped(i*8+g))
		}
	}
	i := 0
	for ; !h.growing() && i < 32; i++ {
		m[grouped(i*8+7)] = i
	}
	for ; i >= 0; i-- {
		delete(m, grouped(i*8+7))
	}
	for i := 0; i < 10000; i++ {
		delete(m, grouped(i))
	}
	bucket := uintptr(intBucket)
	before := h.evacuated(bucket)
	if !h.growing() || len(m) != 0 {
		fmt.Println("not growing: it should have been")
		return
	}
	m[1] = 1
	row("one insert: old buckets moved by it", float64(h.evacuated(bucket)-before))
}

// ---- shared maps ----

func syncmapDelayedDelete() {
	const n = 100000
	name := func(i int) string { return fmt.Sprintf("key-%011d", i) }
	start := live()
	m := &sync.Map{}
	sink = m
	for i := 0; i < n; i++ {
		m.Store(name(i), new([1024]byte))
	}
	for i := 0; i < n; i++ {
		m.Load("absent")
	}
	row("100,000 keys with values of 1 KiB, promoted", live()-start)
	for i := 0; i < n; i++ {
		m.Delete(name(i))
	}
	row("all deleted", live()-start)
	for i := 0; i < 1000; i++ {
		m.Load("absent")
	}
	row("1,000 lookups of absent keys later", live()-start)
	m.Store("a new key", new([1024]byte))
	row("one new key stored", live()-start)
	m.Load("absent")
	row("one lookup more, which promotes", live()-start)
}

func syncmapDirtyPromotion() {
	names := map[int]string{1000: "first new key after a promotion, 1,000 keys: us",
		10000: "the same, 10,000 keys: us", 100000: "the same, 100,000 keys: us"}
	for _, n := range []int{1000, 10000, 100000} {
		best, worst := 1e18, 1e18
		for round := 0; round < 5; round++ {
			m := &sync.Map{}
			for i := 0; i < n; i++ {
				m.Store(fmt.Sprintf("key-%011d", i), &sum)
			}
			for i := 0; i < n; i++ {
				m.Load("absent")
			}
			began := time.Now()
			m.Store("a new key", &sum)
			if took := float64(time.Since(began)) / 1e3; took < best {
				best = took
			}
			longest := 0.0
			for i := 0; i < n+10; i++ {
				began = time.Now()
				m.Load("a new key")
				if took := float64(time.Since(began)) / 1e3; took > longest {
					longest = took
				}
			}
			if longest < worst {
				worst = longest
			}
		}
		row(names[n], best)
		if n == 100000 {
			row("worst load of the new key, 100,000 keys: us", worst)
		}
	}
}

// What a comparison needs of a map.
type shared interface {
	get(k string) bool
	put(k string, v int)
}

type locked struct {
	sync.Mutex
	m map[string]int
}

func (l *locked) get(k string) bool   { l.Lock(); _, ok := l.m[k]; l.Unlock(); return ok }
func (l *locked) put(k string, v int) { l.Lock(); l.m[k] = v; l.Unlock() }

type rwLocked struct {
	sync.RWMutex
	m map[string]int
}

func (l *rwLocked) get(k string) bool   { l.RLock(); _, ok := l.m[k]; l.RUnlock(); return ok }
func (l *rwLocked) put(k string, v int) { l.Lock(); l.m[k] = v; l.Unlock() }

type synced struct{ m sync.Map }

func (s *synced) get(k string) bool   { _, ok := s.m.Load(k); return ok }
func (s *synced) put(k string, v int) { s.m.Store(k, v) }

type sharded [64]*rwLocked

func newSharded(hint int) *sharded {
	s := &sharded{}
	for i := range s {
		s[i] = &rwLocked{m: make(map[string]int, hint/64)}
	}
	return s
}

func (s *sharded) of(k string) *rwLocked {
	h := uint32(2166136261)
	for i := 0; i < len(k); i++ {
		h = (h ^ uint32(k[i])) * 16777619
	}
	return s[h%64]
}

func (s *sharded) get(k string) bool   { return s.of(k).get(k) }
func (s *sharded) put(k string, v int) { s.of(k).put(k, v) }

func concurrentMapComparison() {
	const keys, threads, operations = 65536, 8, 1000000
	names := make([]string, keys)
	for i := range names {
		names[i] = fmt.Sprintf("key-%011d", i)
	}
	rate := func(s shared, writes uint64) float64 {
		for i, k := range names {
			s.put(k, i)
		}
		best := 0.0
		for round := 0; round < 3; round++ {
			var wg sync.WaitGroup
			began := time.Now()
			for t := 0; t < threads; t++ {
				wg.Add(1)
				go func(random uint64) {
					defer wg.Done()
					for i := 0; i < operations/threads; i++ {
						random = random*6364136223846793005 + 1442695040888963407
						k := names[random>>40%keys]
						if random>>33%100 < writes {
							s.put(k, i)
						} else {
							s.get(k)
						}
					}
				}(uint64(t)*2 + 1)
			}
			wg.Wait()
			if mops := operations / 1e6 / time.Since(began).Seconds(); mops > best {
				best = mops
			}
		}
		return best
	}
	for _, writes := range []uint64{10, 50} {
		end := fmt.Sprintf(", %d %% writes: million operations a second", writes)
		row("map and mutex"+end, rate(&locked{m: map[string]int{}}, writes))
		row("map and rwlock"+end, rate(&rwLocked{m: map[string]int{}}, writes))
		row("concurrent map"+end, rate(&synced{}, writes))
		row("64 shards"+end, rate(newSharded(0), writes))
		row("64 shards, preallocated"+end, rate(newSharded(keys), writes))
	}
}
