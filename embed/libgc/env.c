/* env.c - the environment variables GC_*, read once, at the start.
 *
 * Nothing is read in a program that runs with the privileges of its file. docs/libgc.md lists what
 * is read, and why the others are not. Owns: the bad values that libgc warns of, until it is done
 * once the program's function may use the heap. Lock: that of the start. */
#include "libgc.h"

#include "runtime/options.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static bool is_set(const char *name)
{
    return secure_getenv(name) != NULL;
}

#define SIZE_LEAST ((size_t)64 << 10) /* what libgc begins with */
#define MARKERS_USUAL 16 /* libgc's most: what it takes in place of a bad number */

static struct {
    const char *initial, *maximum; /* sizes, or NULL */
    bool markers;
    int nmarkers;
} bad;

/* As libgc: a number of bytes that may end in k, M or G. Returns the value if it is a bad one. */
static const char *read_size(const char *name, size_t least, size_t *out)
{
    const char *s = secure_getenv(name);
    bool tera = s && *s && strchr("tT", s[strlen(s) - 1]);
    return s && (tera || oaki_parse_size(s, least, SIZE_MAX, out) != 0) ? s : NULL;
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

/* As libgc's atoi, but for what an int can't hold. */
static void read_markers(void)
{
    const char *s = secure_getenv("GC_MARKERS");
    int n;
    if (!s && read_int("GC_NPROCS", 1, 64, &n)) lgc.markers = (unsigned)n;
    if (!s) return;
    long markers = strtol(s, NULL, 10);
    bad.nmarkers = (int)OAKI_MAX(OAKI_MIN(markers, INT_MAX), INT_MIN);
    bad.markers = markers < 1 || markers > 64;
    lgc.markers = bad.markers ? MARKERS_USUAL : (unsigned)markers;
}

static void read_pace(void)
{
    int n;
    if (read_int("GC_FREE_SPACE_DIVISOR", 1, 10000, &n)) GC_free_space_divisor = (GC_word)n;
    if (read_int("GC_FULL_FREQUENCY", 1, 10000, &n)) GC_full_freq = n;
    if (read_int("GC_PAUSE_TIME_TARGET", 1, GC_TIME_UNLIMITED, &n))
        GC_time_limit = (unsigned long)n;
    read_markers();
    bad.initial = read_size("GC_INITIAL_HEAP_SIZE", SIZE_LEAST + 1, &lgc.expanded);
    bad.maximum = read_size("GC_MAXIMUM_HEAP_SIZE", SIZE_LEAST, &lgc.max_heap);
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
