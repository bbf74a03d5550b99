/* whole.c - what few programs use: suspended threads, filters of libraries, objects whose
 * finalizers are queued, marks that are taken away, and variables of libgc's insides. */
#include "api.h"
#include <atomic_ops.h>
#include <pthread.h>
#include <unistd.h>

/* Exported, and declared by no public header. */
extern void (*GC_on_abort)(const char *);
extern void **const GC_objfreelist_ptr, **const GC_aobjfreelist_ptr, **const GC_uobjfreelist_ptr,
    **const GC_auobjfreelist_ptr;
extern GC_word GC_arrays[];
void GC_incr_bytes_allocd(size_t n);
void GC_incr_bytes_freed(size_t n);
void GC_printf(const char *format, ...);
void GC_err_printf(const char *format, ...);
void GC_log_printf(const char *format, ...);

/* ---- the insides ---- */

static void on_abort(const char *message)
{
    (void)message;
}

static void insides(void)
{
    fflush(stdout);
    GC_printf("printed: %d %s %.3g %5ld|\n", 12, "words", 0.5, 7L);
    GC_err_printf("printed: %d\n", 13);
    GC_log_printf("printed: %x\n", 14);
    GC_set_abort_func(on_abort);
    say("the abort function is a variable", GC_on_abort == on_abort);
    say("lists", GC_objfreelist_ptr != GC_aobjfreelist_ptr &&
                     GC_uobjfreelist_ptr != GC_auobjfreelist_ptr && GC_objfreelist_ptr != NULL);
    void *some = GC_malloc(100000);
    GC_gcollect();
    GC_reachable_here(some);
    say("the heap has a size", GC_arrays[0] >= 100000);
    size_t freed = GC_get_expl_freed_bytes_since_gc(), bytes = GC_get_bytes_since_gc();
    GC_incr_bytes_freed(4096);
    GC_incr_bytes_allocd(1 << 20);
    say("freed, too", GC_get_expl_freed_bytes_since_gc() - freed);
    say("allocated, too", GC_get_bytes_since_gc() - bytes >= 1 << 20);
}

/* ---- finalizers that are queued ---- */

static long queued, finalized, out_of_order;

static void on_queued(void *obj)
{
    queued++;
    if (*(int *)obj != 1) out_of_order++;
    *(int *)obj = 2;
}

static void finalize(void *obj, void *cd)
{
    (void)cd;
    finalized++;
    if (*(int *)obj != 2) out_of_order++;
}

static NOINLINE void make_finalizable(void)
{
    for (int i = 0; i < MANY; i++) {
        int *p = GC_malloc_atomic(32);
        *p = 1;
        GC_register_finalizer_no_order(p, finalize, NULL, NULL, NULL);
    }
}

static void awaited(void)
{
    say("none is awaited", GC_get_await_finalize_proc() == NULL);
    GC_set_await_finalize_proc(on_queued);
    make_finalizable();
    collect();
    say("one is", GC_get_await_finalize_proc() == on_queued);
    say_of_many("queued", queued);
    say_of_many("finalized", finalized);
    say("not in that order", out_of_order);
    GC_set_await_finalize_proc(NULL);
    make_finalizable();
    collect();
    say_of_many("queued without it", queued - MANY);
}

/* ---- static roots ---- */

static void *kept[MANY];
static watch seen;

static NOINLINE void fill(void)
{
    watch_init(&seen);
    for (int i = 0; i < MANY; i++) watch_add(&seen, kept[i] = GC_malloc(32));
}

static void alive(const char *what)
{
    collect();
    say_of_many(what, watch_alive(&seen));
}

static void excluded(void)
{
    fill();
    GC_exclude_static_roots(kept, kept + MANY);
    alive("excluded");
    memset(kept, 0, sizeof kept);
    GC_clear_exclusion_table();
    fill();
    alive("no longer excluded");
}

static long asked;

/* The section's words say which is the program's. */
static int all_but_ours(const char *name, void *lo, size_t bytes)
{
    (void)name;
    asked++;
    return !((char *)kept >= (char *)lo && (char *)kept < (char *)lo + bytes);
}

static int all(const char *name, void *lo, size_t bytes)
{
    return name && lo && bytes > 0;
}

static void filtered(void)
{
    fill();
    GC_register_has_static_roots_callback(all);
    alive("with a filter that takes all");
    GC_register_has_static_roots_callback(all_but_ours);
    alive("with one that takes all but these");
    say("it was asked", asked > 0);
    memset(kept, 0, sizeof kept);
    GC_register_has_static_roots_callback(NULL);
    fill();
    alive("without one");
    memset(kept, 0, sizeof kept);
}

/* ---- marks ---- */

static GC_hidden_pointer *hidden; /* objects that the hook marks, every second for good */
static GC_push_other_roots_proc others;

static void mark_hidden(void)
{
    for (int i = 0; i < MANY; i++) {
        void *obj = GC_REVEAL_POINTER(hidden[i]);
        if (!hidden[i]) continue;
        GC_set_mark_bit(obj);
        if (i % 2) GC_clear_mark_bit(obj);
    }
    others();
}

static NOINLINE void hide(watch *even, watch *odd)
{
    GC_disable(); /* none but the one with the hook */
    hidden = GC_malloc_atomic_uncollectable(MANY * sizeof *hidden);
    for (int i = 0; i < MANY; i++) {
        void *p = GC_malloc_atomic(32);
        hidden[i] = GC_HIDE_POINTER(p);
        watch_add(i % 2 ? odd : even, p);
    }
    GC_enable();
}

/* In the first collection only: the hook may not look at those that are gone. */
static void marks(void)
{
    watch even, odd;
    watch_init(&even);
    watch_init(&odd);
    hide(&even, &odd);
    others = GC_get_push_other_roots();
    GC_set_push_other_roots(mark_hidden);
    GC_gcollect();
    GC_set_push_other_roots(others);
    say_of_many("marked", 2 * watch_alive(&even));
    say_of_many("marked, and the mark taken away", 2 * watch_alive(&odd));
}

/* ---- suspended threads ---- */

static AO_t steps, stop, entered;

static NOINLINE void **chain(int n)
{
    void **head = NULL;
    for (int i = 0; i < n; i++) {
        void **p = GC_malloc(48);
        *p = head;
        head = p;
    }
    return head;
}

static NOINLINE long length(void **head)
{
    long n = 0;
    for (; head; head = *head) n++;
    return n;
}

static void *works(void *arg)
{
    void **mine = chain(1000);
    while (!AO_load(&stop)) {
        AO_fetch_and_add1(&steps);
        if (length(chain(10)) != 10) abort();
    }
    (void)arg;
    return (void *)(uintptr_t)length(mine);
}

static void await_step(void)
{
    AO_t before = AO_load(&steps);
    while (AO_load(&steps) < before + 10) usleep(100);
}

static void *suspends_itself(void *arg)
{
    void **mine = chain(1000);
    (void)arg;
    AO_store(&entered, 1);
    GC_suspend_thread(pthread_self());
    return (void *)(uintptr_t)length(mine);
}

static void suspended(void)
{
    pthread_t t;
    void *result;
    GC_pthread_create(&t, NULL, works, NULL);
    await_step();
    say("suspended at first", GC_is_thread_suspended(t));
    for (int i = 0; i < 20; i++) {
        GC_suspend_thread(t);
        if (i % 5 == 0) GC_suspend_thread(t); /* not counted */
        AO_t before = AO_load(&steps);
        if (!GC_is_thread_suspended(t)) say("it is not suspended in round", i);
        GC_gcollect();
        if (length(chain(100)) != 100) abort();
        usleep(1000);
        if (AO_load(&steps) != before) say("it goes on in round", i);
        GC_resume_thread(t);
        if (GC_is_thread_suspended(t)) say("it is still suspended in round", i);
        await_step();
    }
    AO_store(&stop, 1);
    GC_pthread_join(t, &result);
    say("what it had on its stack", (long)(uintptr_t)result);
    GC_pthread_create(&t, NULL, suspends_itself, NULL);
    while (!AO_load(&entered) || !GC_is_thread_suspended(t)) usleep(100);
    collect();
    GC_resume_thread(t);
    GC_pthread_join(t, &result);
    say("and by itself", (long)(uintptr_t)result);
}

void test_whole(void)
{
    insides();
    awaited();
    marks();
    suspended();
    filtered();
}

/* libgc scans its own data from then on, and crashes. */
void test_exclusions(void)
{
    excluded();
}
