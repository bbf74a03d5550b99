/* kinds.c - kinds and mark procedures, typed objects, gcj's. */
#include "api.h"

/* Word 0 is looked at, word 1 is not. */
static struct GC_ms_entry *mark_first(GC_word *addr, struct GC_ms_entry *top,
                                      struct GC_ms_entry *limit, GC_word env)
{
    if (env != 7) abort();
    return GC_MARK_AND_PUSH((void *)addr[0], top, limit, (void **)addr);
}

/* The same by the call that the macro spares when a word is no address of the heap. */
static struct GC_ms_entry *mark_by_call(GC_word *addr, struct GC_ms_entry *top,
                                        struct GC_ms_entry *limit, GC_word env)
{
    if (env != 9) abort();
    void *obj = (void *)addr[0];
    bool plausible = obj >= GC_least_plausible_heap_addr && obj <= GC_greatest_plausible_heap_addr;
    return plausible ? GC_mark_and_push(obj, top, limit, (void **)addr) : top;
}

static unsigned kind;
static void **keep[MANY];

/* Where nothing keeps them they live until they are watched. */
static NOINLINE void build(watch *first, watch *second, void **(*make)(void))
{
    GC_disable();
    for (int i = 0; i < MANY; i++) {
        keep[i] = make();
        keep[i][0] = GC_malloc(32);
        keep[i][1] = GC_malloc(32);
        watch_add(first, keep[i][0]);
        watch_add(second, keep[i][1]);
    }
    GC_enable();
}

static void run(const char *what, void **(*make)(void))
{
    watch first, second;
    watch_init(&first);
    watch_init(&second);
    build(&first, &second, make);
    collect();
    printf("%s\n", what);
    say_of_many("  from the first word", watch_alive(&first));
    say_of_many("  from the second", watch_alive(&second));
    memset(keep, 0, sizeof keep);
}

static void **make_kind(void)
{
    return GC_generic_malloc(32, (int)kind);
}

static void **make_normal(void)
{
    return GC_generic_malloc(32, 1);
}

static void **make_atomic(void)
{
    return GC_generic_malloc(32, 0);
}

static void **make_by_kind(void)
{
    static int n;
    switch (n++ % 4) {
    case 0: return GC_malloc_kind(32, 1);
    case 1: return GC_malloc_kind_global(32, 1);
    case 2: return GC_generic_malloc_ignore_off_page(32, 1);
    default: return GC_malloc_stubborn(32);
    }
}

static void **make_special(void)
{
    return GC_generic_or_special_malloc(32, 0);
}

static void *new_under_lock(void *proc)
{
    unsigned number = GC_new_proc_inner(mark_by_call);
    kind = GC_new_kind_inner(GC_new_free_list_inner(), GC_MAKE_PROC(number, 9), 0, 1);
    *(unsigned *)proc = number;
    return NULL;
}

static void **make_uncollectable(void)
{
    return GC_generic_malloc_uncollectable(32, 1);
}

void test_kinds(void)
{
    unsigned proc = GC_new_proc(mark_first);
    say("first procedure", proc);
    kind = GC_new_kind(GC_new_free_list(), GC_MAKE_PROC(proc, 7), 0, 1);
    say("first kind", kind);
    say("its objects", GC_get_kind_and_size(make_kind(), NULL) == (int)kind);
    run("a mark procedure", make_kind);
    kind = GC_new_kind(GC_new_free_list(), 8 | GC_DS_LENGTH, 0, 1);
    run("a length", make_kind);
    kind = GC_new_kind(GC_new_free_list(), GC_DS_LENGTH, 1, 1);
    run("a length and the size", make_kind);
    kind = GC_new_kind(GC_new_free_list(), (GC_word)8 - GC_size(make_kind()), 1, 1);
    run("a length of the size and less", make_kind);
    kind = GC_new_kind(GC_new_free_list(), (GC_word)1 << 63 | GC_DS_BITMAP, 0, 1);
    run("a bitmap", make_kind);
    GC_call_with_alloc_lock(new_under_lock, &proc);
    say("second procedure", proc);
    run("a mark procedure that was made under the lock", make_kind);
    run("normal", make_normal);
    run("normal by other names", make_by_kind);
    run("atomic", make_atomic);
    run("atomic by another name", make_special);
    run("uncollectable", make_uncollectable);
    void *list = NULL;
    long n = 0;
    GC_generic_malloc_many(48, (int)kind, &list);
    for (void *p = list; p; p = GC_NEXT(p)) n += GC_get_kind_and_size(p, NULL) == (int)kind;
    say("a list of the kind", n > 0);
}

/* ---- typed ---- */

static GC_descr descr;

static void **make_typed(void)
{
    return GC_malloc_explicitly_typed(32, descr);
}

static void **make_long(void)
{
    return GC_malloc_explicitly_typed(1000, descr);
}

static void **make_off_page(void)
{
    return GC_malloc_explicitly_typed_ignore_off_page(32, descr);
}

static void **make_array(void)
{
    return GC_calloc_explicitly_typed(10, 32, descr);
}

/* An element that is not the first. */
static void **make_later(void)
{
    return (void **)GC_calloc_explicitly_typed(10, 32, descr) + 7 * 4;
}

/* Of 16 bytes each: so that only the second element's second word is looked at. */
static void **make_small_array(void)
{
    void **p = GC_calloc_explicitly_typed(10, 16, descr);
    return p;
}

struct gcj_type {
    void *unused;
    GC_word descr;
};

static struct gcj_type gcj_type = { NULL, (GC_word)1 << 63 | GC_DS_BITMAP };

static struct GC_ms_entry *mark_gcj(GC_word *addr, struct GC_ms_entry *top,
                                    struct GC_ms_entry *limit, GC_word env)
{
    void **p = env ? GC_USR_PTR_FROM_BASE(addr) : (void *)addr;
    return GC_MARK_AND_PUSH(p[1], top, limit, p + 1);
}

/* The first word is the type's, so what is looked at is shifted by one. */
static void **make_gcj(void)
{
    gcj_type.descr = (GC_word)1 << 62 | GC_DS_BITMAP;
    return (void **)GC_gcj_malloc(40, &gcj_type) + 1;
}

static void **make_gcj_off_page(void)
{
    return (void **)GC_gcj_malloc_ignore_off_page(40, &gcj_type) + 1;
}

static void **make_gcj_debug(void)
{
    return (void **)GC_debug_gcj_malloc(40, &gcj_type, GC_EXTRAS) + 1;
}

void test_typed(void)
{
    GC_word bitmap[2] = { 1, 0 };
    descr = GC_make_descriptor(bitmap, 4);
    run("typed", make_typed);
    run("typed, off page", make_off_page);
    run("array of typed", make_array);
    run("its other elements", make_later);
    bitmap[0] = 2;
    descr = GC_make_descriptor(bitmap, 2);
    run("array of small typed", make_small_array);
    bitmap[0] = 1;
    bitmap[1] = 1;
    descr = GC_make_descriptor(bitmap, 70);
    run("typed by a long bitmap", make_long);
    bitmap[0] = bitmap[1] = 0;
    descr = GC_make_descriptor(bitmap, 70);
    run("typed without pointers", make_long);
    bitmap[0] = 3;
    descr = GC_make_descriptor(bitmap, 2);
    run("typed with nothing else", make_typed);
    GC_init_gcj_malloc(0, (void *)(uintptr_t)mark_gcj);
    run("gcj", make_gcj);
    run("gcj, off page", make_gcj_off_page);
    say("its kind", GC_get_kind_and_size(GC_base(make_gcj()), NULL) == GC_gcj_kind);
    say("and that of debugging", GC_gcj_debug_kind - GC_gcj_kind);
    run("gcj, debugging", make_gcj_debug);
    say("is of it", GC_get_kind_and_size(GC_base(make_gcj_debug()), NULL) == GC_gcj_debug_kind);
}
