// keys.go - the keys of keys.h for the Go twins, and arrays outside of Go's heap for what a C
// program keeps outside of its map, so that they don't make the collector lazier.
package main

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

const keyMissing = uint64(1) << 40

func keyNumber(i uint64) uint64 {
	return mix((i + 1) * 0x9e3779b97f4a7c15)
}

func die(what string) {
	fmt.Fprintln(os.Stderr, what)
	os.Exit(1)
}

func mapped(bytes uint64) unsafe.Pointer {
	b, err := syscall.Mmap(-1, 0, int(bytes), syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		die("out of memory")
	}
	return unsafe.Pointer(&b[0])
}

func numbers(n uint64) []uint32 {
	v := unsafe.Slice((*uint32)(mapped(4*n)), n)
	for i := range v {
		v[i] = uint32(i)
	}
	return v
}

func shuffle(v []uint32, state *uint64) {
	for i := uint64(len(v)); i > 1; i-- {
		j := random(state) % i
		v[i-1], v[j] = v[j], v[i-1]
	}
}
