/* reach.c - tests that there is a path to each object of a profile that lives.
 *
 * A random heap of everything that keeps objects hangs on roots of each kind, an island on each.
 * Every object was noted, and of those that outlived a collection each (some, of very many) must
 * have a path that begins at a root that is there, in a word that holds what it says, and whose
 * steps lead on. All of it happens on threads that end, or that stand still, so that no stack holds
 * what is asked about. */
#include "observe/site.h"
#include "runtime/collector.h"
#include "tests/heap.h"
#include "tests/large.h"
#include "tests/threads.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

Suite *suite_observe_reach(void);

#define NOINLINE __attribute__((noinline))
#define HIDE(p) (~(uintptr_t)(p))

enum { DEPTH = 4, MOST = 20000, TOPS = 40, STACK = 128 << 10, KINDS = OAK_ROOT_RUNTIME + 1 };

/* ---- islands ---- */

static struct {
    const oak_type *pair, *list;
    uintptr_t pool[MOST]; /* what any object may refer to, inverted: never the top of an island */
    size_t npool;
    uintptr_t top[TOPS]; /* of islands, and what is reached in one way */
    size_t ntops;
    uintptr_t sink;
} world;
TEST_LARGE(observe_reach, world)

static void *note_top(void *p)
{
    ck_assert_uint_lt(world.ntops, TOPS);
    world.top[world.ntops++] = HIDE(p);
    return p;
}

typedef struct pair {
    uint64_t number;
    void *a, *b;
} pair;

static void mark_list(oak_marker *m, void *obj, size_t size)
{
    void **p = obj;
    for (size_t i = 0; i < size / sizeof *p; i += 2) oak_mark_ptr(m, p[i]);
}

static void *grow(int depth);

/* One farther down, one of those there are, or none. */
static void *any_below(int depth)
{
    if (depth > 0 && test_below(5)) return grow(depth - 1);
    if (world.npool == 0 || test_below(2)) return NULL;
    return (char *)HIDE(world.pool[test_below(world.npool)]) + 8 * test_below(2);
}

static void *grow_map(int depth)
{
    oak_map *m = oak_map_new(&oak_map_u64_ptr, 0);
    size_t n = 1 + test_below(30);
    for (uint64_t i = 0; i < n; i++)
        *(void **)oak_map_put(m, &i) = i % 8 ? NULL : any_below(depth);
    return m;
}

static void *grow_named(int depth)
{
    oak_map *m = oak_map_new(&oak_map_cstring_ptr, 0);
    for (size_t i = 1 + test_below(9); i > 0; i--) {
        char *name = oak_alloc_noscan(16), *key = name;
        snprintf(name, 16, "n%u", (unsigned)i & 15);
        *(void **)oak_map_put(m, &key) = any_below(i < 3 ? depth : 0);
    }
    return m;
}

static void *grow_classic(int depth)
{
    oak_classic_map *m = oak_classic_new(&oak_classic_int_ptr, 0);
    size_t n = 1 + test_below(60); /* 53 begin to grow the table of 8 buckets, and it stays so */
    for (uint64_t i = 0; i < n; i++)
        *(void **)oak_classic_put(m, &i) = i % 16 ? NULL : any_below(depth);
    return m;
}

static void *grow_ephemeron(int depth)
{
    void **p = oak_alloc(48), *key = grow(depth > 0 ? depth - 1 : 0);
    p[1] = key;
    p[3] = oak_ephemeron_new(key, grow(depth > 0 ? depth - 1 : 0));
    return p;
}

static void *grow_words(int depth)
{
    size_t words = test_below(12) ? 2 + test_below(30) : 2 + test_below(8000);
    void **p = oak_alloc(words * sizeof *p);
    for (int i = 0; i < 3; i++) p[test_below(words)] = any_below(depth);
    return p;
}

static void *grow_typed(int depth)
{
    size_t n = 1 + test_below(5);
    pair *p = oak_alloc_typed(world.pair, n);
    p[test_below(n)].a = any_below(depth);
    p[test_below(n)].b = any_below(depth);
    return p;
}

static void *grow_marked(int depth)
{
    void **p = oak_alloc_typed(world.list, 1);
    for (int i = 0; i < 8; i += 2 + 2 * (int)test_below(2)) p[i] = any_below(depth);
    return p;
}

static void *grow_chain(int depth)
{
    void **top = NULL;
    for (size_t i = test_below(10) ? 5 : 200; i > 0; i--) {
        void **p = oak_alloc(32);
        p[1] = top ? (void *)top : any_below(depth);
        top = p;
    }
    return top;
}

static void *grow_leaf(int depth)
{
    (void)depth;
    return oak_alloc_noscan(16 + test_size(3000));
}

static void *grow(int depth)
{
    static void *(*const ways[])(int) = { grow_map,   grow_named,  grow_classic, grow_ephemeron,
                                          grow_words, grow_typed,  grow_marked,  grow_chain,
                                          grow_words, grow_typed,  grow_leaf };
    size_t way = test_below(depth > 0 ? OAKI_COUNT(ways) - 1 : OAKI_COUNT(ways));
    void *p = ways[way](depth);
    ck_assert_ptr_nonnull(p);
    if (depth < DEPTH && world.npool < MOST) world.pool[world.npool++] = HIDE(p);
    return p;
}

/* Between two garbage, so that a word is not the end of one and the beginning of the other. */
static void grow_into(void *arg)
{
    world.sink = HIDE(oak_alloc(64));
    void **p = oak_alloc(64);
    world.sink = HIDE(oak_alloc(64));
    p[test_below(8)] = grow(DEPTH);
    *(void **)arg = note_top(p);
}

/* ---- roots ---- */

void *reach_globals[3];
static __thread void *in_tls;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static AO_t ready;

/* A thread's stack is one that another left full of addresses. */
NOINLINE static void scrub(void)
{
    char dead[64 << 10];
    memset(dead, 0, sizeof dead);
    __asm__ __volatile__("" : : "r"(dead) : "memory");
}

/* Until the gate is open. */
static void stand_still(void)
{
    AO_fetch_and_add1(&ready);
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
}

NOINLINE static void hold_on_stack(bool blocked)
{
    void *mine[4] = { NULL };
    test_away(grow_into, &mine[2]);
    __asm__ __volatile__("" : : "r"(mine) : "memory");
    if (blocked) oak_blocking_enter();
    stand_still();
    if (blocked) oak_blocking_leave();
    __asm__ __volatile__("" : : "r"(mine) : "memory");
}

static void *with_stack_and_tls(void *arg)
{
    scrub();
    oak_thread_attach();
    test_away(grow_into, &in_tls);
    hold_on_stack(false);
    in_tls = NULL;
    return arg;
}

static void *with_blocked_stack(void *arg)
{
    scrub();
    oak_thread_attach();
    hold_on_stack(true);
    return arg;
}

static char *new_stack(void)
{
    void *p = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(p, MAP_FAILED);
    return p;
}

static void on_fiber(void)
{
    hold_on_stack(false);
    oak_fiber_switch(NULL);
}

static void *with_fiber(void *arg)
{
    ucontext_t home, there;
    scrub();
    oak_thread_attach();
    char *stack = new_stack();
    oak_fiber *f = oak_fiber_new(stack, STACK, NULL);
    getcontext(&there);
    there.uc_stack = (stack_t){ .ss_sp = stack, .ss_size = STACK };
    there.uc_link = &home;
    makecontext(&there, on_fiber, 0);
    oak_fiber_switch(f);
    swapcontext(&home, &there);
    return arg;
}

void reach_finalize(void *obj, void *ctx);
void reach_finalize(void *obj, void *ctx) { (void)obj, (void)ctx; }
void reach_clean(void *ctx);
void reach_clean(void *ctx) { (void)ctx; }

/* Roots that are in no word of the program's: a pinned object, contexts, what waits for ever as it
 * reaches itself, what a collection makes due; and the stack of a fiber that is parked. */
static void grow_others(void *arg)
{
    void **pinned = oak_alloc_pinned(64), **cycle = oak_alloc(32), **due = oak_alloc(32);
    void *context, *second, **held = oak_alloc(64), *key = oak_alloc(16);
    oak_map *m = oak_map_new(&oak_map_u64_ptr, 0);
    char *stack = new_stack();
    world.sink = HIDE(pinned); /* else the compiler leaves out what is stored in it */
    grow_into(&pinned[3]);
    grow_into(&context);
    grow_into(&second);
    grow_into(&cycle[1]);
    grow_into(&due[1]);
    cycle[0] = cycle;
    ck_assert_int_eq(oak_finalizer_set(cycle, reach_finalize, NULL), 0);
    ck_assert_int_eq(oak_finalizer_set(due, reach_finalize, NULL), 0);
    ck_assert_int_eq(oak_finalizer_set(held, reach_finalize, context), 0);
    ck_assert_int_eq(oak_cleanup_add(held, reach_clean, second), 0);
    *(void **)oak_map_put(m, &(uint64_t){ 7 }) = note_top(oak_alloc(16));
    held[2] = m;
    held[3] = key;
    held[4] = oak_ephemeron_new(key, note_top(oak_alloc(16)));
    reach_globals[1] = held;
    reach_globals[2] = oak_fiber_new(stack, STACK, NULL);
    grow_into(stack + STACK - 512);
    (void)arg;
}

static void build(pthread_t thread[3])
{
    static void *(*const holds[])(void *) = { with_stack_and_tls, with_blocked_stack, with_fiber };
    static const uint64_t bits[] = { 6 };
    world.pair = oak_type_bitmap("a pair", sizeof(pair), bits);
    world.list = oak_type_function("a list", 64, mark_list);
    void **range = calloc(16, sizeof *range);
    ck_assert_int_eq(oak_root_add(range, 16 * sizeof *range), 0);
    oak_gc_disable();
    test_away(grow_into, &range[5]);
    test_away(grow_into, &reach_globals[0]);
    test_away(grow_others, NULL);
    pthread_mutex_lock(&gate);
    for (AO_t i = 0; i < 3; i++) {
        thread[i] = test_start(holds[i], NULL);
        test_wait(&ready, i + 1);
    }
    oak_gc_enable();
}

/* ---- what lives ---- */

static uintptr_t live[MOST], without[MOST];
TEST_LARGE(observe_reach, live)
TEST_LARGE(observe_reach, without)
static size_t nlive, nwithout;

static void note_live(void *obj, size_t bytes, double weight, const oaki_site *s, void *ctx)
{
    (void)bytes;
    (void)weight;
    (void)s;
    (void)ctx;
    if (nlive < MOST) live[nlive++] = HIDE(obj);
}

static void find_live(void *arg)
{
    (void)arg;
    scrub();
    for (int i = 0; i < 2; i++) oak_collect();
    nlive = 0;
    oaki_thread *t = oaki_gc_stop_begin();
    oaki_samples_visit(note_live, NULL);
    oaki_gc_stop_end(t);
}

/* ---- paths ---- */

static size_t kinds[KINDS], ephemerons, keys, fibers;

/* Words of other stacks, too. */
OAKI_NO_ASAN static uintptr_t word_at(const void *p)
{
    return *(const uintptr_t *)p;
}

/* 0, or the line of what is wrong. */
static int check_root(const oak_path *p)
{
    const oak_root_info *r = &p->root;
    const oak_step *first = &p->steps[0];
    uintptr_t value = (uintptr_t)r->value, at = (uintptr_t)first->object;
    switch (r->kind) {
    case OAK_ROOT_GLOBAL:
    case OAK_ROOT_RANGE:
    case OAK_ROOT_TLS:
    case OAK_ROOT_STACK:
    case OAK_ROOT_FIBER:
        if (!r->address || word_at(r->address) != value) return __LINE__;
        if ((r->kind >= OAK_ROOT_TLS) != (r->thread != 0)) return __LINE__;
        return value >= at && value - at <= first->size ? 0 : __LINE__;
    case OAK_ROOT_PINNED: return strcmp(first->type, "pinned") == 0 ? 0 : __LINE__;
    case OAK_ROOT_FINALIZER:
    case OAK_ROOT_WAITING: return strstr(r->where, "reach_finalize") ? 0 : __LINE__;
    case OAK_ROOT_CLEANUP: return strstr(r->where, "reach_clean") ? 0 : __LINE__;
    case OAK_ROOT_REGISTER:
    case OAK_ROOT_RUNTIME: return r->thread ? 0 : __LINE__;
    default: return __LINE__;
    }
}

static int check_steps(const oak_path *p)
{
    for (size_t k = 1; k < p->nsteps; k++) {
        const oak_step *from = &p->steps[k - 1], *to = &p->steps[k];
        if (p->nsteps < p->length && k == p->nsteps / 2) continue; /* some are left out here */
        keys += strncmp(to->label, "key ", 4) == 0;
        if (to->offset == SIZE_MAX) {
            ephemerons += strcmp(to->label, "ephemeron") == 0;
            fibers += strncmp(to->label, "stack of the fiber", 18) == 0;
            if (!to->label[0]) return __LINE__;
        } else if (to->offset + 8 > from->size ||
                   word_at((const char *)from->object + to->offset) !=
                       (uintptr_t)to->object + to->interior) {
            return __LINE__;
        }
    }
    return 0;
}

static int check_path(const oak_path *p, uintptr_t hidden)
{
    if (HIDE(p->object) != hidden || p->nsteps == 0) return __LINE__;
    if (HIDE(p->steps[p->nsteps - 1].object) != hidden) return __LINE__;
    int line = check_root(p);
    return line ? line : check_steps(p);
}

typedef struct question {
    const uintptr_t *object;
    size_t n, step, asked;
    int wrong;         /* a line */
    char said[4096];   /* the path that is wrong */
} question;

/* Those that have none are in `without`. */
static void ask(void *arg)
{
    question *q = arg;
    scrub();
    nwithout = 0;
    for (size_t i = 0; i < q->n && !q->wrong; i += q->step, q->asked++) {
        oak_path *p = oak_why_alive((void *)HIDE(q->object[i]));
        if (p && p->length > 0 && !p->root.caller) {
            q->wrong = check_path(p, q->object[i]);
            if (q->wrong) oak_path_format(p, q->said, sizeof q->said);
            kinds[p->root.kind]++;
        } else {
            without[nwithout++] = q->object[i];
        }
        oak_path_free(p);
    }
}

static void assert_all_right(const question *q)
{
    ck_assert_msg(q->wrong == 0, "line %d:\n%s", q->wrong, q->said);
}

static bool lives(uintptr_t hidden)
{
    for (size_t i = 0; i < nlive; i++)
        if (live[i] == hidden) return true;
    return false;
}

/* A relic may have kept one, of which nothing is left now: then it goes. */
static void assert_without_is_gone(void)
{
    static uintptr_t suspect[MOST];
    static question q = { .object = suspect, .step = 1 };
    size_t n = nwithout;
    memcpy(suspect, without, n * sizeof *suspect);
    test_away(find_live, NULL);
    for (size_t i = 0; i < n; i++)
        if (lives(suspect[i])) suspect[q.n++] = suspect[i];
    test_away(ask, &q);
    assert_all_right(&q);
    ck_assert_msg(nwithout == 0, "%zu of %zu live without a path", nwithout, n);
}

/* Each island begins at a root of its own. */
static void assert_all_kinds(void)
{
    static question q = { .object = world.top, .step = 1 };
    static const oak_root_kind wanted[] = { OAK_ROOT_GLOBAL, OAK_ROOT_RANGE,   OAK_ROOT_PINNED,
                                            OAK_ROOT_TLS,    OAK_ROOT_STACK,   OAK_ROOT_FIBER,
                                            OAK_ROOT_WAITING, OAK_ROOT_CLEANUP,
                                            OAK_ROOT_FINALIZER };
    q.n = world.ntops;
    test_away(ask, &q);
    assert_all_right(&q);
    ck_assert_uint_eq(nwithout, 0);
    for (size_t i = 0; i < OAKI_COUNT(wanted); i++)
        ck_assert_msg(kinds[wanted[i]] > 0, "no path begins at a root of kind %d", (int)wanted[i]);
    ck_assert_uint_gt(ephemerons, 0);
    ck_assert_uint_gt(keys, 0);
    ck_assert_uint_gt(fibers, 0);
}

START_TEST(each_sampled_object_that_lives_has_a_path)
{
    static question q;
    pthread_t thread[3];
    test_seed("observe_reach");
    test_heap_start(test_config());
    ck_assert_int_eq(oak_profile_set_rate(1), 0);
    build(thread);
    test_away(find_live, NULL);
    q.object = live;
    q.n = nlive;
    q.step = 1 + nlive / test_scale(1000);
    test_away(ask, &q);
    printf("%zu live, %zu asked, %zu without\n", nlive, q.asked, nwithout);
    assert_all_right(&q);
    assert_without_is_gone();
    assert_all_kinds();
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < 3; i++) test_join(thread[i]);
    test_assert_sound();
}
END_TEST

Suite *suite_observe_reach(void)
{
    Suite *s = suite_create("observe_reach");
    TCase *t = tcase_create("reach");
    tcase_add_loop_test(t, each_sampled_object_that_lives_has_a_path, 0, 2);
    suite_add_tcase(s, t);
    return s;
}
