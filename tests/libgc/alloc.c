/* alloc.c - allocating, resizing, freeing, asking. */
#include "api.h"

static bool is_zero(const void *p, size_t n)
{
    const char *c = p;
    for (size_t i = 0; i < n; i++)
        if (c[i]) return false;
    return true;
}

static void sizes(void)
{
    static const size_t want[] = { 0, 1, 15, 16, 17, 24, 31, 32, 48, 63, 64, 100, 127, 128, 200 };
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++)
        printf("size of %zu: %zu, atomic %zu\n", want[i], GC_size(GC_malloc(want[i])),
               GC_size(GC_malloc_atomic(want[i])));
    long good = 0;
    for (size_t n = 200; n < 200000; n += n / 3) {
        char *p = GC_malloc(n);
        good += GC_size(p) > n && is_zero(p, n) && (uintptr_t)p % 16 == 0;
        memset(p, 0xff, n);
    }
    say("sizes above 200", good);
    say("size map of 16", (long)GC_get_size_map_at(16));
}

static long told;

static void tell_one(void *p)
{
    told += p != NULL;
}

static void tell_two(void *p, void *q)
{
    told += p != q;
}

void GC_noop1(GC_word); /* gc.h has it where there is no asm */

/* Calls that do nothing that could be seen. */
static void nothing(void)
{
    static char stack[1 << 16];
    char *p = GC_malloc(10);
    GC_noop1((GC_word)p);
    say("a clear stack", GC_clear_stack(p) == p);
    GC_register_altstack(stack, sizeof stack / 2, stack + sizeof stack / 2, sizeof stack / 2);
}

static void ask(void)
{
    char *p = GC_malloc(100), *big = GC_malloc(100000);
    int local = 0;
    size_t size = 0;
    say("base of the start", GC_base(p) == p);
    say("base of the inside", GC_base(p + 99) == p);
    say("base of a large one's inside", GC_base(big + 70000) == big);
    say("base of the stack", GC_base(&local) == NULL);
    say("heap pointer", GC_is_heap_ptr(p) != 0);
    say("heap pointer on the stack", GC_is_heap_ptr(&local));
    say("kind of normal", GC_get_kind_and_size(p, &size));
    say("its size", (long)size);
    say("kind of atomic", GC_get_kind_and_size(GC_malloc_atomic(100), NULL));
    say("kind of uncollectable", GC_get_kind_and_size(GC_malloc_uncollectable(100), NULL));
    say("kind of atomic uncollectable",
        GC_get_kind_and_size(GC_malloc_atomic_uncollectable(100), NULL));
    say("same object", GC_same_obj(p + 50, p) == p + 50);
    void *q = p;
    say("pre-increment", GC_pre_incr(&q, 8) == p + 8);
    say("post-increment", GC_post_incr(&q, 8) == p + 8 && q == p + 16);
    GC_is_visible_print_proc = tell_one;
    say("visible", GC_is_visible(&q) == &q && told == 0);
    GC_same_obj_print_proc = tell_two;
    GC_same_obj(p + 8, p);
    say("told of one object", told);
    GC_same_obj(big, p);
    say("told of two", told);
    say("valid displacement", GC_is_valid_displacement(p + 8) == p + 8);
}

static void resize(void)
{
    char *p = NULL;
    long good = 0;
    p = GC_realloc(p, 10);
    memcpy(p, "something", 10);
    for (size_t n = 20; n < 300000; n = n * 3 / 2) {
        p = GC_realloc(p, n);
        good += strcmp(p, "something") == 0 && is_zero(p + 10, n - 10);
    }
    say("grown", good);
    p = GC_realloc(p, 12);
    say("shrunk", strcmp(p, "something") == 0 && GC_size(p) < 100);
    p = GC_malloc_atomic(20);
    say("atomic stays atomic", GC_get_kind_and_size(GC_realloc(p, 5000), NULL));
    p = GC_malloc_uncollectable(20);
    say("uncollectable stays so", GC_get_kind_and_size(GC_realloc(p, 5000), NULL));
    p = memset(GC_malloc_uncollectable(500), 1, 500);
    p = GC_realloc(GC_realloc(p, 400), 500);
    say("zero where it grew again", is_zero(p + 400, 100));
    say("resized to nothing", GC_realloc(GC_malloc(10), 0) == NULL);
    GC_free(NULL);
    GC_free(GC_malloc(10));
    GC_free(GC_malloc(100000));
    GC_free(GC_malloc_atomic_uncollectable(100000));
}

static void *kind_of(void *p)
{
    return (void *)(intptr_t)GC_get_kind_and_size(p, NULL);
}

static long kind_under_lock(void *p)
{
    return (long)(intptr_t)GC_call_with_alloc_lock(kind_of, p);
}

/* Whatever the program says of bytes that it doesn't want counted. */
static void kinds(void)
{
    void *p = GC_malloc_atomic_uncollectable(100);
    GC_word bytes = GC_get_non_gc_bytes();
    say("kind of atomic, under the lock", kind_under_lock(GC_malloc_atomic(100)));
    GC_set_non_gc_bytes(0);
    say("kind of uncollectable, under the lock", kind_under_lock(p));
    say("kind of it elsewhere, larger", GC_get_kind_and_size(GC_realloc(p, 4000), NULL));
    GC_set_non_gc_bytes(bytes);
}

static void strings(void)
{
    void *p = NULL;
    long odd = 0;
    say("strdup", strcmp(GC_strdup("a string"), "a string") == 0);
    say("strndup", strcmp(GC_strndup("a string", 3), "a s") == 0);
    say("memalign 256", (uintptr_t)GC_memalign(256, 100) % 256 == 0);
    say("memalign 4096", (uintptr_t)GC_memalign(4096, 10000) % 4096 == 0);
    say("posix_memalign", GC_posix_memalign(&p, 64, 100) == 0 && (uintptr_t)p % 64 == 0);
    for (size_t n = 1; n < 200; n++) {
        uintptr_t at = (uintptr_t)GC_memalign(24, n);
        odd += at == 0 || at % 24 != 0;
    }
    say("memalign 24, and no multiple", odd);
    say("memalign 24 of much", GC_memalign(24, 100000) != NULL);
    say("memalign 0", GC_memalign(0, 100) != NULL);
    say("posix_memalign of 24", GC_posix_memalign(&p, 24, 100) != 0);
    say("ignore_off_page", GC_malloc_ignore_off_page(300000) != NULL);
    say("atomic ignore_off_page", GC_malloc_atomic_ignore_off_page(300000) != NULL);
}

#define ENOUGH 200
#define HAD 10000

typedef struct object {
    void *next;
    long number;
} object;

static object *had[HAD]; /* of lists: not to be handed out again */

static void *list_of_64(int kind)
{
    static void *list;
    GC_generic_malloc_many(64, kind, &list);
    return list;
}

static void *list_of_40(int kind)
{
    (void)kind;
    return GC_malloc_many(40);
}

/* How long a list is depends on what is free; one that is empty would be no memory. No collection
 * comes before all of it is held: where it isn't scanned, only its head would live. */
static void check_lists(const char *what, void *(*new_list)(int kind), int kind)
{
    long n = 0, asked = 0, empty = 0, good = 0, apart = 0;
    size_t size = 0;
    for (; n < ENOUGH && asked < ENOUGH; asked++) {
        GC_disable();
        object *p = new_list(kind);
        empty += p == NULL;
        if (p && !size) size = GC_size(p);
        for (; p && n < HAD; p = p->next) {
            good += GC_base(p) == p && GC_size(p) == size &&
                    (kind == GC_I_PTRFREE || is_zero(&p->number, size - sizeof(void *)));
            p->number = n;
            had[n++] = p;
        }
        GC_enable();
    }
    for (long i = 0; i < n; i++) apart += had[i]->number == i;
    printf("%s of %zu: enough: %d, empty: %ld, good: %d, apart: %d\n", what, size, n >= ENOUGH,
           empty, good == n, apart == n);
}

static void lists(void)
{
    check_lists("lists of kind 0", list_of_64, GC_I_PTRFREE);
    check_lists("lists of kind 1", list_of_64, GC_I_NORMAL);
    check_lists("malloc_many", list_of_40, GC_I_NORMAL);
}

/* Inline allocation of gc_inline.h. */
static void inline_lists(void)
{
    static void *lists_of[GC_TINY_FREELISTS];
    long good = 0;
    for (int i = 0; i < 1000; i++) {
        void **p;
        GC_MALLOC_WORDS(p, 4, lists_of);
        good += p && p[0] == NULL && p[1] == NULL && GC_size(p) == 32;
        p[3] = p;
        void *pair;
        GC_CONS(pair, p, NULL, lists_of);
        good += *(void **)pair == p;
    }
    say("inline", good);
}

static NOINLINE void drop_many(watch *w, bool keep)
{
    for (int i = 0; i < MANY; i++)
        watch_add(w, keep ? GC_malloc_uncollectable(40) : GC_malloc(40));
}

static void collected(void)
{
    watch gone, kept;
    watch_init(&gone);
    watch_init(&kept);
    drop_many(&gone, false);
    drop_many(&kept, true);
    collect();
    say_of_many("dropped and there", watch_alive(&gone));
    say_of_many("uncollectable and there", watch_alive(&kept));
}

void test_alloc(void)
{
    sizes();
    ask();
    resize();
    kinds();
    strings();
    lists();
    inline_lists();
    nothing();
    collected();
}
