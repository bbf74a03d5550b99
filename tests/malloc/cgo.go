// cgo.go - a program in Go whose threads, and those of its C part, use C's malloc, and that runs
// another program.
package main

/*
#cgo LDFLAGS: -lpthread
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static void lose(int n) { memset(malloc(n), 1, n); }
static void *allocate(void *arg) { return arg ? arg : malloc(10); }
static int in_thread(void)
{
    pthread_t id;
    void *p;
    if (pthread_create(&id, NULL, allocate, NULL) != 0) return -1;
    pthread_join(id, &p);
    free(p);
    return 0;
}
*/
import "C"

import (
	"fmt"
	"os/exec"
	"runtime"
	"sync"
	"unsafe"
)

func work(i int, all *sync.WaitGroup) {
	defer all.Done()
	runtime.LockOSThread()
	for j := 0; j < 200; j++ {
		s := C.CString(fmt.Sprint(i, j))
		C.free(unsafe.Pointer(s))
	}
	if i%4 == 0 {
		C.in_thread()
	}
}

func main() {
	var all sync.WaitGroup
	C.lose(1234)
	for i := 0; i < 20; i++ {
		all.Add(1)
		go work(i, &all)
	}
	all.Wait()
	out, _ := exec.Command("echo", "sub").Output()
	fmt.Print("ok ", string(out))
}
