// keys_u64.go - the key type of a Go twin: integers.
package main

const batchSize = 1024

type key = uint64

type batch struct {
	key [batchSize]key
}

func (b *batch) fill(index []uint64) {
	for j, i := range index {
		b.key[j] = keyNumber(i)
	}
}

func owned(k key) key { return k }

func weigh(k key) uint64 { return k }
