/* env.c - the environment variables GC_*, read once, at the start.
 *
 * Nothing is read in a program that runs with the privileges of its file. docs/libgc.md lists what
 * is read, and why the others are not. Lock: that of the start. */
#include "libgc.h"

#include "runtime/options.h"
#include <stdlib.h>
#include <string.h>

static bool is_set(const char *name)
{
    return secure_getenv(name) != NULL;
}

/* As libgc: a number of bytes that may end in k, M, G or T. false: it isn't there, or no number. */
static bool read_size(const char *name, size_t *out)
{
    const char *s = secure_getenv(name);
    return s && *s && oaki_parse_size(s, 0, SIZE_MAX, out) == 0;
}

static bool read_int(const char *name, int min, int max, int *out)
{
    const char *s = secure_getenv(name);
    return s && *s && oaki_parse_int(s, min, max, out) == 0;
}

static void read_log(void)
{
    const char *path = secure_getenv("GC_LOG_FILE");
    if (path && *path) lgc_log_open(path);
    if (is_set("GC_PRINT_VERBOSE_STATS")) lgc.print_stats = 2;
    else if (is_set("GC_PRINT_STATS")) lgc.print_stats = 1;
    lgc.dump_regularly = is_set("GC_DUMP_REGULARLY");
    lgc.loop_on_abort = is_set("GC_LOOP_ON_ABORT");
}

static void read_pace(void)
{
    int n;
    size_t size;
    if (read_int("GC_FREE_SPACE_DIVISOR", 1, 10000, &n)) GC_free_space_divisor = (GC_word)n;
    if (read_int("GC_FULL_FREQUENCY", 1, 10000, &n)) GC_full_freq = n;
    if (read_int("GC_PAUSE_TIME_TARGET", 1, GC_TIME_UNLIMITED, &n))
        GC_time_limit = (unsigned long)n;
    if (read_int("GC_MARKERS", 1, 64, &n) || read_int("GC_NPROCS", 1, 64, &n))
        lgc.markers = (unsigned)n;
    if (read_size("GC_MAXIMUM_HEAP_SIZE", &size)) lgc.max_heap = size;
    if (read_size("GC_INITIAL_HEAP_SIZE", &size)) lgc.expanded = size;
}

void lgc_env_read(void)
{
    read_log();
    read_pace();
    if (is_set("GC_DONT_GC")) GC_dont_gc = 1;
    if (is_set("GC_ALL_INTERIOR_POINTERS")) GC_all_interior_pointers = 1;
    if (is_set("GC_USE_ENTIRE_HEAP")) GC_use_entire_heap = 1;
    if (is_set("GC_FORCE_UNMAP_ON_GCOLLECT")) lgc.force_unmap = 1;
    if (is_set("GC_FIND_LEAK")) GC_find_leak = 1;
    lgc.abort_on_leak = is_set("GC_ABORT_ON_LEAK");
    lgc.conservative_gcj = is_set("GC_IGNORE_GCJ_INFO");
}
