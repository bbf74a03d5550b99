// hmap.go - what is inside of Go 1.19's map, through unsafe.
package main

import (
	"reflect"
	"unsafe"
)

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

func headOf(m map[int]int) *hmap              { return *(**hmap)(unsafe.Pointer(&m)) }
func headOfPointers(m map[int]*payload) *hmap { return *(**hmap)(unsafe.Pointer(&m)) }
func headOfStrings(m map[string]int) *hmap    { return *(**hmap)(unsafe.Pointer(&m)) }

func (h *hmap) growing() bool { return h.oldbuckets != nil }

const intBucket = 144 // bytes of a bucket of int->int, or of int->pointer

// Old buckets that are evacuated: tophash[0] says so.
func (h *hmap) evacuated(bucket uintptr) int {
	const sameSize = 8
	old := uintptr(1) << h.B
	if h.flags&sameSize == 0 {
		old >>= 1
	}
	n := 0
	for i := uintptr(0); i < old; i++ {
		top := *(*uint8)(unsafe.Add(h.oldbuckets, i*bucket))
		if top > 1 && top < 5 {
			n++
		}
	}
	return n
}

// Entries in overflow buckets, and the longest and the mean chain, of a map of int->int at rest.
func (h *hmap) chains() (overflow int, longest int, mean float64) {
	chained := 0
	for i := uintptr(0); i < uintptr(1)<<h.B; i++ {
		length := 0
		for b := unsafe.Add(h.buckets, i*intBucket); b != nil; {
			length++
			used := 0
			for j := uintptr(0); j < 8; j++ {
				if *(*uint8)(unsafe.Add(b, j)) >= 5 {
					used++
				}
			}
			if length > 1 {
				overflow += used
			}
			chained++
			b = *(*unsafe.Pointer)(unsafe.Add(b, intBucket-8))
		}
		if length > longest {
			longest = length
		}
	}
	return overflow, longest, float64(chained) / float64(uintptr(1)<<h.B)
}

// Entries at which the next insert begins a growth.
func limit(B uint) int { return 13 << (B - 1) }

// An iterator that lives in the heap: its first fields are a Value, then the runtime's own.
type iterator struct{ *reflect.MapIter }

func iterate(m interface{}) iterator {
	it := iterator{reflect.ValueOf(m).MapRange()}
	it.Next()
	return it
}

// The bucket in which it stands is in the map's old array.
func (it iterator) inOld(h *hmap, bucket uintptr) bool {
	bptr := *(*unsafe.Pointer)(unsafe.Add(unsafe.Pointer(it.MapIter), 3*8+5*8))
	at := uintptr(bptr) - uintptr(h.oldbuckets)
	return h.oldbuckets != nil && at < (uintptr(1)<<(h.B-1))*bucket
}

type payload struct{ next *payload }
