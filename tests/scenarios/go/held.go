// held.go - what programs hold: caches, pools, threads, captures.
package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/debug"
	"sync"
	"time"
	"unsafe"
)

func init() {
	programs["unbounded-global-map"] = unboundedGlobalMap
	programs["leaked-thread-holding-map"] = leakedThreadHoldingMap
	programs["struct-field-map-lifetime"] = structFieldMapLifetime
	programs["watermark-vs-leak"] = watermarkVsLeak
	programs["key-type-reachability"] = keyTypeReachability
	programs["audit-cache-unbounded"] = auditCacheUnbounded
	programs["pool-misuse"] = poolMisuse
	programs["idle-connection-pool"] = idleConnectionPool
	programs["deferred-closure-capture"] = deferredClosureCapture
	programs["escaped-closure-capture"] = escapedClosureCapture
	programs["string-key-substring-pin"] = stringKeySubstringPin
}

// ---- a cache without a bound ----

type lru struct {
	most           int
	m              map[string]*lruNode
	newest, oldest *lruNode
}

type lruNode struct {
	newer, older *lruNode
	key          string
	value        interface{}
}

func newLRU(most int) *lru { return &lru{most: most, m: map[string]*lruNode{}} }

// A key that is not there.
func (l *lru) put(key string, value interface{}) {
	n := &lruNode{nil, l.newest, key, value}
	l.m[key] = n
	if l.newest != nil {
		l.newest.newer = n
	} else {
		l.oldest = n
	}
	l.newest = n
	if len(l.m) > l.most {
		last := l.oldest
		delete(l.m, last.key)
		l.oldest = last.newer
		l.oldest.older = nil
	}
}

var users map[string]interface{}
var bounded *lru

//go:noinline
func insertUsers(from, to int) {
	for i := from; i < to; i++ {
		users[fmt.Sprintf("user:%08d", i)] = [2]int{i, i}
	}
}

func unboundedGlobalMap() {
	start := live()
	users = map[string]interface{}{}
	insertUsers(0, 100000)
	row("global map[string]any, 100,000 users", live()-start)
	insertUsers(100000, 800000)
	row("the same, 800,000 users", live()-start)
	insertUsers(800000, 1000000)
	row("the same, 1,000,000 users", live()-start)
	users = nil
	row("the same map, dropped", live()-start)
	bounded = newLRU(10000)
	for i := 0; i < 1000000; i++ {
		bounded.put(fmt.Sprintf("user:%08d", i), [2]int{i, i})
	}
	row("the same users through an LRU of 10,000", live()-start)
	runtime.KeepAlive(bounded)
}

// ---- threads that wait for ever ----

func leakedThreadHoldingMap() {
	hold := func(c chan struct{}, ready *sync.WaitGroup) {
		m := map[int]int{}
		for i := 0; i < 1000; i++ {
			m[i] = i
		}
		ready.Done()
		<-c
		runtime.KeepAlive(m)
	}
	run := func(channel func() chan struct{}) float64 {
		var ready sync.WaitGroup
		start := live()
		ready.Add(1000)
		for i := 0; i < 1000; i++ {
			go hold(channel(), &ready)
		}
		ready.Wait()
		return live() - start
	}
	start := live()
	c := make(chan struct{})
	row("1,000 blocked threads with a map each, channel in a global", run(func() chan struct{} { return c }))
	close(c)
	time.Sleep(100 * time.Millisecond)
	row("the same threads, released", live()-start)
	row("the same, each channel known to its blocked thread only", run(func() chan struct{} { return make(chan struct{}) }))
}

// ---- a map in a field ----

type holder struct {
	m    map[string]int
	more [4]int
}

var global *holder

//go:noinline
func localHolder() holder { return holder{m: map[string]int{}} }

//go:noinline
func useLocals() int {
	n := 0
	for i := 0; i < 1000; i++ {
		n += len(localHolder().m)
	}
	return n
}

//go:noinline
func fillGlobal() {
	global = &holder{m: map[string]int{}}
	for i := 0; i < 100000; i++ {
		global.m[fmt.Sprintf("user:%08d", i)] = i
	}
}

func structFieldMapLifetime() {
	start := live()
	useLocals()
	row("1,000 local structs with a map, returned by value", live()-start)
	fillGlobal()
	row("struct in a global, map of 100,000 strings in its field", live()-start)
	global.m = nil
	row("field = nil, the struct lives", live()-start)
	global = nil
	fillGlobal()
	global = nil
	row("struct dropped, with a full map", live()-start)
}

// ---- a peak ----

var globalInts map[int]int

//go:noinline
func fillInts(n int) map[int]int {
	m := map[int]int{}
	for i := 0; i < n; i++ {
		m[i] = i
	}
	return m
}

func watermarkVsLeak() {
	start := live()
	apart(func() { runtime.KeepAlive(fillInts(1000000)) })
	row("local map of 1,000,000 after return and 2 collections", live()-start)
	start = live()
	globalInts = fillInts(100000)
	live()
	live()
	row("global map of 100,000 after 6 collections", live()-start)
	runtime.KeepAlive(globalInts)
}

// ---- keys ----

var keySink interface{}

func keyTypeReachability() {
	const n = 1000000
	measure := func(what string, fill func() interface{}) {
		start := live()
		keySink = fill()
		row(what, live()-start)
		keySink = nil
	}
	measure("map of 1,000,000 int64 keys", func() interface{} {
		m := map[int64]struct{}{}
		for i := int64(0); i < n; i++ {
			m[i] = struct{}{}
		}
		return m
	})
	measure("map of 1,000,000 strings of 16 bytes", func() interface{} {
		m := map[string]struct{}{}
		for i := 0; i < n; i++ {
			m[fmt.Sprintf("key-%012d", i)] = struct{}{}
		}
		return m
	})
	measure("map of 1,000,000 pointers to 32 bytes", func() interface{} {
		m := map[*[4]int]struct{}{}
		for i := 0; i < n; i++ {
			m[new([4]int)] = struct{}{}
		}
		return m
	})
	measure("map of 1,000,000 ints in an interface", func() interface{} {
		m := map[interface{}]struct{}{}
		for i := 0; i < n; i++ {
			m[i] = struct{}{}
		}
		return m
	})
	kept := map[*[4]int]struct{}{}
	finalized := make(chan struct{}, 1000)
	var doomed []*[4]int
	for i := 0; i < 1000; i++ {
		p := new([4]int)
		runtime.SetFinalizer(p, func(*[4]int) { finalized <- struct{}{} })
		kept[p] = struct{}{}
		if i%2 == 0 {
			doomed = append(doomed, p)
		}
	}
	for _, p := range doomed {
		delete(kept, p)
	}
	doomed = nil
	live()
	time.Sleep(100 * time.Millisecond)
	row("1,000 pointer keys with finalizers, 500 deleted: kept", float64(500-len(finalized)))
	runtime.KeepAlive(kept)
	equal := map[string]struct{}{}
	for i := 0; i < 1000; i++ {
		equal[string(make([]byte, 100))] = struct{}{}
	}
	row("1,000 inserts of one string of 100 zero bytes: keys", float64(len(equal)))
}

// ---- a cache of bodies ----

type datedBody struct {
	body    []byte
	expires int
}

var audit map[string][]byte
var digests *lru
var dated map[string]datedBody

func auditCacheUnbounded() {
	address := func(i int) string { return fmt.Sprintf("10.%08d:443", i) }
	start := live()
	audit = map[string][]byte{}
	for i := 0; i < 50000; i++ {
		if i == 10000 {
			row("bodies of 10,000 requests in a map", live()-start)
		}
		audit[address(i)] = make([]byte, 2048)
	}
	row("the same, 50,000 requests", live()-start)
	audit = nil
	start = live()
	digests = newLRU(1000)
	for i := 0; i < 50000; i++ {
		digests.put(address(i), new([64]byte))
	}
	row("repaired: digests of 64 bytes, the last 1,000", live()-start)
	digests = nil
	start = live()
	dated = map[string]datedBody{}
	i := 0
	for ; i < 50000; i++ {
		delete(dated, address(i-1000))
		dated[address(i)] = datedBody{make([]byte, 2048), i + 1000}
	}
	row("repaired: bodies for 1,000 requests each", live()-start)
	// on to the end of a same-size growth, after which there are few overflow buckets
	h := *(**hmap)(unsafe.Pointer(&dated))
	for begun := false; !begun || h.growing(); i++ {
		delete(dated, address(i-1000))
		dated[address(i)] = datedBody{make([]byte, 2048), i + 1000}
		begun = begun || h.growing()
	}
	for k := 0; k < 1000; k++ {
		delete(dated, address(i-1000+k))
	}
	row("the same, all expired, the map kept", live()-start)
	runtime.KeepAlive(dated)
}

// ---- pools ----

type buffer struct{ data []byte }

var pool sync.Pool

func poolMisuse() {
	runtime.GOMAXPROCS(1) // what is in the private place of another processor is found by nobody
	start := live()
	held := sync.Pool{}
	for i := 0; i < 64; i++ {
		held.Put(new([1 << 20]byte))
	}
	runtime.GC()
	runtime.GC()
	row("64 objects of 1 MiB put, then two collections", float64(stats().HeapAlloc)-start)
	serve := func(n, limit int) {
		b := pool.Get().(*buffer)
		if cap(b.data) < n {
			b.data = make([]byte, n)
		}
		b.data = b.data[:0]
		if limit == 0 || cap(b.data) <= limit {
			pool.Put(b)
		}
	}
	steady := func(limit int) float64 {
		runtime.GC()
		debug.SetGCPercent(-1) // two collections between two requests would empty the pool
		defer debug.SetGCPercent(100)
		pool = sync.Pool{New: func() interface{} { return new(buffer) }}
		serve(64<<20, limit)
		for i := 1; i <= 100000; i++ {
			serve(512, limit)
			if i%10000 == 0 {
				runtime.GC()
			}
		}
		return float64(stats().HeapAlloc)
	}
	start = live()
	row("one request of 64 MiB, then 100,000 of 512 bytes", steady(0)-start)
	pool = sync.Pool{}
	start = live()
	row("repaired: the same with a limit of 64 KiB", steady(64<<10)-start)
}

// ---- connections ----

func idleConnectionPool() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("x")) }))
	address := server.Listener.Addr().String()
	ask := func(t *http.Transport) {
		client := &http.Client{Transport: t}
		for i := 0; i < 500; i++ {
			r, err := client.Get(fmt.Sprintf("http://host-%d.example/", i))
			if err != nil {
				panic(err)
			}
			r.Body.Read(make([]byte, 16))
			r.Body.Close()
		}
	}
	transport := func() *http.Transport {
		return &http.Transport{Dial: func(_, _ string) (net.Conn, error) { return net.Dial("tcp", address) }}
	}
	start := live()
	t := transport()
	ask(t)
	row("500 hosts, one request each, no limit", live()-start)
	t.CloseIdleConnections()
	time.Sleep(300 * time.Millisecond)
	row("repaired: idle ones closed", live()-start)
	runtime.KeepAlive(t)
	start = live()
	t = transport()
	t.IdleConnTimeout = 100 * time.Millisecond
	ask(t)
	time.Sleep(500 * time.Millisecond)
	row("repaired: a timeout of 100 ms, which has passed", live()-start)
	runtime.KeepAlive(t)
	start = live()
	t = transport()
	t.MaxIdleConns = 10
	ask(t)
	time.Sleep(300 * time.Millisecond)
	row("repaired: at most 10 idle ones", live()-start)
	runtime.KeepAlive(t)
}

// ---- captures ----

//go:noinline
func makePieces() [][]byte {
	s := make([][]byte, 16)
	for i := range s {
		s[i] = make([]byte, 1<<20)
	}
	return s
}

var sum int

//go:noinline
func deferred(form int) float64 {
	s := makePieces()
	switch form {
	case 0:
		defer func() {
			for _, p := range s {
				sum += int(p[0])
			}
		}()
	case 1:
		defer func() {
			for i := 0; i < len(s); i++ {
				sum += int(s[i][0])
			}
		}()
	default:
		sum += int(s[0][0])
	}
	return live()
}

func deferredClosureCapture() {
	start := live()
	row("a cleanup that ranges over 16 MiB: before the function returns", deferred(0)-start)
	start = live()
	row("a cleanup with an index loop: before the function returns", deferred(1)-start)
	start = live()
	row("no cleanup, used at once: before the function returns", deferred(2)-start)
}

func escapedClosureCapture() {
	start := live()
	m := map[int]int{}
	ask, answer := make(chan struct{}), make(chan int)
	go func() {
		for range ask {
			answer <- len(m)
		}
	}()
	for i := 0; i < 1000000; i++ {
		m[i] = i
	}
	row("map captured by a closure, grown to 1,000,000", live()-start)
	m = nil
	row("the captured variable cleared, the thread still there", live()-start)
	close(ask)
	start = live()
	wait, done := make(chan struct{}), make(chan struct{})
	apart(func() {
		go func(m map[int]int) {
			<-wait
			sum += len(m)
			close(done)
		}(fillInts(1000000))
	})
	time.Sleep(50 * time.Millisecond)
	row("passed by value to a blocked thread that uses it later", live()-start)
	close(wait)
	<-done
	time.Sleep(50 * time.Millisecond)
	row("the thread has used it, and ended", live()-start)
}

// ---- a part of a string ----

var byText map[string]int

//go:noinline
func document() string {
	text := make([]byte, 1<<20)
	copy(text[1000:], "a-key-of-1")
	return string(text)
}

func stringKeySubstringPin() {
	start := live()
	byText = map[string]int{}
	apart(func() { byText[document()[1000:1010]] = 1 })
	row("a key of 10 bytes, cut from a string of 1 MiB", live()-start)
	byText[string([]byte("a-key-of-1"))] = 2
	row("repaired: stored again under an equal key", live()-start)
	runtime.KeepAlive(byText)
}
