// writable.go - makes constant memory writable, for a map type's hash function.
package main

import "syscall"

func makeWritable(page, bytes uintptr) {
	_, _, e := syscall.Syscall(syscall.SYS_MPROTECT, page, bytes, syscall.PROT_READ|syscall.PROT_WRITE)
	if e != 0 {
		panic(e)
	}
}
