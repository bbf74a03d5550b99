// common.go - what the Go twins share: the random generator and the arguments of bench.h, the same
// bit for bit.
package main

import (
	"os"
	"strconv"
)

func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func random(state *uint64) uint64 {
	*state += 0x9e3779b97f4a7c15
	return mix(*state)
}

func arg(i int, otherwise uint64) uint64 {
	if i >= len(os.Args) {
		return otherwise
	}
	n, _ := strconv.ParseUint(os.Args[i], 10, 64)
	return n
}
