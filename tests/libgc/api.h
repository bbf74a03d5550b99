/* api.h - what the parts of the test of libgc's public interface share.
 *
 * The program is compiled with libgc's own headers and runs once on the system's library and once
 * on Oakum's: what it prints is the same for each library that does what the headers say. So it
 * prints no addresses, and of what a conservative collector may keep by accident only whether it
 * was few. */
#ifndef TEST_LIBGC_API_H
#define TEST_LIBGC_API_H

#ifndef GC_THREADS
#define GC_THREADS
#endif
#define GC_NO_THREAD_REDIRECTS
#include <gc/gc.h>
#include <gc/gc_gcj.h>
#include <gc/gc_inline.h>
#include <gc/gc_mark.h>
#include <gc/gc_typed.h>
#include <gc/javaxfc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOINLINE __attribute__((noinline))
#define MANY 200 /* objects of which stray words may keep a few */

/* Exported, written by programs, and declared by no header. */
extern GC_push_other_roots_proc GC_push_other_roots;

/* Prints "what: value". */
void say(const char *what, long value);
/* The same with "all", "some" or "none" of MANY, give or take a tenth. */
void say_of_many(const char *what, long n);

/* Overwrites what dead frames hold, and collects, so often that chains of finalizers run. */
void collect(void);

/* Weak references by disappearing links: to count how many objects are there. */
typedef struct watch {
    size_t n;
    void **link; /* hidden addresses, in an object that is not scanned */
} watch;
void watch_init(watch *w);
void watch_add(watch *w, void *obj);
long watch_alive(const watch *w);

void test_alloc(void);
void test_kinds(void);
void test_typed(void);
void test_finalizers(void);
void test_foreign(void);
void test_links(void);
void test_roots(void);
void test_regions(void);
void test_displaced(void);
void test_racing(void);
void test_limits(void);
void test_shrinking(void);
void test_threads(void);
void test_collecting(void);
void test_figures(void);
void test_debug(void);
void test_strict(void);
void test_oom(void);
void test_settings(void);
void test_callbacks(void);
void test_exiting(void);
void test_dumps(void);
void test_checking(void);
void test_dumping(void);
void test_log(void);
void test_early(void);
void test_incremental(void);
void test_disabled(void);
void test_environment(void);
void test_warnings(void);
void test_limit(void);
void test_leaking(void);
void test_markers(void);
void test_helped(void);
void test_disclaim(void);
void test_weakmap(void);
void test_unprotected(void);
void test_whole(void);
void test_exclusions(void);
void test_secondary(void);
void test_keys(void);
void test_leaks(void);
void test_smashing(void);
void test_huge(void);
void test_libraries(void);
void test_maximum(void);
void test_subthreads(void);
void test_loading(void);
void test_locked(void);

#endif
