// keys_str.go - the key type of a Go twin: strings of 8 to 64 bytes.
package main

import (
	"strings"
	"unsafe"
)

const (
	batchSize = 256
	keyLeast  = 8
	keyMost   = 64
)

type key = string

// The strings of a batch lie in text, and change with the next fill.
type batch struct {
	key  [batchSize]key
	text [batchSize * (keyMost / 8)]uint64
}

func (b *batch) fill(index []uint64) {
	at := 0
	for j, i := range index {
		state := keyNumber(i)
		n := keyLeast + state%(keyMost-keyLeast+1)
		bytes := unsafe.Slice((*byte)(unsafe.Pointer(&b.text[at])), n)
		for done := uint64(0); done < n; done += 8 {
			b.text[at] = random(&state)&0x3f3f3f3f3f3f3f3f + 0x3030303030303030
			at++
		}
		b.key[j] = *(*string)(unsafe.Pointer(&bytes))
	}
}

func owned(k key) key { return strings.Clone(k) }

func weigh(k key) uint64 { return 0 }
