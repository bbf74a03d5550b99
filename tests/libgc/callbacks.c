/* callbacks.c - what the program is told of: the heap's size. */
#include "api.h"

/* ---- the heap's size ---- */

static long resizes;
static GC_word last_size;

static void resized(GC_word size)
{
    resizes++;
    last_size = size;
}

static NOINLINE void grow(void)
{
    static void *kept[64];
    GC_disable();
    for (int i = 0; i < 64; i++) kept[i] = GC_malloc_atomic(1 << 20);
    GC_enable();
    memset(kept, 0, sizeof kept);
}

/* By GC_expand_hp, and by allocations that no collection comes between. */
static void heap_size(void)
{
    GC_set_on_heap_resize(resized);
    GC_gcollect();
    resizes = 0;
    GC_expand_hp(64 << 20);
    say("told of an expansion", resizes > 0);
    say("and the size", last_size == GC_get_heap_size());
    GC_set_on_heap_resize(NULL);
    GC_on_heap_resize = resized;
    resizes = 0;
    last_size = GC_get_heap_size();
    GC_word before = last_size;
    grow();
    grow();
    say("told of growth", resizes > 0);
    say("a larger size", last_size > before);
    GC_on_heap_resize = NULL;
    resizes = 0;
    GC_expand_hp(1 << 20);
    say("told no more", resizes);
}

void test_callbacks(void)
{
    heap_size();
}
