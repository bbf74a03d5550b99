/* roots.c - static roots, roots that the program pushes, displacements. */
#include "api.h"
#include <dlfcn.h>
#include <sys/mman.h>

static NOINLINE void fill(watch *w, void **where, size_t displaced)
{
    for (int i = 0; i < MANY; i++) {
        char *p = GC_malloc(40);
        where[i] = p + displaced;
        watch_add(w, p);
    }
}

static void **map_words(void)
{
    void *p = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p;
}

static void **pushed;
static void (*others)(void);

static void push_all(void)
{
    GC_push_all(pushed, pushed + MANY);
    if (others) others();
}

static void push_eagerly(void)
{
    GC_push_all_eager(pushed, pushed + MANY);
    if (others) others();
}

static void push_if_dirty(void)
{
    GC_push_conditional(pushed, pushed + MANY, 1);
    if (others) others();
}

static void with_hook(const char *what, void (*hook)(void), size_t displaced)
{
    watch w;
    watch_init(&w);
    others = GC_get_push_other_roots();
    GC_set_push_other_roots(hook);
    fill(&w, pushed, displaced);
    collect();
    say_of_many(what, watch_alive(&w));
    GC_set_push_other_roots(others);
    collect();
    say_of_many("and without", watch_alive(&w));
}

/* ---- mark bits ---- */

static void **hidden; /* of objects that nothing leads to, each of which leads to another */
static long unmarked_before, marked_after;

static void set_mark_bits(void)
{
    unmarked_before = marked_after = 0;
    for (int i = 0; i < MANY; i++) {
        void *p = GC_REVEAL_POINTER(hidden[i]);
        unmarked_before += !GC_is_marked(p);
        GC_set_mark_bit(p);
        marked_after += GC_is_marked(p);
    }
    GC_push_finalizer_structures();
    if (others) others();
}

static NOINLINE void make_hidden(watch *first, watch *second)
{
    for (int i = 0; i < MANY; i++) {
        void **p = GC_malloc(40);
        *p = GC_malloc(40);
        watch_add(first, p);
        watch_add(second, *p);
        hidden[i] = (void *)GC_HIDE_POINTER(p);
    }
}

static void *is_marked(void *p)
{
    return (void *)(intptr_t)GC_is_marked(p);
}

/* The hook is the variable's here, as ecl has it. */
static void mark_bits(void)
{
    watch first, second;
    watch_init(&first);
    watch_init(&second);
    hidden = GC_malloc_atomic_uncollectable(MANY * sizeof *hidden);
    make_hidden(&first, &second);
    others = GC_push_other_roots;
    GC_push_other_roots = set_mark_bits;
    collect();
    GC_push_other_roots = others;
    say_of_many("not marked before", unmarked_before);
    say("marked after", marked_after);
    say_of_many("with a mark bit", watch_alive(&first));
    say_of_many("and what it leads to", watch_alive(&second));
    collect();
    say_of_many("with none", watch_alive(&first));
    void *p = GC_malloc(40);
    collect();
    say("marked outside", GC_call_with_alloc_lock(is_marked, p) != NULL);
    GC_reachable_here(p);
}

/* ---- data of loaded objects ---- */

static void *asked_under_lock(void *p)
{
    return (void *)(intptr_t)GC_is_tmp_root(p);
}

static void temporary(void **added)
{
    static void *word;
    int local = 0;
    say("the program's data is temporary", GC_is_tmp_root(&word));
    say("the C library's", GC_is_tmp_root(stdout));
    say("asked under the lock", GC_call_with_alloc_lock(asked_under_lock, stdout) != NULL);
    say("a stack", GC_is_tmp_root(&local));
    say("an object", GC_is_tmp_root(GC_malloc(10)));
    say("added roots", GC_is_tmp_root(added));
    GC_set_no_dls(1);
    GC_gcollect();
    say("the C library's when it is not scanned", GC_is_tmp_root(stdout));
    GC_set_no_dls(0);
    GC_gcollect();
    say("and when it is again", GC_is_tmp_root(stdout));
}

static void *statics[MANY], *excluded[MANY];

/* Added twice, removed once. */
static void in_added_roots(void **words, const char *added, const char *removed)
{
    watch w;
    watch_init(&w);
    GC_add_roots(words, words + MANY);
    GC_add_roots(words, words + MANY);
    fill(&w, words, 0);
    collect();
    say_of_many(added, watch_alive(&w));
    GC_remove_roots(words, words + MANY);
    collect();
    say_of_many(removed, watch_alive(&w));
}

/* An object that isn't scanned. */
static void **unscanned_words(void)
{
    void **words = GC_malloc_atomic_uncollectable(MANY * sizeof *words);
    return memset(words, 0, MANY * sizeof *words);
}

void test_roots(void)
{
    void **words = map_words();
    watch w, s, e;
    watch_init(&w);
    watch_init(&s);
    fill(&s, statics, 0);
    fill(&w, words, 0);
    collect();
    say_of_many("in static data", watch_alive(&s));
    say_of_many("in mapped memory", watch_alive(&w));
    in_added_roots(words, "in added roots", "in removed roots");
    in_added_roots(unscanned_words(), "in added roots in the heap", "in removed ones");
    pushed = map_words();
    say("there is a hook", GC_get_push_other_roots() != NULL);
    with_hook("pushed", push_all, 0);
    with_hook("pushed eagerly", push_eagerly, 8);
    with_hook("pushed if dirty", push_if_dirty, 0);
    mark_bits();
    watch_init(&e);
    GC_exclude_static_roots(excluded, excluded + MANY);
    fill(&e, excluded, 0);
    collect();
    say_of_many("in excluded data", watch_alive(&e));
    say("loaded", GC_dlopen("libm.so.6", RTLD_NOW) != NULL);
    memset(statics, 0, sizeof statics);
    GC_add_roots(words, words + MANY);
    temporary(words);
    GC_remove_roots(words, words + MANY);
}

static long refused;

static void not_valid(void *p)
{
    refused += p != NULL;
}

static NOINLINE void fill_multiples(watch *w)
{
    void **words = GC_malloc_uncollectable(MANY * sizeof *words);
    for (int i = 0; i < MANY; i++) {
        words[i] = GC_memalign(24, 100);
        watch_add(w, GC_base(words[i]));
    }
}

/* Without interior pointers, but for displacement 1. */
void test_strict(void)
{
    static void *at[3][MANY];
    watch w[3], e;
    GC_set_all_interior_pointers(0);
    GC_INIT();
    say("interior pointers", GC_get_all_interior_pointers());
    GC_register_displacement(1);
    say("size of 16", (long)GC_size(GC_malloc(16)));
    say("size of 0", (long)GC_size(GC_malloc(0)));
    say("size of 17", (long)GC_size(GC_malloc(17)));
    void *list;
    GC_generic_malloc_many(32, 1, &list);
    say("size of 32 in a list", (long)GC_size(list));
    for (size_t d = 0; d < 3; d++) {
        watch_init(&w[d]);
        fill(&w[d], at[d], d);
    }
    collect();
    say_of_many("displacement 0", watch_alive(&w[0]));
    say_of_many("displacement 1", watch_alive(&w[1]));
    say_of_many("displacement 2", watch_alive(&w[2]));
    pushed = map_words();
    with_hook("pushed eagerly, displaced", push_eagerly, 8);
    watch_init(&e);
    with_hook("pushed, displaced", push_all, 8);
    GC_is_valid_displacement_print_proc = not_valid;
    char *p = GC_malloc(40);
    GC_is_valid_displacement(p + 1);
    say("a displacement that is registered", refused);
    GC_is_valid_displacement(p + 2);
    say("one that is not", refused);
    GC_clear_roots();
    collect();
    say_of_many("no roots", watch_alive(&w[0]));
    watch_init(&e);
    fill_multiples(&e);
    collect();
    say_of_many("at multiples of 24", watch_alive(&e));
}
