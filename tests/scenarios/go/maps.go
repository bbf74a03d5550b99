// maps.go - what maps hold after deletes, in growths, with odd keys.
package main

import (
	"fmt"
	"hash/maphash"
	"math"
	"runtime"
	"runtime/debug"
	"time"
	"unsafe"
)

func init() {
	programs["delete-does-not-release"] = deleteDoesNotRelease
	programs["hash-collision-chain"] = hashCollisionChain
	programs["overflow-buckets-vs-free"] = overflowBucketsVsFree
	programs["delete-gc-blind-spot"] = deleteGCBlindSpot
	programs["collision-rate-monitor"] = collisionRateMonitor
	programs["idle-map-mid-growth"] = idleMapMidGrowth
	programs["sticky-olditerator-flag"] = stickyOldIteratorFlag
	programs["deleted-all-mid-growth"] = deletedAllMidGrowth
	programs["nan-keys"] = nanKeys
	programs["interior-pointer-pins-array"] = interiorPointerPinsArray
	programs["controlled-growth-experiment"] = controlledGrowthExperiment
	programs["growth-steps"] = growthSteps
	programs["rebuild-vs-delete"] = rebuildVsDelete
}

var sink interface{}

func deleteDoesNotRelease() {
	measure := func(what string, n int, fill func() interface{}, drop func()) {
		start := live()
		sink = fill()
		drop()
		row(what+": all deleted", live()-start)
		sink = nil
		debug.FreeOSMemory()
	}
	for _, n := range []int{10000, 100000, 1000000} {
		measure("int, "+show(float64(n)), n, func() interface{} { return fillInts(n) }, func() {
			for i := 0; i < n; i++ {
				delete(sink.(map[int]int), i)
			}
		})
	}
	for _, n := range []int{100000, 1000000} {
		measure("128 bytes inline, "+show(float64(n)), n, func() interface{} {
			m := map[int][128]byte{}
			for i := 0; i < n; i++ {
				m[i] = [128]byte{}
			}
			return m
		}, func() {
			for i := 0; i < n; i++ {
				delete(sink.(map[int][128]byte), i)
			}
		})
	}
	for _, n := range []int{10000, 100000, 1000000} {
		measure("1 KiB, "+show(float64(n)), n, func() interface{} {
			m := map[int][1024]byte{}
			for i := 0; i < n; i++ {
				m[i] = [1024]byte{}
			}
			return m
		}, func() {
			for i := 0; i < n; i++ {
				delete(sink.(map[int][1024]byte), i)
			}
		})
	}
	measure("pointer to 1 KiB, 1,000,000", 1000000, func() interface{} {
		m := map[int]*[1024]byte{}
		for i := 0; i < 1000000; i++ {
			m[i] = new([1024]byte)
		}
		return m
	}, func() {
		for i := 0; i < 1000000; i++ {
			delete(sink.(map[int]*[1024]byte), i)
		}
	})
}

// ---- collisions ----

// A map type's hash function can be exchanged: it is a field of the type, behind those of _type.
type mapType struct {
	_      [48]byte
	key    unsafe.Pointer
	elem   unsafe.Pointer
	bucket unsafe.Pointer
	hasher func(unsafe.Pointer, uintptr) uintptr
}

type grouped int // its own map type, with a hash that is changed here

var groups uint64

func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

func badHash(key unsafe.Pointer, seed uintptr) uintptr {
	return uintptr(mix(uint64(*(*int)(key))%groups*0x9e3779b97f4a7c15 + uint64(seed)))
}

func spoilHash(m interface{}) {
	t := *(**mapType)(unsafe.Pointer(&m))
	// the type is in memory that is only read
	page := uintptr(unsafe.Pointer(t)) &^ 4095
	makeWritable(page, 8192)
	t.hasher = badHash
}

func hashCollisionChain() {
	start := live()
	sink = fillInts(4000)
	row("4,000 keys, the map's own hash", live()-start)
	sink = nil
	spoilHash(map[grouped]int{})
	for _, g := range []uint64{1, 16} {
		groups = g
		what := "4,000 keys, one hash for all"
		if g == 16 {
			what = "4,000 keys, 16 hashes"
		}
		start = live()
		m := map[grouped]int{}
		for i := 0; i < 4000; i++ {
			m[grouped(i)] = i
		}
		sink = m
		row(what, live()-start)
		sink = nil
	}
	ms := map[int]int{}
	for i := 0; i < 100000; i++ {
		ms[1672531200000+i] = i
	}
	_, _, mean := headOf(ms).chains()
	row("mean chain of 100,000 milliseconds", mean)
	runtime.GOMAXPROCS(1)
	collection := func(fill func()) float64 {
		fill()
		best := math.MaxFloat64
		for i := 0; i < 8; i++ {
			began := time.Now()
			runtime.GC()
			if took := float64(time.Since(began)); took < best {
				best = took
			}
		}
		return best
	}
	own := collection(func() {
		m := map[int]*int{}
		for i := 0; i < 400000; i++ {
			m[i] = &sum
		}
		sink = m
	})
	sink = nil
	spoilHash(map[grouped]*int{})
	groups = 3571
	bad := collection(func() {
		m := map[grouped]*int{}
		for i := 0; i < 400000; i++ {
			m[grouped(i)] = &sum
		}
		sink = m
	})
	fmt.Printf("a collection of 400,000 keys with 3,571 hashes: %.2f of one with the map's own\n", bad/own)
}

func collisionRateMonitor() {
	var h maphash.Hash
	fullest := func(write func(i int)) float64 {
		var count [1024]int
		most := 0
		for i := 0; i < 1000000; i++ {
			h.Reset()
			write(i)
			at := h.Sum64() % 1024
			count[at]++
			if count[at] > most {
				most = count[at]
			}
		}
		return float64(most)
	}
	row("fullest of 1,024 buckets, 1,000,000 int64", fullest(func(i int) {
		b := *(*[8]byte)(unsafe.Pointer(&i))
		h.Write(b[:])
	}))
	row("fullest of 1,024 buckets, 1,000,000 strings of 8 bytes", fullest(func(i int) {
		h.WriteString(fmt.Sprintf("%08d", i))
	}))
	row("fullest of 1,024 buckets, 1,000,000 structs of two int32", fullest(func(i int) {
		p := [2]int32{int32(i), int32(i) * 7}
		b := *(*[8]byte)(unsafe.Pointer(&p))
		h.Write(b[:])
	}))
	m := map[int]int{}
	most := 0.0
	for i := 0; i < 13000; {
		for end := i + 1000; i < end; i++ {
			m[i] = i
		}
		if headOf(m).growing() {
			continue
		}
		in, _, _ := headOf(m).chains()
		if share := float64(in) / float64(len(m)) * 100; share > most {
			most = share
		}
	}
	row("in overflow at 1,000 to 13,000 keys: most", most)
}

// ---- a window that slides ----

func overflowBucketsVsFree() {
	const window, rounds = 23961, 20000000
	start := live()
	m := map[int]int{}
	for i := 0; i < window; i++ {
		m[i] = i
	}
	most, last := 0.0, 0.0
	next := window
	for s := 1; s <= 40; s++ {
		for ; next < rounds/40*s; next++ {
			m[next] = next
			delete(m, next-window)
		}
		last = live() - start
		if last > most {
			most = last
		}
	}
	row("insert one, delete the oldest, 20 million times: most live", most)
	for k := next - window; k < next-1; k++ {
		delete(m, k)
	}
	row("all but one deleted", live()-start)
	runtime.KeepAlive(m)
}

func deleteGCBlindSpot() {
	name := func(i int) string { return fmt.Sprintf("key-%08d", i) }
	start := live()
	m := make(map[string]int, 1024)
	sink = m
	row("map[string]int made for 1,024", live()-start)
	for i := 0; i < 1000; i++ {
		m[name(i)] = i
	}
	row("1,000 inserted", live()-start)
	for i := 0; i < 900; i++ {
		delete(m, name(i))
	}
	row("900 deleted", live()-start)
	sink, m = nil, nil
	row("dropped", live()-start)
}

// ---- growths ----

func fillTo(n int) map[int]int {
	m := map[int]int{}
	for i := 0; i < n; i++ {
		m[i] = i
	}
	return m
}

func idleMapMidGrowth() {
	full := limit(16)
	start := live()
	m := fillTo(full)
	sink = m
	row("map at its limit (Go: 425,984 entries)", live()-start)
	m[full] = full
	for i := 0; i < 8; i++ {
		time.Sleep(50 * time.Millisecond)
		runtime.GC()
	}
	row("one insert more, then idle for 8 collections", live()-start)
	for pass := 0; pass < 3; pass++ {
		for i := 0; i <= full; i++ {
			sum += m[i]
		}
	}
	for k := range m {
		sum += k
	}
	delete(m, -1)
	m[7] = 7
	for i := 0; headOf(m).growing(); i++ {
		m[i%1000] = i
	}
	row("growth finished by writing 1,000 keys again", live()-start)
}

func stickyOldIteratorFlag() {
	freed := func(ranged bool) float64 {
		type value = [4096]byte
		m := map[int]*value{}
		h := *(**hmap)(unsafe.Pointer(&m))
		n := limit(12)
		for i := 0; i < n; i++ {
			if i < 400 {
				m[i] = new(value)
			} else {
				m[i] = nil
			}
		}
		if ranged {
			for k := range m {
				sum += k
			}
		}
		m[n] = nil
		for i := 0; h.evacuated(intBucket) < 2048; i++ {
			m[i] = m[i]
		}
		before := live()
		for i := 0; i < 400; i++ {
			m[i] = nil
		}
		after := live()
		runtime.KeepAlive(m)
		return before - after
	}
	row("400 values of 4 KiB set to nil half-way, a range long ago: freed", freed(true))
	row("400 values of 4 KiB set to nil half-way, no range: freed", freed(false))
}

func deletedAllMidGrowth() {
	n := limit(12) + 1
	start := live()
	m := fillTo(n)
	for i := 0; i < n; i++ {
		delete(m, i)
	}
	row("26,625 keys deleted one by one in a growth", live()-start)
	runtime.KeepAlive(m)
}

func nanKeys() {
	start := live()
	m := map[float64]int{}
	for i := 0; i < 100000; i++ {
		m[math.NaN()] = i
	}
	row("100,000 NaN keys", live()-start)
	for i := 0; i < 100000; i++ {
		delete(m, math.NaN())
	}
	for k := range m {
		delete(m, k)
	}
	row("each deleted, then a range that deletes", live()-start)
	runtime.KeepAlive(m)
}

func interiorPointerPinsArray() {
	start := live()
	var one *int
	apart(func() {
		m := fillInts(1000000)
		h := headOf(m)
		one = (*int)(unsafe.Add(h.buckets, 100*intBucket+8))
	})
	row("a pointer to one key of 1,000,000, the map dropped", live()-start)
	runtime.KeepAlive(one)
}

func controlledGrowthExperiment() {
	m := make(map[string]int, 1024)
	h := headOfStrings(m)
	began, ended := 0, 0
	for i := 0; i < 2049; i++ {
		m[fmt.Sprintf("key-%08d", i)] = i
		if began == 0 && h.growing() {
			began = i + 1
		}
		if ended == 0 && began != 0 && !h.growing() {
			ended = i + 1
		}
	}
	row("made for 1,024, 2,049 inserts: growth begins at", float64(began))
	row("the same: growth ends at", float64(ended))
}

func growthSteps() {
	m := map[int]int{}
	h := headOf(m)
	grown := 0
	for i := 0; i < 900; i++ {
		before := h.B
		m[i] = i
		if h.B != before {
			grown++
		}
	}
	row("900 inserts into an empty map: growths", float64(grown))
}

func rebuildVsDelete() {
	type value = [128]byte
	fill := func() map[int]*value {
		m := map[int]*value{}
		for i := 0; i < 1000000; i++ {
			m[i] = new(value)
		}
		return m
	}
	start := live()
	m := fill()
	sink = m
	row("1,000,000 pointers to 128 bytes", live()-start)
	for i := 0; i < 1000000; i++ {
		if i%10 < 7 {
			delete(m, i)
		}
	}
	row("70 % deleted in place", live()-start)
	rest := make(map[int]*value, 300000)
	for k, v := range m {
		rest[k] = v
	}
	sink, m = rest, nil
	row("the rest in a new map", live()-start)
	m = fill()
	dead := map[int]struct{}{}
	for i := 0; i < 1000000; i++ {
		if i%10 < 7 {
			dead[i] = struct{}{}
		}
	}
	rest = map[int]*value{}
	for k, v := range m {
		if _, gone := dead[k]; !gone {
			rest[k] = v
		}
	}
	sink, m, dead = rest, nil, nil
	row("buried, then rebuilt, as the article does", live()-start)
}
