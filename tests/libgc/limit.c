/* limit.c - a heap of limited size, and threads that race for its room.
 *
 * `racing` is for both libraries: two threads take lists of small objects and make holes between
 * them. `limits` is for Oakum's alone, as libgc's blocks are scattered by then: all that allocates,
 * against an account that knows that there is room. A small object counts as a whole span there, as
 * it may be the only one that lives in it. So no call may fail, but for what a register or a dead
 * word keeps alive by accident. `shrinking` is for Oakum's alone, too. */
#include "api.h"
#include <pthread.h>

/* ---- lists, and holes between them ---- */

#define LISTS 64 /* held by a thread, of some 128 objects each */
#define TURNS 20000

static void *list[2][LISTS];
static void *hole[2][LISTS];
static long empty[2];

static unsigned long draw(unsigned long *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state >> 11;
}

static void *take_lists(void *arg)
{
    size_t me = (size_t)arg;
    unsigned long random = me * 77 + 1;
    for (int i = 0; i < TURNS; i++) {
        void *result;
        GC_generic_malloc_many(32, 1, &result);
        empty[me] += result == NULL;
        size_t at = draw(&random) % LISTS;
        list[me][at] = result;
        if (draw(&random) % 4 == 0) hole[me][at] = GC_malloc(16 + draw(&random) % 3000);
    }
    return NULL;
}

void test_racing(void)
{
    pthread_t id[2];
    GC_set_warn_proc(GC_ignore_warn_proc);
    GC_allow_register_threads();
    GC_set_max_heap_size(6 << 20);
    while (GC_expand_hp(1 << 16)) {}
    for (size_t i = 0; i < 2; i++) GC_pthread_create(&id[i], NULL, take_lists, (void *)i);
    for (size_t i = 0; i < 2; i++) GC_pthread_join(id[i], NULL);
    say("empty lists", empty[0] + empty[1]);
}

/* ---- all entry points, and an account ---- */

#define LIMIT ((size_t)8 << 20)
#define SPAN ((size_t)8192)
#define SMALL 1000
#define THREADS 16
#define SLOTS 512
#define STRAY 10000 /* calls for each that may fail: a word may look like a reference to much */

static struct {
    pthread_mutex_t lock;
    size_t bytes, most, level, largest;
    long failed, calls;
    unsigned kind;
    GC_descr descr;
} account = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void *held[THREADS][SLOTS];

typedef struct mutator {
    size_t number, turns;
    unsigned long random;
    size_t cost[SLOTS];
    bool by_hand[SLOTS]; /* has to be freed */
} mutator;

static size_t cost_of(size_t n)
{
    return n <= SMALL ? SPAN : (n + 2 * SPAN) / SPAN * SPAN;
}

/* Whether so much more is in the limit, or within the level that threads keep to. */
static bool add(size_t bytes, size_t most)
{
    pthread_mutex_lock(&account.lock);
    bool may = account.bytes + bytes <= most;
    if (may) account.bytes += bytes;
    pthread_mutex_unlock(&account.lock);
    return may;
}

static void take_off(size_t bytes)
{
    pthread_mutex_lock(&account.lock);
    account.bytes -= bytes;
    pthread_mutex_unlock(&account.lock);
}

static NOINLINE void *allocate(unsigned what, size_t n)
{
    static const char text[SMALL + 1];
    void *p = NULL;
    switch (what) {
    case 0: return GC_malloc(n);
    case 1: return GC_malloc_atomic(n);
    case 2: return GC_malloc_uncollectable(n);
    case 3: return GC_malloc_atomic_uncollectable(n);
    case 4: return GC_malloc_ignore_off_page(n);
    case 5: return GC_malloc_atomic_ignore_off_page(n);
    case 6: return GC_memalign(64, n);
    case 7: return GC_posix_memalign(&p, 256, n) == 0 ? p : NULL;
    case 8: return GC_malloc_explicitly_typed(n, account.descr);
    case 9: return GC_generic_malloc(n, (int)account.kind);
    case 10: return GC_debug_malloc(n, "limit.c", 1);
    case 11: return n <= SMALL ? GC_strndup(text, n) : GC_malloc_stubborn(n);
    case 12: GC_generic_malloc_many(n <= SMALL ? (n + 15) / 16 * 16 : 64, 1, &p); return p;
    case 13: GC_generic_malloc_many(n <= SMALL ? (n + 15) / 16 * 16 : 64, 0, &p); return p;
    default: return GC_malloc_many(n <= SMALL ? n : 64);
    }
}

static NOINLINE void scrub(void)
{
    char dead[8192];
    memset(dead, 0, sizeof dead);
    __asm__ __volatile__("" : : "r"(dead) : "memory");
}

static NOINLINE void drop(mutator *m, size_t i)
{
    if (m->by_hand[i]) GC_free(held[m->number][i]);
    held[m->number][i] = NULL;
    scrub();
    take_off(m->cost[i]);
    m->cost[i] = 0;
    m->by_hand[i] = false;
}

static NOINLINE bool store(mutator *m, size_t i, unsigned what, size_t n)
{
    held[m->number][i] = allocate(what, n);
    bool plain = what < 2 || what == 4 || what == 5 || what == 9;
    bool may_free = plain && draw(&m->random) % 3 == 0; /* into the thread's table, if small */
    m->by_hand[i] = held[m->number][i] && (what == 2 || what == 3 || may_free);
    return held[m->number][i] != NULL;
}

static NOINLINE bool resize(mutator *m, size_t i, size_t n)
{
    void *p = GC_realloc(held[m->number][i], n);
    if (p) held[m->number][i] = p;
    return p != NULL;
}

static void count(bool done, size_t n, unsigned what)
{
    pthread_mutex_lock(&account.lock);
    account.calls++;
    if (!done && account.failed++ < 5)
        fprintf(stderr, "no memory: call %u, %zu bytes, %zu of %zu in the account\n", what, n,
                account.bytes, LIMIT);
    pthread_mutex_unlock(&account.lock);
}

static void turn(mutator *m)
{
    size_t i = draw(&m->random) % SLOTS, top = account.largest;
    for (size_t k = draw(&m->random) % 18; k > 0 && top > 32; k--) top /= 2;
    size_t n = 16 + draw(&m->random) % (top - 15);
    unsigned what = (unsigned)(draw(&m->random) % 16);
    if (what == 15 && !held[m->number][i]) what = 0;
    if (what < 15) drop(m, i);
    if (!add(cost_of(n), account.most)) return;
    bool done = what < 15 ? store(m, i, what, n) : resize(m, i, n);
    scrub();
    count(done, n, what);
    m->cost[i] += cost_of(n);
    for (size_t k = 0; k < SLOTS && !add(0, account.level); k++)
        drop(m, draw(&m->random) % SLOTS);
}

static void *mutate(void *arg)
{
    mutator *m = arg;
    for (size_t k = 0; k < m->turns; k++) turn(m);
    for (size_t i = 0; i < SLOTS; i++) drop(m, i);
    return NULL;
}

static void race(size_t threads, size_t percent, unsigned long seed)
{
    static mutator mutators[THREADS];
    pthread_t id[THREADS];
    account.most = LIMIT / 10 * 9;
    account.level = LIMIT / 100 * percent;
    account.largest = LIMIT / 10;
    for (size_t i = 0; i < threads; i++) {
        mutators[i] = (mutator){ .number = i, .turns = 6000 / threads, .random = seed + i * 99 };
        GC_pthread_create(&id[i], NULL, mutate, &mutators[i]);
    }
    for (size_t i = 0; i < threads; i++) GC_pthread_join(id[i], NULL);
}

void test_limits(void)
{
    static const size_t threads[] = { 1, 2, 4, 16 };
    const char *given = getenv("OAKUM_TEST_SEED"), *longer = getenv("OAKUM_TEST_LONG");
    unsigned long seed = given ? strtoul(given, NULL, 10) : (unsigned long)GC_get_total_bytes();
    if (!given) seed ^= (unsigned long)(uintptr_t)&seed >> 4; /* where the system has put us */
    seed |= 1;
    printf("OAKUM_TEST_SEED=%lu\n", seed);
    GC_set_warn_proc(GC_ignore_warn_proc);
    GC_allow_register_threads();
    GC_set_max_heap_size(LIMIT);
    account.kind = GC_new_kind(GC_new_free_list(), GC_DS_LENGTH, 1, 1);
    account.descr = GC_make_descriptor((GC_word[]){ 1 }, 1);
    for (int i = 0; i < (longer && *longer == '1' ? 50 : 1); i++)
        for (size_t k = 0; k < 8; k++) {
            unsigned long s = seed + (unsigned long)i * 1001 + k;
            race(threads[k / 2], k % 2 ? 76 : 10 + s % 71, s);
        }
    say("calls", account.calls);
    say("failed", account.failed);
    if (account.failed > account.calls / STRAY) exit(1);
}

/* ---- objects that shrink where nothing is left ---- */

static NOINLINE long shrinks(char *p, size_t size, size_t n)
{
    memset(p, 0x5a, size);
    const char *q = GC_realloc(p, n);
    for (size_t i = 0; q && i < n; i++)
        if (q[i] != 0x5a) return 0;
    return q != NULL;
}

void test_shrinking(void)
{
    int kind = (int)GC_new_kind(GC_new_free_list(), GC_DS_LENGTH, 1, 1);
    GC_set_warn_proc(GC_ignore_warn_proc);
    GC_set_max_heap_size(LIMIT);
    char *small = GC_malloc(1400), *atomic = GC_malloc_atomic(1400),
         *own = GC_generic_malloc(1400, kind), *pinned = GC_malloc_uncollectable(1400),
         *large = GC_malloc(100000);
    for (size_t n = 100000; n >= 1000; n /= 10)
        while (GC_malloc_uncollectable(n)) continue;
    long n = shrinks(small, 1400, 100) + shrinks(atomic, 1400, 100) + shrinks(own, 1400, 100) +
             shrinks(pinned, 1400, 100) + shrinks(large, 100000, 1000);
    say("shrunk", n);
    if (n < 5) exit(1);
}
