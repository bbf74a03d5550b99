/* regions.c - what is asked for in a region of GC_do_blocking. What only the region's frames refer
 * to need not stay: so what is looked at again is uncollectable, or referred to from elsewhere. */
#include "api.h"
#include <pthread.h>
#include <setjmp.h>

static void *cell[MANY]; /* static data, which is scanned */
static watch watched;
static long finalized;

/* ---- allocating ---- */

static void *allocates(void *arg)
{
    long *good = arg;
    char **kept = (char **)cell;
    for (int i = 0; i < MANY; i++) {
        size_t n = (size_t)(16 + i);
        kept[i] = i % 3 == 0   ? GC_malloc_uncollectable(n)
                  : i % 3 == 1 ? GC_malloc_atomic_uncollectable(n)
                               : GC_debug_malloc_uncollectable(n, "region.c", i);
        memset(kept[i], i, n);
    }
    for (int i = 0; i < 20000; i++) {
        *good += GC_malloc(40) && GC_malloc_atomic(24) && GC_memalign(256, 40);
        if (i % 100 == 0) *good += GC_malloc_atomic(100000) && GC_debug_malloc(40, "region.c", i);
    }
    for (int i = 0; i < MANY; i++) {
        *good += kept[i][0] == (char)i && kept[i][15 + i] == (char)i;
        if (i % 3 == 0) kept[i] = GC_realloc(kept[i], 5000);
        if (i % 3 == 1) *good += GC_get_kind_and_size(kept[i], NULL) == 3;
        if (i % 3 == 2) kept[i] = GC_debug_realloc(kept[i], 3000, "region.c", i);
        *good += kept[i][15 + i] == (char)i;
        if (i % 3 == 2) GC_debug_free(kept[i]);
        else GC_free(kept[i]);
    }
    memset(cell, 0, sizeof cell);
    return arg;
}

/* ---- links and finalizers ---- */

static void count(void *obj, void *by)
{
    (void)obj;
    finalized += (long)(intptr_t)by;
}

static NOINLINE void fill(void)
{
    watch_init(&watched);
    for (int i = 0; i < MANY; i++) {
        cell[i] = GC_malloc(40);
        watch_add(&watched, cell[i]);
    }
}

static void *registers(void *unused)
{
    static void *from, *to;
    GC_finalization_proc old = NULL;
    void *by = NULL;
    fill();
    for (int i = 0; i < MANY; i++)
        GC_register_finalizer_no_order(cell[i], count, (void *)1, NULL, NULL);
    GC_register_finalizer(cell[0], count, (void *)1, &old, &by);
    say("the old one", old == count && by == (void *)1);
    from = (void *)GC_HIDE_POINTER(cell[1]);
    say("link", GC_general_register_disappearing_link(&from, cell[1]));
    say("moved", GC_move_disappearing_link(&from, &to));
    say("taken off", GC_unregister_disappearing_link(&to));
    say("not there", GC_unregister_disappearing_link(&from));
    say("long link", GC_register_long_link(&from, cell[1]));
    say("moved long link", GC_move_long_link(&from, &to));
    say("long link taken off", GC_unregister_long_link(&to));
    return unused;
}

static void *collects(void *unused)
{
    collect();
    say_of_many("kept by static data", watch_alive(&watched));
    say("finalized too early", finalized);
    memset(cell, 0, sizeof cell);
    collect();
    say_of_many("alive after that", watch_alive(&watched));
    say_of_many("finalized", finalized);
    GC_gcollect_and_unmap();
    say("invoked", GC_invoke_finalizers());
    say("grows", GC_expand_hp(1 << 20));
    return unused;
}

/* ---- roots and the lock ---- */

static void *locked(void *arg)
{
    return arg;
}

static void *holds(void *unused)
{
    say("under the lock", GC_call_with_alloc_lock(locked, cell) == cell);
    GC_alloc_lock();
    GC_alloc_unlock();
    GC_stop_world_external();
    GC_start_world_external();
    say("a root for good", GC_is_tmp_root(unused));
    say("one for now", GC_is_tmp_root(cell));
    return unused;
}

static void *roots(void *unused)
{
    void **area = malloc(MANY * sizeof(void *));
    GC_add_roots(area, area + MANY);
    fill();
    memcpy(area, cell, sizeof cell);
    memset(cell, 0, sizeof cell);
    collect();
    say_of_many("kept by roots", watch_alive(&watched));
    GC_remove_roots(area, area + MANY);
    collect();
    say_of_many("alive without", watch_alive(&watched));
    free(area);
    return unused;
}

/* By static data that points so far into them. */
static void inside(size_t offset, const char *what)
{
    fill();
    for (int i = 0; i < MANY; i++) cell[i] = (char *)cell[i] + offset;
    collect();
    say_of_many(what, watch_alive(&watched));
    memset(cell, 0, sizeof cell);
}

static void *displaces(void *unused)
{
    GC_register_displacement(24);
    inside(24, "kept by a displacement");
    inside(32, "kept by another");
    GC_set_all_interior_pointers(1);
    return unused;
}

/* As libgc demands, the setting is of before the start. */
void test_displaced(void)
{
    GC_set_all_interior_pointers(0);
    GC_INIT();
    GC_do_blocking(displaces, NULL);
    say("interior pointers", GC_get_all_interior_pointers());
}

/* ---- finalizers that don't return ---- */

static jmp_buf back;

static void jump(void *obj, void *unused)
{
    (void)obj, (void)unused;
    if (finalized++ == 0) longjmp(back, 1);
}

/* By how it is asked for: that a finalizer be run. */
static void ask(int how)
{
    GC_set_finalize_on_demand(how == 1);
    if (how != 2) collect();
    if (how == 1) GC_invoke_finalizers();
    for (int i = 0; how == 2 && i < 1000000 && finalized == 0; i++) GC_malloc(100);
}

static void *jumps(void *how)
{
    long good = 0;
    finalized = 0;
    fill();
    for (int i = 0; i < MANY; i++) GC_register_finalizer_no_order(cell[i], jump, NULL, NULL, NULL);
    memset(cell, 0, sizeof cell);
    if (setjmp(back) == 0) {
        ask((int)(intptr_t)how);
        say("did not jump", 1);
    } else {
        say("back in the region", finalized);
    }
    allocates(&good);
    say("allocated after that", good);
    GC_set_finalize_on_demand(0);
    collect();
    return how;
}

/* Left by longjmp for a frame in another region, or outside of all for a while. */

static void *leaves(void *unused)
{
    longjmp(back, 1);
    return unused;
}

static void *left_inside(void *unused)
{
    if (setjmp(back) == 0) GC_do_blocking(leaves, unused);
    return unused;
}

static void *left_active(void *unused)
{
    return GC_call_with_gc_active(left_inside, unused);
}

static void *collects_once(void *unused)
{
    GC_gcollect();
    return unused;
}

/* In no region any more, its frames are looked at, in another thread's collections, too. */
static NOINLINE void looked_at(const char *what)
{
    void *mine[MANY];
    pthread_t thread;
    fill();
    memcpy(mine, cell, sizeof cell);
    memset(cell, 0, sizeof cell);
    __asm__ __volatile__("" : : "r"(mine) : "memory");
    GC_pthread_create(&thread, NULL, collects_once, NULL);
    GC_pthread_join(thread, NULL);
    say_of_many(what, watch_alive(&watched));
    __asm__ __volatile__("" : : "r"(mine) : "memory");
}

static void *jumps_below(void *how)
{
    GC_do_blocking(jumps, how);
    return how;
}

/* ---- threads ---- */

static void *returns(void *unused)
{
    long *n = GC_malloc(sizeof *n);
    (void)unused;
    *n = 77;
    collect();
    return n;
}

static NOINLINE void take_away(void **mine)
{
    fill();
    memcpy(mine, cell, sizeof cell);
    memset(cell, 0, sizeof cell);
}

/* The frame is the region's, and back in it after each of these calls: another thread's collection
 * keeps nothing for it. */
static void *creates(void *unused)
{
    void *mine[MANY], *result = NULL;
    pthread_t thread;
    take_away(mine);
    __asm__ __volatile__("" : : "r"(mine) : "memory");
    say("created", GC_pthread_create(&thread, NULL, returns, NULL));
    say("joined", GC_pthread_join(thread, &result));
    say("with its result", *(long *)result);
    say_of_many("kept by the region's frame", watch_alive(&watched));
    __asm__ __volatile__("" : : "r"(mine) : "memory");
    return unused;
}

/* ---- all ---- */

static NOINLINE void *chain(long n)
{
    void **head = NULL;
    for (long i = 0; i < n; i++) {
        void **p = GC_malloc(24);
        p[0] = head;
        head = p;
    }
    return head;
}

static long length(void **head)
{
    long n = 0;
    for (; head; head = head[0]) n++;
    return n;
}

void test_regions(void)
{
    static void *(*const parts[])(void *) = { registers, collects, holds, roots, creates };
    long good = 0;
    void *whole = chain(10000); /* by the frame that the region lies below */
    GC_do_blocking(allocates, &good);
    say("allocated", good);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) GC_do_blocking(parts[i], NULL);
    for (intptr_t how = 0; how < 3; how++) {
        say("jumped", GC_do_blocking(jumps, (void *)how) == (void *)how);
        say("from one in another", GC_do_blocking(jumps_below, (void *)how) == (void *)how);
    }
    looked_at("kept behind jumps");
    GC_do_blocking(left_inside, NULL);
    looked_at("kept behind a region left for another");
    GC_do_blocking(left_active, NULL);
    looked_at("kept behind a region left for a part that is in none");
    say("whole behind it", length(whole));
}
