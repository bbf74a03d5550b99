/* debug.c - objects that are checked, and what is printed for people. */
#include "api.h"
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

/* ---- objects that are checked ---- */

#define HERE "here.c", __LINE__

static void resized(void)
{
    char *p = GC_debug_malloc(100, HERE);
    memset(p, 1, 100);
    p = GC_debug_realloc(p, 1000, HERE);
    say("resized", p[99] == 1);
    GC_debug_free(p);
    p = GC_debug_malloc_replacement(10);
    memset(p, 1, 10);
    p = GC_debug_realloc_replacement(p, 100);
    say("replacements", p[9] == 1);
    GC_debug_free(p);
    say("string", strcmp(GC_debug_strdup("abc", HERE), "abc") == 0);
    say("string of two", strcmp(GC_debug_strndup("abc", 2, HERE), "ab") == 0);
}

/* Programs may read and write whole words of it. */
static void last_words(void)
{
    for (size_t n = 1; n < 100; n++) {
        const char *p = GC_debug_malloc(n, HERE);
        for (size_t i = 0; i < (n + 7) / 8 * 8; i++)
            if (p[i]) say("not zero to the end of its last word", (long)n);
    }
}

static void freed(void)
{
    char *q = GC_debug_malloc_uncollectable(100, HERE);
    memset(q, 2, 100);
    collect();
    say("kept", q[99] == 2);
    GC_debug_free(q);
    GC_debug_free(GC_debug_malloc_atomic(50, HERE));
    GC_debug_free(GC_debug_malloc_atomic_uncollectable(50, HERE));
    GC_debug_free(NULL);
}

static long kind_of(const void *p)
{
    return GC_get_kind_and_size(GC_base((void *)p), NULL);
}

static void kinds(void)
{
    say("normal", kind_of(GC_debug_malloc(40, HERE)));
    say("atomic", kind_of(GC_debug_malloc_atomic(40, HERE)));
    say("stubborn", kind_of(GC_debug_malloc_stubborn(40, HERE)));
    say("off page", kind_of(GC_debug_malloc_ignore_off_page(40000, HERE)));
    say("atomic off page", kind_of(GC_debug_malloc_atomic_ignore_off_page(40000, HERE)));
    for (int kind = 0; kind < 2; kind++)
        say("by its kind", kind_of(GC_debug_generic_or_special_malloc(40, kind, HERE)));
}

/* Checked stores, and calls that other collectors need. */
static void stores(void)
{
    void **p = GC_debug_malloc(40, HERE), *q = GC_debug_malloc(40, HERE);
    GC_debug_ptr_store_and_dirty(p, q);
    say("stored", p[0] == q);
    GC_ptr_store_and_dirty(p, p);
    say("stored again", p[0] == p);
    GC_debug_change_stubborn(p);
    GC_debug_end_stubborn_change(p);
    GC_change_stubborn(p);
    GC_end_stubborn_change(p);
    GC_debug_register_displacement(8);
}

/* ---- their finalizers ---- */

static long ran;

static void count(void *obj, void *cd)
{
    ran += ((long *)obj)[1] == 7 && cd == &ran;
}

typedef void (*register_fn)(void *, GC_finalization_proc, void *, GC_finalization_proc *, void **);

static NOINLINE void make(register_fn fn, bool to_itself)
{
    for (int i = 0; i < MANY; i++) {
        void **p = GC_debug_malloc(40, HERE);
        p[0] = to_itself ? p : NULL;
        p[1] = (void *)7;
        fn(p, count, &ran, NULL, NULL);
    }
}

static void finalized(const char *what, register_fn fn, bool to_itself)
{
    ran = 0;
    make(fn, to_itself);
    collect();
    say_of_many(what, ran);
}

static void finalizers(void)
{
    GC_finalization_proc fn = count;
    void *p = GC_debug_malloc(40, HERE), *cd = p;
    GC_debug_register_finalizer(p, count, &ran, &fn, &cd);
    say("none before", !fn && !cd);
    GC_debug_register_finalizer(p, NULL, NULL, NULL, NULL);
    finalized("ordered", GC_debug_register_finalizer, false);
    finalized("ordered to itself", GC_debug_register_finalizer, true);
    finalized("ignore self", GC_debug_register_finalizer_ignore_self, true);
    finalized("no order", GC_debug_register_finalizer_no_order, true);
    finalized("unreachable", GC_debug_register_finalizer_unreachable, false);
}

void test_debug(void)
{
    resized();
    last_words();
    freed();
    kinds();
    stores();
    finalizers();
}

/* ---- what is printed ---- */

/* Does it say anything, on standard output or on the log? */
static void printed(const char *what, void (*fn)(void))
{
    FILE *f = tmpfile();
    fflush(stdout);
    int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO);
    dup2(fileno(f), STDOUT_FILENO);
    dup2(fileno(f), STDERR_FILENO);
    fn();
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    close(out);
    close(err);
    say(what, lseek(fileno(f), 0, SEEK_END) > 0);
    fclose(f);
}

static void dump_named(void)
{
    GC_dump_named("a name");
    GC_print_free_list(1, 2); /* which may be empty */
}

/* Before anything else is called. */
void test_dumping(void)
{
    printed("a dump that starts the library", dump_named);
}

static void *dump_all(void *arg)
{
    GC_dump();
    dump_named();
    GC_dump_regions();
    GC_dump_finalization();
    return arg;
}

static void dump_locked(void)
{
    GC_call_with_alloc_lock(dump_all, NULL);
}

static void dump_stopped(void)
{
    GC_stop_world_external();
    dump_all(NULL);
    GC_start_world_external();
}

/* n: no compiler knows that it is more than there is */
static NOINLINE void write_and_free(size_t n)
{
    char *p = GC_debug_malloc(21, HERE);
    __asm__("" : "+r"(p));
    memset(p, 1, n);
    GC_debug_free(p);
}

static void free_intact(void)
{
    write_and_free(24);
}

static void free_smashed(void)
{
    write_and_free(25);
}

static void warn(void)
{
    GC_get_warn_proc()("GC Warning: a number: %lu\n", 5);
}

static void ignore(void)
{
    GC_ignore_warn_proc("GC Warning: a number: %lu\n", 5);
}

void test_dumps(void)
{
    static void *kept[10];
    for (int i = 0; i < 10; i++) kept[i] = GC_malloc(16);
    GC_free(kept[5]);
    GC_gcollect();
    printed("dump", GC_dump);
    printed("a named dump", dump_named);
    printed("regions", GC_dump_regions);
    printed("finalization", GC_dump_finalization);
    printed("with the allocation lock", dump_locked);
    printed("with the world stopped", dump_stopped);
    printed("a word that is used in part, and written to", free_intact);
    printed("and the next one", free_smashed);
    printed("a warning", warn);
    printed("a warning that is ignored", ignore);
}

/* With GC_PRINT_STATS, to another place. */
void test_log(void)
{
    FILE *f = tmpfile();
    GC_set_log_fd(fileno(f));
    GC_gcollect();
    say("logged", lseek(fileno(f), 0, SEEK_END) > 0);
}

/* ---- all objects are looked at while the heap changes; with OAKUM_DECAY_MS=0 ---- */

#define LARGE ((size_t)40000)

static atomic_bool over;

/* Objects with and without a note: many small ones, and large ones that are freed by hand. */
static void *changes(void *arg)
{
    for (int i = 0; i < 20; i++) {
        for (int k = 0; k < 200; k++) GC_debug_malloc(40 + (size_t)k, HERE);
        GC_free(GC_malloc_atomic(LARGE * (size_t)(1 + i % 3)));
        GC_debug_free(GC_debug_malloc_atomic(LARGE, HERE));
    }
    return arg;
}

/* Threads that start and end, so that their caches come and go. */
static void *starts(void *arg)
{
    pthread_t t;
    while (!over)
        if (GC_pthread_create(&t, NULL, changes, NULL) == 0) GC_pthread_join(t, NULL);
    return arg;
}

static void count_bytes(void *obj, size_t size, void *bytes)
{
    if (GC_is_heap_ptr(obj)) *(size_t *)bytes += size;
}

static void *enumerate(void *bytes)
{
    GC_enumerate_reachable_objects_inner(count_bytes, bytes);
    return bytes;
}

char *checking_keeps; /* global, so that the compiler keeps it */

void test_checking(void)
{
    pthread_t t[2];
    long whole = 0;
    checking_keeps = GC_debug_malloc(LARGE, HERE);
    alarm(100);
    GC_allow_register_threads();
    for (int i = 0; i < 2; i++) GC_pthread_create(&t[i], NULL, starts, NULL);
    for (int round = 0; round < 30; round++) {
        size_t bytes = 0;
        for (size_t n = 0; n < (size_t)64 << 20; n += LARGE) *(char *)GC_malloc_atomic(LARGE) = 1;
        GC_gcollect();
        GC_call_with_alloc_lock(enumerate, &bytes);
        whole += bytes >= LARGE;
    }
    over = true;
    for (int i = 0; i < 2; i++) GC_pthread_join(t[i], NULL);
    say("all objects looked at", whole);
}
