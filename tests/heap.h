/* heap.h - what tests of the heap and the collector share: a start with everything of its own
 * turned off, random numbers whose seed is printed, what the kernel says of memory. */
#ifndef TESTS_HEAP_H
#define TESTS_HEAP_H

#include "runtime/heap.h"
#include "tests/skip.h"

#include <oakum/oakum.h>

/* ---- random numbers: the same for the same seed, which OAKUM_TEST_SEED sets ---- */

void test_seed(const char *who);      /* prints it */
uint64_t test_random(void);
size_t test_below(size_t n);          /* 0 .. n - 1 */
size_t test_size(size_t max);         /* 1 .. max, every order of magnitude alike often */

/* n; ten times as much with OAKUM_TEST_LONG=1; a tenth of it where a tool makes all slow. */
size_t test_scale(size_t n);
bool test_slow(void); /* Valgrind, a sanitizer, or OAKUM_DEBUG=stress */
bool test_skip_slow(void); /* is it, which is said: the test needs time, or addresses */

/* ---- start ---- */

/* No thread of the runtime's own but markers if gc_threads says so, and the collector's where
 * OAKUM_DEBUG has beside=1; small pages, no collection unless asked for, whatever else the
 * environment says. */
oak_config test_config(void);
bool test_written_start(void); /* oaki_dirty_start, inside */
/* oaki_dirty_begin, once no thread begins or ends: libc blocks all signals there for a moment. */
void test_dirty_begin(void);
bool test_skip_untracked(void); /* the same, where this system cannot: true, which is said */
void test_sweep_all(void);     /* oaki_gc_sweep_all, inside, be the caller there or not */
oak_config test_config_beside(oak_tracking tracking); /* marks are beside the program */
void test_heap_start_stressed(oak_config c); /* heeds OAKUM_DEBUG=stress=N */
void test_no_stress(void); /* for exact figures, and objects held where no collector looks */
void test_heap_start(oak_config c); /* both: without stress */
void test_once(void); /* none before one that is asked for, though OAKUM_DEBUG=twice=1 */
/* The host is measured, and no thread comes for that: one that begins blocks all signals. */
void test_host_is_known(void);

/* Poison and the verifier, so many minor collections between two full ones, pages are tracked, and
 * all markers mark beside the program, too. false: this system can't, which has been said. */
bool test_heap_tracked(oak_config c, size_t minors);
/* Until the next cycle, first writes are cheap and no mark counts as slow, on any machine. So
 * tracking goes on. */
void test_host_is_kind(void);
bool test_ask_beside(void); /* for a mark beside the program; false: there will be none */
/* The same of a heap that can. By faults it isn't always to be had: while libc has a new thread
 * block all signals, say. Then the next cycle is in a stop, and is over before this returns. */
void test_ask_or_collect(void);
void test_await_mark(void); /* until a mark is under way; it stays so for a moment */
void test_await_idle(void); /* until no mark is asked for, and the last one has been told of */
void test_no_beside(void); /* for what is freed by hand at once, which waits while a mark goes on */

/* From here on, [p, p + n) is all that is scanned of the data of the objects that are loaded. */
void test_only_root(const void *p, size_t n);

/* As in tests/gc/away.h, whose test_start is another one than that of tests/threads.h. */
void test_away(void (*fn)(void *arg), void *arg);
void test_build(void (*fn)(void *arg), void *arg);
size_t test_run_finalizers(void);

/* ---- looking ---- */

oak_memstats test_stats(void);
size_t test_objects(void); /* heap_objects */
size_t test_threads(void); /* attached, the collector's own left out */
size_t test_rss(void);     /* of the process, bytes */
bool test_reads_are_free(void); /* what is only read takes no memory: not so on some machines */
size_t test_smaps_rss(uintptr_t lo, uintptr_t hi); /* of mappings that lie in [lo, hi) */
bool test_is_zero(const void *p, size_t n);

/* Reads the zones, at most `most`, into all[]: what they say adds up to what MemStats says. Returns
 * how many there are. */
size_t test_zones_add_up(oak_zone_stats *all, size_t most);

/* Holds the heap's structures to their rules, with the world stopped. The broken one, or NULL. */
const char *test_check_heap(void);
void test_assert_sound(void); /* there is none */

/* Threads of this process that have this name. */
size_t test_threads_named(const char *name);

/* fn(arg) must abort, with this in what it writes to stderr. */
void test_dies(void (*fn)(void *arg), void *arg, const char *line);
/* fn() in a child, which fn ends: waitpid's status. Hangs if the child doesn't end. */
int test_status_of(void (*fn)(void));
/* fn(arg) in a child, which must return from it. */
void test_child(void (*fn)(void *arg), void *arg);

#endif
