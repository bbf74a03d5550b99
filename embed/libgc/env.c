/* env.c - reads the environment variables GC_*, once, at the start.
 *
 * They are ignored in a set-user-ID program and its kin. docs/libgc.md lists the supported
 * variables, and why the others are not.
 *
 * Owns: the invalid values. The warnings of them are printed after the start, as the program's
 * warning function may use the heap. Lock: that of the start. */
#include "libgc.h"

#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static bool is_set(const char *name)
{
    return secure_getenv(name) != NULL;
}

#define MARKERS_USUAL 16 /* libgc's maximum, which it uses instead of an invalid number */

static struct {
    const char *initial, *maximum; /* sizes, or NULL */
    bool markers;
    int nmarkers;
} bad;

/* As in libgc: a number as of strtoull, which may end in k, M or G. Returns 0 for an invalid one.
 */
static size_t parse_size(const char *s)
{
    static const char units[] = "kmg";
    char *end;
    size_t n = strtoull(s, &end, 10);
    const char *unit = *end ? strchr(units, tolower((unsigned char)*end)) : NULL;
    if (*end && (!unit || end[1])) return 0;
    return unit ? n << 10 * (unit - units + 1) : n;
}

/* Read a size of at least `least`. Returns the value if it is smaller, for a warning. */
static const char *read_size(const char *name, size_t least, size_t *out)
{
    const char *s = secure_getenv(name);
    if (s) *out = parse_size(s);
    return s && *out < least ? s : NULL;
}

/* As atoi in libgc, but numbers beyond an int are limited. */
static int parse_int(const char *s)
{
    long n = strtol(s, NULL, 10);
    return (int)OAKI_MAX(OAKI_MIN(n, INT_MAX), INT_MIN);
}

static bool read_positive(const char *name, int *out)
{
    const char *s = secure_getenv(name);
    *out = s ? parse_int(s) : 0;
    return *out > 0;
}

/* Read a switch that "0" turns off. */
static void read_switch(const char *name, int *out)
{
    const char *s = secure_getenv(name);
    if (s) *out = strcmp(s, "0") != 0;
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

static void read_markers(void)
{
    const char *s = secure_getenv("GC_MARKERS");
    int n;
    if (!s && read_positive("GC_NPROCS", &n) && n <= 64) lgc.markers = (unsigned)n;
    if (!s) return;
    bad.nmarkers = n = parse_int(s);
    bad.markers = n < 1 || n > 64;
    lgc.markers = bad.markers ? MARKERS_USUAL : (unsigned)n;
}

/* A maximum below the initial size of the heap takes effect, although the warning says otherwise:
 * the start then fails for lack of memory (lgc_start). */
static void read_pace(void)
{
    int n;
    if (read_positive("GC_FREE_SPACE_DIVISOR", &n)) GC_free_space_divisor = (GC_word)n;
    if (read_positive("GC_FULL_FREQUENCY", &n)) GC_full_freq = n;
    if (read_positive("GC_PAUSE_TIME_TARGET", &n)) GC_time_limit = (unsigned long)n;
    read_markers();
    bad.initial = read_size("GC_INITIAL_HEAP_SIZE", LGC_HEAP_LEAST + 1, &lgc.expanded);
    size_t least = OAKI_MAX(lgc.expanded, LGC_HEAP_LEAST);
    bad.maximum = read_size("GC_MAXIMUM_HEAP_SIZE", least, &lgc.max_heap);
    if (secure_getenv("GC_MAXIMUM_HEAP_SIZE") && GC_max_retries == 0) GC_max_retries = 2;
}

void lgc_env_read(void)
{
    read_log();
    read_pace();
    if (is_set("GC_DONT_GC")) GC_dont_gc = 1;
    if (is_set("GC_ALL_INTERIOR_POINTERS")) GC_all_interior_pointers = 1;
    read_switch("GC_USE_ENTIRE_HEAP", &GC_use_entire_heap);
    read_switch("GC_FORCE_UNMAP_ON_GCOLLECT", &lgc.force_unmap);
    if (is_set("GC_FIND_LEAK")) GC_find_leak = 1;
    lgc.abort_on_leak = is_set("GC_ABORT_ON_LEAK");
    lgc.conservative_gcj = is_set("GC_IGNORE_GCJ_INFO");
}

void lgc_env_warn(void)
{
    if (bad.markers)
        lgc.warn_proc("GC Warning: Too big or invalid number of mark threads: %ld;"
                      " using maximum threads\n",
                      (GC_word)bad.nmarkers);
    if (bad.initial)
        lgc.warn_proc("GC Warning: Bad initial heap size %s - ignoring it.\n",
                      (GC_word)bad.initial);
    if (bad.maximum)
        lgc.warn_proc("GC Warning: Bad maximum heap size %s - ignoring it.\n",
                      (GC_word)bad.maximum);
}
