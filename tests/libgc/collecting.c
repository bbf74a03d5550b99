/* collecting.c - asking for collections, forbidding them, callbacks, memory that runs out. */
#include "api.h"

/* ---- callbacks ---- */

static long started;
static GC_word number_at_start;

static void on_start(void)
{
    started++;
    number_at_start = GC_get_gc_no();
}

static char events[64];
static size_t nevents;

static void on_event(GC_EventType e)
{
    static const char *const letters = "SmMrREpPqQuU";
    if (nevents < sizeof events - 1 && e < 12) events[nevents++] = letters[e];
}

static int stop_now(void)
{
    return 1;
}

static int go_on(void)
{
    return 0;
}

static void churn(size_t bytes)
{
    for (size_t n = 0; n < bytes; n += 1000) *(char *)GC_malloc(1000) = 1;
}

static void warned(char *message, GC_word arg)
{
    (void)message;
    (void)arg;
}

static void count_object(void *obj, size_t bytes, void *ctx)
{
    *(size_t *)ctx += bytes > 0 && GC_base(obj) == obj;
}

static void *enumerate(void *arg)
{
    GC_enumerate_reachable_objects_inner(count_object, arg);
    return arg;
}

void test_collecting(void)
{
    GC_word before = GC_get_gc_no();
    say("initialised", GC_is_init_called());
    say("version 8.2", GC_get_version() >> 8 == (8 << 8 | 2));
    GC_gcollect();
    say("counted", GC_get_gc_no() > before && GC_gc_no == GC_get_gc_no());
    GC_disable();
    GC_disable();
    say("disabled", GC_is_disabled() != 0);
    before = GC_get_gc_no();
    GC_gcollect();
    churn(16 << 20);
    say("none while disabled", GC_get_gc_no() == before);
    say("nor by trying", GC_try_to_collect(go_on));
    GC_enable();
    say("still disabled", GC_is_disabled() != 0);
    GC_enable();
    say("enabled", GC_is_disabled());
    say("try", GC_try_to_collect(go_on));
    say("try and give up", GC_try_to_collect(stop_now));
    GC_set_start_callback(on_start);
    say("start callback", GC_get_start_callback() == on_start);
    GC_gcollect();
    say("called", started > 0);
    say("counted at the end", number_at_start < GC_get_gc_no());
    GC_set_start_callback(NULL);
    GC_set_on_collection_event(on_event);
    GC_gcollect();
    GC_set_on_collection_event(NULL);
    printf("events: %s\n", events);
    before = GC_get_gc_no();
    churn(64 << 20);
    say("collects by itself", GC_get_gc_no() > before);
    GC_gcollect_and_unmap();
    say("a little, where there is nothing to do", GC_collect_a_little());
    GC_warn_proc old = GC_get_warn_proc();
    say("there is a warn function", old != NULL);
    GC_set_warn_proc(warned);
    say("another", GC_get_warn_proc() == warned);
    GC_set_warn_proc(old);
    size_t objects = 0;
    GC_call_with_alloc_lock(enumerate, &objects);
    say("objects", objects > 100);
    GC_stop_world_external();
    GC_start_world_external();
}

/* ---- memory that runs out ---- */

static long failed;
static int own_kind;
static char spare[300000];

static void *out_of_memory(size_t n)
{
    failed++;
    return n > 64 ? spare : NULL;
}

static NOINLINE long is_spare(const char *what, const void *p)
{
    if (p != spare) printf("%s: not from the function\n", what);
    return p == spare;
}

/* It is the program's: nothing is held, counted or written there. */
static void uncollectable(void)
{
    GC_word bytes = GC_get_non_gc_bytes();
    long n = is_spare("uncollectable", GC_malloc_uncollectable(1500));
    n += is_spare("atomic uncollectable", GC_malloc_atomic_uncollectable(1500));
    n += is_spare("uncollectable, of a kind", GC_generic_malloc_uncollectable(1500, 1));
    n += is_spare("uncollectable, typed", GC_generic_malloc_uncollectable(1500, own_kind));
    say("uncollectable ones of the function", n);
    say("and no more bytes count", GC_get_non_gc_bytes() == bytes);
}

/* Moves it to the function's memory. */
static void moved(const char *what, char *p, size_t size, size_t n)
{
    memset(p, 0x5a, size);
    memset(spare, 0, sizeof spare);
    const char *q = GC_realloc(p, n);
    say(what, is_spare(what, q) && q[0] == 0x5a && q[size - 1] == 0x5a && q[size] == 0);
}

/* No room is left for 1,500 bytes of any kind. */
static void exhausted(void)
{
    char *small = GC_malloc(1400), *large = GC_malloc_atomic(100000),
         *own = GC_generic_malloc(1400, own_kind);
    void **all = NULL;
    failed = 0;
    for (void **p; p = GC_malloc(1500), !failed; all = p) *p = all;
    for (void **p; p = GC_generic_malloc(1500, own_kind), failed < 2; all = p) *p = all;
    while (failed < 3) (void)GC_malloc_uncollectable(1500);
    failed = 0;
    uncollectable();
    say("each was asked for", failed);
    moved("of a kind", own, 1400, 3000);
    moved("small", small, 1400, 3000);
    moved("large", large, 100000, 200000);
    GC_reachable_here(all);
}

void test_oom(void)
{
    static void *kept[4096];
    GC_set_max_heap_size(64 << 20);
    GC_INIT();
    GC_set_warn_proc(GC_ignore_warn_proc);
    GC_set_oom_fn(out_of_memory);
    say("function", GC_get_oom_fn() == out_of_memory);
    int n = 0;
    while (n < 4096 && !failed) kept[n++] = GC_malloc(100000);
    say("fails", failed);
    say("after many", n > 300 && n < 700);
    say("and gives what the function gives", kept[n - 1] == spare);
    memset(kept, 0, sizeof kept);
    collect();
    failed = 0;
    for (int i = 0; i < 300; i++) kept[i] = GC_malloc(100000);
    say("fails again", failed);
    say("too large", GC_malloc((size_t)1 << 46) == spare);
    own_kind = (int)GC_new_kind(GC_new_free_list(), GC_DS_LENGTH, 1, 1);
    exhausted();
}
