// record.go - drives Go 1.19's own map and writes down what its insides looked like.
//
// Prints tests/maps/classic_golden.txt: a list of operations, one a line, and after some of them
// the state of the map, which the test tests/maps/classic_golden.c compares with the classic map's
// when it repeats the operations. To be run as
//
//	GODEBUG=cpu.aes=off go run record.go > ../classic_golden.txt
//
// (make record-classic). Without AES the runtime hashes by a function that the test can repeat,
// from keys and a seed that are set here, so that nothing but sampling (noverflow from B = 16 up)
// is left to chance and the states must agree exactly. hmap is read through unsafe.
package main

import (
	"bufio"
	"fmt"
	"math/bits"
	"os"
	"reflect"
	"runtime"
	"unsafe"
)

//go:linkname hashkey runtime.hashkey
var hashkey [4]uintptr

var testKey = [4]uintptr{
	0x243f6a8885a308d3, 0x13198a2e03707345, 0xa4093822299f31d1, 0x082efa98ec4e6c89,
}

type hmap struct {
	count      int
	flags, B   uint8
	noverflow  uint16
	hash0      uint32
	buckets    unsafe.Pointer
	oldbuckets unsafe.Pointer
	nevacuate  uintptr
	extra      unsafe.Pointer
}

// As reflect.MapIter: a Value, then the runtime's hiter.
type mapIter struct {
	m           [3]uintptr
	key, elem   unsafe.Pointer
	t, h        unsafe.Pointer
	buckets     unsafe.Pointer
	bptr        unsafe.Pointer
	overflow    unsafe.Pointer
	oldoverflow unsafe.Pointer
	startBucket uintptr
	offset      uint8
	wrapped     bool
	b, i        uint8
	bucket      uintptr
	checkBucket uintptr
}

const (
	sameSizeGrow = 8
	minTopHash   = 5
)

// A map under test, whatever its type.
type subject struct {
	h          *hmap
	bucketsize uintptr
	put        func(k int64)
	del        func(k int64)
	get        func(k int64) bool
	clear      func()
	value      reflect.Value
	keyOf      func(reflect.Value) int64
	iters      map[int]*reflect.MapIter
}

var (
	out    = bufio.NewWriter(os.Stdout)
	s      *subject
	dead   int     // what pointer values point at
	starts uintptr // iterators begun
)

func intKey(v reflect.Value) int64 { return v.Int() }

func stringKey(v reflect.Value) (k int64) {
	fmt.Sscanf(v.String(), "user:%d", &k)
	return k
}

func name(k int64) string { return fmt.Sprintf("user:%08d", k) }

func header(m any) *hmap {
	return (*hmap)((*[2]unsafe.Pointer)(unsafe.Pointer(&m))[1])
}

// Types: key and value sizes of what the test makes by the same name.
func newMap(kind string, hint int, seed uint32) {
	switch kind {
	case "int_int":
		m := make(map[int64]int64, hint)
		s = &subject{h: header(m), bucketsize: 144, keyOf: intKey, value: reflect.ValueOf(m),
			put: func(k int64) { m[k] = k },
			del: func(k int64) { delete(m, k) },
			get: func(k int64) bool { _, ok := m[k]; return ok },
			clear: func() {
				for k := range m {
					delete(m, k)
				}
			}}
	case "int_ptr":
		m := make(map[int64]*int, hint)
		s = &subject{h: header(m), bucketsize: 144, keyOf: intKey, value: reflect.ValueOf(m),
			put: func(k int64) { m[k] = &dead },
			del: func(k int64) { delete(m, k) },
			get: func(k int64) bool { _, ok := m[k]; return ok },
			clear: func() {
				for k := range m {
					delete(m, k)
				}
			}}
	case "int_130":
		m := make(map[int64][130]byte, hint)
		s = &subject{h: header(m), bucketsize: 144, keyOf: intKey, value: reflect.ValueOf(m),
			put: func(k int64) { m[k] = [130]byte{1} },
			del: func(k int64) { delete(m, k) },
			get: func(k int64) bool { _, ok := m[k]; return ok },
			clear: func() {
				for k := range m {
					delete(m, k)
				}
			}}
	case "int_0":
		m := make(map[int64]struct{}, hint)
		s = &subject{h: header(m), bucketsize: 80, keyOf: intKey, value: reflect.ValueOf(m),
			put: func(k int64) { m[k] = struct{}{} },
			del: func(k int64) { delete(m, k) },
			get: func(k int64) bool { _, ok := m[k]; return ok },
			clear: func() {
				for k := range m {
					delete(m, k)
				}
			}}
	case "string_int":
		m := make(map[string]int64, hint)
		s = &subject{h: header(m), bucketsize: 208, keyOf: stringKey, value: reflect.ValueOf(m),
			put: func(k int64) { m[name(k)] = k },
			del: func(k int64) { delete(m, name(k)) },
			get: func(k int64) bool { _, ok := m[name(k)]; return ok },
			clear: func() {
				for k := range m {
					delete(m, k)
				}
			}}
	default:
		panic(kind)
	}
	s.iters = map[int]*reflect.MapIter{}
	s.h.hash0 = seed
	fmt.Fprintf(out, "new %s %d %d\n", kind, hint, seed)
}

// ---- operations ----

func put(from, to int64) {
	for k := from; k < to; k++ {
		s.put(k)
	}
	fmt.Fprintf(out, "put %d %d\n", from, to)
}

// An emptied map takes a new seed; give it one that the test knows.
func reseed(seed uint32) {
	if s.h.count == 0 {
		s.h.hash0 = seed
		fmt.Fprintf(out, "seed %d\n", seed)
	}
}

func del(from, to int64) {
	for k := from; k < to; k++ {
		s.del(k)
	}
	fmt.Fprintf(out, "del %d %d\n", from, to)
	reseed(77)
}

func get(from, to int64) {
	n := 0
	for k := from; k < to; k++ {
		if s.get(k) {
			n++
		}
	}
	fmt.Fprintf(out, "get %d %d %d\n", from, to, n)
}

func clear(seed uint32) {
	s.clear()
	fmt.Fprintf(out, "clear\n")
	reseed(seed)
}

// Insert from high upwards, delete from low upwards, n times.
func window(low, high, n int64) {
	for i := int64(0); i < n; i++ {
		s.put(high + i)
		s.del(low + i)
	}
	fmt.Fprintf(out, "window %d %d %d\n", low, high, n)
}

func windowUntilGrowing(low, high int64) {
	n := int64(0)
	for ; s.h.oldbuckets == nil; n++ {
		s.put(high + n)
		s.del(low + n)
	}
	fmt.Fprintf(out, "window %d %d %d\n", low, high, n)
	state()
}

// Pseudo-random puts (percent of the operations) and deletes of keys below space.
func mix(seed uint64, n int, space uint64, percent uint64) {
	x := seed
	for i := 0; i < n; i++ {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		k := int64(x >> 20 % space)
		if x>>8%100 < percent {
			s.put(k)
		} else if s.h.count > 1 || !s.get(k) { // never to 0, which would draw a seed
			s.del(k)
		}
	}
	fmt.Fprintf(out, "mix %d %d %d %d\n", seed, n, space, percent)
}

// Starts iterator i. The runtime has drawn a random place to start at and gone to its first entry;
// it is sent back, to a place of ours.
func begin(i int) {
	it := s.value.MapRange()
	s.iters[i] = it
	it.Next()
	h := (*mapIter)(unsafe.Pointer(it))
	starts++
	h.startBucket = starts * 0x9e3779b97f4a7c15 >> 20 & (1<<s.h.B - 1)
	h.offset = uint8(starts % 8)
	h.bucket, h.bptr, h.wrapped, h.i = h.startBucket, nil, false, 0
	fmt.Fprintf(out, "range %d %d %d\n", i, h.startBucket, h.offset)
}

// Up to n steps: how many gave an entry, and a checksum of the keys in their order.
func next(i, n int) {
	given, sum := 0, uint64(0)
	it := s.iters[i]
	for given < n && it != nil {
		if !it.Next() {
			s.iters[i] = nil // a finished one may not be asked again
			break
		}
		given++
		sum = sum*31 + uint64(s.keyOf(it.Key()))
	}
	fmt.Fprintf(out, "next %d %d %d %d\n", i, n, given, sum)
}

// ---- state ----

func at(p unsafe.Pointer, off uintptr) unsafe.Pointer { return unsafe.Add(p, off) }

func tags(b unsafe.Pointer) *[8]uint8 { return (*[8]uint8)(b) }

func evacuated(b unsafe.Pointer) bool { return tags(b)[0] > 1 && tags(b)[0] < minTopHash }

func noldbuckets() uintptr {
	n := uintptr(1) << s.h.B
	if s.h.flags&sameSizeGrow == 0 {
		n /= 2
	}
	return n
}

func overflows(b unsafe.Pointer) (n int) {
	for {
		b = *(*unsafe.Pointer)(at(b, s.bucketsize-8))
		if b == nil {
			return n
		}
		n++
	}
}

func cleared(b unsafe.Pointer) bool {
	for off := uintptr(8); off < s.bucketsize; off++ {
		if *(*byte)(at(b, off)) != 0 {
			return false
		}
	}
	return true
}

func state() {
	h := s.h
	growing, evac, clean, over, longest := 0, 0, 0, 0, 0
	nold := uintptr(0)
	chain := func(b unsafe.Pointer) {
		n := overflows(b)
		over += n
		if n+1 > longest {
			longest = n + 1
		}
	}
	if h.oldbuckets != nil {
		growing, nold = 1, noldbuckets()
	}
	for i := uintptr(0); i < nold; i++ {
		b := at(h.oldbuckets, i*s.bucketsize)
		if !evacuated(b) {
			chain(b)
			continue
		}
		evac++
		if cleared(b) {
			clean++
		}
	}
	for i := uintptr(0); h.buckets != nil && i < 1<<h.B; i++ {
		if nold == 0 || evacuated(at(h.oldbuckets, i%nold*s.bucketsize)) {
			chain(at(h.buckets, i*s.bucketsize))
		}
	}
	noverflow := int(h.noverflow)
	if h.B >= 16 {
		noverflow = -1 // sampled
	}
	fmt.Fprintf(out, "state %d %d %d %d %d %d %d %d %d %d\n", h.count, h.B, h.flags, noverflow,
		growing, h.nevacuate, evac, clean, over, longest)
}

// Insert one by one from k on until `growing` is as wanted; returns the next key.
func putUntil(growing bool, k int64) int64 {
	from := k
	for (s.h.oldbuckets != nil) != growing {
		s.put(k)
		k++
	}
	fmt.Fprintf(out, "put %d %d\n", from, k)
	state()
	return k
}

func sequence(name string) { fmt.Fprintf(out, "\nsequence %s\n", name) }

// ---- the sequences ----

func growthSteps(kind string, seed uint32, n int64) {
	sequence("growth-steps-" + kind)
	newMap(kind, 0, seed)
	state()
	for k := int64(0); k < 60; k++ {
		put(k, k+1)
		state()
	}
	for k := int64(60); k < n; {
		k = putUntil(true, k)
		k = putUntil(false, k)
		get(0, k)
	}
}

func hints() {
	sequence("hints")
	for _, hint := range []int{0, 1, 7, 8, 9, 13, 14, 26, 27, 52, 53, 104, 105, 208, 209, 1000, 1024,
		1664, 1665, 10000, 26624, 26625, 100000} {
		newMap("int_int", hint, 1)
		state()
		put(0, 1)
		state()
	}
}

func controlledGrowth() {
	sequence("controlled-growth")
	newMap("int_int", 1024, 5)
	put(0, 1664)
	state()
	for k := int64(1664); k < 1880; k += 8 {
		put(k, k+8)
		state()
	}
	put(1880, 2049)
	state()
}

func slidingWindow(kind string, seed uint32, live, rounds int64) {
	sequence("sliding-window-" + kind)
	newMap(kind, 0, seed)
	put(0, live)
	state()
	for i := int64(0); i < rounds; i += live / 4 {
		window(i, live+i, live/4)
		state()
	}
}

// Growth with each kind of write, and with what must not move it.
func movers() {
	sequence("what-moves-growth")
	newMap("int_int", 0, 9)
	k := putUntil(true, 0)
	for k < 6657 {
		k = putUntil(false, k)
		k = putUntil(true, k)
	}
	get(0, k)
	state()
	get(1000000, 1001000)
	state()
	begin(0)
	next(0, 1000000)
	state()
	del(1000000, 1000001)
	state()
	put(5, 6)
	state()
	del(7, 8)
	state()
	for i := 0; s.h.oldbuckets != nil; i++ {
		put(0, 100)
		if i%4 == 0 {
			state()
		}
	}
	state()
	del(0, k)
	state()
	put(0, 10)
	state()
}

func emptiedMidGrowth() {
	sequence("emptied-mid-growth")
	newMap("int_int", 0, 21)
	put(0, 209)
	state()
	put(209, 210)
	state()
	for i := int64(0); i < 210; i += 30 {
		del(i, i+30)
		state()
	}
	del(0, 1000) // an empty map returns at once
	state()
	put(0, 209)
	state()
	clear(22)
	state()
	put(0, 300)
	state()
}

// Overflow buckets stay when their entries go, so that a growth can begin with hardly anything in
// the map, and be left behind by its last entry.
func emptiedWhileGrowing(kind string, seed uint32) {
	sequence("emptied-while-growing-" + kind)
	newMap(kind, 0, seed)
	put(0, 200)
	n := int64(0)
	for ; s.h.noverflow < 1<<s.h.B; n++ {
		s.put(200 + n)
		s.del(n)
	}
	fmt.Fprintf(out, "window 0 200 %d\n", n)
	state()
	del(n, n+199)
	state()
	put(0, 1)
	state()
	del(0, 1)
	del(n+199, n+200)
	state()
	del(0, 10000) // an empty map returns at once
	get(0, 10000)
	state()
	put(0, 1)
	state()
	del(0, 10000)
	state()
	put(3, 5)
	clear(5)
	state()
	put(0, 10)
	state()
}

func iterators(kind string, seed uint32) {
	sequence("iterators-" + kind)
	newMap(kind, 0, seed)
	put(0, 832)
	state()
	begin(0) // before growth
	state()
	next(0, 100)
	put(832, 833)
	state()
	begin(1) // in it
	state()
	next(1, 50)
	put(833, 900)
	state()
	begin(2)
	next(0, 200)
	next(1, 200)
	del(100, 200)
	state()
	k := putUntil(false, 900)
	next(0, 10)
	next(1, 10)
	next(2, 10)
	begin(3) // after it
	state()
	k = putUntil(true, k)
	k = putUntil(false, k)
	k = putUntil(true, k)
	next(3, 400)
	del(200, 600)
	state()
	next(0, 10000)
	next(1, 10000)
	next(2, 10000)
	next(3, 10000)
	state()
}

func stickyFlag(kind string) {
	for _, ranged := range []bool{false, true} {
		sequence(fmt.Sprintf("sticky-old-iterator-%s-%v", kind, ranged))
		newMap(kind, 0, 33)
		put(1, 417)
		if ranged {
			begin(0)
			next(0, 10000)
		}
		state()
		put(417, 418)
		state()
		put(1, 40)
		state()
		k := putUntil(false, 418)
		state()
		k = putUntil(true, k)
		put(1, 40)
		state()
		put(1, k)
		state()
	}
}

func clearing(kind string, seed uint32) {
	sequence("clear-" + kind)
	newMap(kind, 0, seed)
	clear(1)
	state()
	put(0, 5)
	clear(2)
	state()
	put(0, 420)
	state()
	clear(3)
	state()
	put(0, 416)
	state()
	begin(0)
	next(0, 20)
	put(416, 417)
	state()
	clear(4) // in mid-growth, in a range
	state()
	next(0, 100000)
	put(0, 2000)
	state()
	del(0, 2000)
	state()
	put(0, 500)
	state()
}

// Iterator 1 stands in an old bucket, of which it gives one half, when that growth ends and one to
// the same size begins: then it gives the other half too, and again later. Go 1.19 repeats keys so.
func sameSizeUnderIterator(kind string, seed uint32) {
	sequence("same-size-under-iterator-" + kind)
	newMap(kind, 0, seed)
	k := putUntil(true, 0)
	for s.h.B < 5 {
		k = putUntil(false, k)
		k = putUntil(true, k)
	}
	begin(0)
	next(0, 2)
	begin(1)
	next(1, 1)
	k = putUntil(false, k)
	put(k, 190)
	windowUntilGrowing(k, 190)
	begin(2)
	next(0, 20)
	next(1, 20)
	next(2, 20)
	put(100000, 100003)
	state()
	next(1, 20)
	next(2, 20)
	putUntil(false, 100003)
	next(0, 100000)
	next(1, 100000)
	next(2, 100000)
}

func random(kind string, seed uint64) {
	sequence(fmt.Sprintf("random-%s-%d", kind, seed))
	newMap(kind, 0, uint32(seed))
	space := 50 + seed%7*150
	for i := uint64(0); i < 40; i++ {
		mix(seed*1000+i, 97, space, 20+(i*17+seed*29)%75)
		state()
		if i%5 == 1 {
			begin(int(i / 5))
			next(int(i/5), int(i))
		}
		if i%5 == 4 {
			next(int(i/5), 1000000)
			state()
		}
	}
}

func big() {
	sequence("idle-in-mid-growth-big")
	newMap("int_int", 0, 3)
	put(0, 425984)
	state()
	put(425984, 425985)
	state()
	get(0, 425985)
	state()
	del(1000000, 1000001)
	state()
	put(17, 18)
	state()
	for s.h.oldbuckets != nil {
		put(0, 1000)
		state()
	}
}

// The hash that the test repeats: runtime/hash64.go's, for 8 bytes.
func expectedHash(k uint64, seed uint32) uint64 {
	const m1, m2, m5 = 0xa0761d6478bd642f, 0xe7037ed1a0b428db, 0x1d8e4e27c47d124f
	mix := func(a, b uint64) uint64 {
		hi, lo := bits.Mul64(a, b)
		return hi ^ lo
	}
	return mix(m5^8, mix(k^m2, k^uint64(seed)^uint64(testKey[0])^m1))
}

// Stop if the runtime hashes in another way. One key's tag tells with 250 in 256 chances: ask many.
func checkHash() {
	for k := int64(1); k < 20; k++ {
		newMap("int_int", 1, 12345)
		s.put(k)
		top := uint8(expectedHash(uint64(k), 12345) >> 56)
		if top < minTopHash {
			top += minTopHash
		}
		if tags(s.h.buckets)[0] != top {
			fmt.Fprintln(os.Stderr, "record: another hash than expected: set GODEBUG=cpu.aes=off")
			os.Exit(1)
		}
	}
	out.Reset(os.Stdout)
}

func main() {
	hashkey = testKey
	checkHash()
	fmt.Fprintf(out, "# Recorded by tests/maps/go/record.go from %s; see there. Don't edit.\n",
		runtime.Version())
	fmt.Fprintf(out, "hashkey %d\n", uint64(testKey[0]))
	hints()
	for i, kind := range []string{"int_int", "int_ptr", "int_130", "int_0", "string_int"} {
		seed := uint32(100 + i)
		growthSteps(kind, seed, 1000)
		slidingWindow(kind, seed, 120, 3000)
		iterators(kind, seed)
		stickyFlag(kind)
		clearing(kind, seed)
		emptiedWhileGrowing(kind, seed)
		sameSizeUnderIterator(kind, seed)
		for r := uint64(1); r <= 3; r++ {
			random(kind, r+10*uint64(i))
		}
	}
	controlledGrowth()
	slidingWindow("int_int", 200, 23961, 200000)
	movers()
	emptiedMidGrowth()
	big()
	out.Flush()
}
