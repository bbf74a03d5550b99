/* disclaim.c - kinds whose function is asked before their objects are reclaimed, finalized objects,
 * and a weak map that threads share, built on such a kind.
 *
 * A function may be given a part of a free list, whose first word is a link. So an object of these
 * tests has its lowest bit set. */
#include "api.h"
#include <atomic_ops.h>
#include <gc/gc_disclaim.h>
#include <pthread.h>

typedef struct thing {
    uintptr_t tag; /* 2 * its number + 1 */
    struct thing *other;
} thing;

static struct {
    int kind;
    long asked[MANY], keeps; /* how often; times that each is kept */
    long intact;             /* others that were as they should be */
} self;

static int ask(void *obj)
{
    const thing *t = obj;
    if (!(t->tag & 1)) return 0;
    size_t i = t->tag / 2;
    if (i >= MANY) abort();
    self.intact += t->other && t->other->tag == 77;
    return self.asked[i]++ < self.keeps;
}

static int new_kind(GC_disclaim_proc fn, int protects)
{
    int kind = (int)GC_new_kind(GC_new_free_list(), GC_DS_LENGTH, 1, 1);
    GC_register_disclaim_proc(kind, fn, protects);
    return kind;
}

static thing *held[MANY]; /* hides nothing: what is here lives */

static NOINLINE thing *make(size_t i, size_t size)
{
    thing *t = GC_generic_malloc(size, self.kind);
    t->other = GC_malloc(size);
    t->other->tag = 77;
    t->tag = 2 * i + 1;
    return t;
}

static NOINLINE void make_many(size_t size, bool hold)
{
    for (size_t i = 0; i < MANY; i++) {
        thing *t = make(i, size);
        if (hold) held[i] = t;
    }
}

static long asked(long least)
{
    long n = 0;
    for (int i = 0; i < MANY; i++) n += self.asked[i] >= least;
    return n;
}

static void forget(void)
{
    memset(self.asked, 0, sizeof self.asked);
    self.intact = self.keeps = 0;
}

static void asked_for(const char *what, size_t size)
{
    printf("%s\n", what);
    forget();
    make_many(size, true);
    collect();
    say_of_many("  asked while they live", asked(1));
    memset(held, 0, sizeof held);
    collect();
    say_of_many("  asked when they are dead", asked(1));
    say_of_many("  and again", asked(2));
    say_of_many("  what they refer to was there", self.intact);
}

static void kept(void)
{
    forget();
    self.keeps = 2;
    make_many(48, false);
    collect();
    collect();
    say_of_many("kept twice, and asked a third time", asked(3));
    say_of_many("and no more", asked(4));
    say_of_many("what they refer to was always there", self.intact / 3);
}

static NOINLINE void free_many(void)
{
    for (size_t i = 0; i < MANY; i++) GC_free(make(i, 48));
}

/* Each of a chain goes in a collection of its own. */
static NOINLINE void make_chain(void)
{
    thing *next = NULL;
    for (size_t i = 0; i < 3; i++) {
        thing *t = make(i, 48);
        t->other = next;
        next = t;
    }
}

static void chain(void)
{
    forget();
    make_chain();
    for (int i = 0; i < 5; i++) collect();
    say("of a chain, asked", asked(1));
    say("and twice", asked(2));
}

/* Circles, each with a first word that says that it protects nothing. */
static long circular; /* the allocation lock */

static int count_circular(void *obj)
{
    circular += ((uintptr_t *)obj)[2] == 4711;
    return 0;
}

static NOINLINE void make_circles(void)
{
    for (int i = 0; i < MANY; i++) {
        uintptr_t *a = GC_generic_malloc(48, self.kind), *b = GC_generic_malloc(48, self.kind);
        a[1] = (uintptr_t)b;
        b[1] = (uintptr_t)(i % 2 ? a : b);
        a[2] = b[2] = 4711;
    }
}

static void circles(void)
{
    self.kind = new_kind(count_circular, 1);
    make_circles();
    for (int i = 0; i < 3; i++) collect();
    say("circles that protect nothing are asked", circular > 2 * MANY - 100);
}

/* ---- finalized objects ---- */

static struct {
    long calls, good;
} final;

static void finalize(void *obj, void *cd)
{
    final.calls++;
    final.good += *(size_t *)obj == (size_t)cd && GC_base(obj) == (char *)obj - sizeof(void *);
}

static NOINLINE void make_finalized(size_t size)
{
    struct GC_finalizer_closure *c = GC_malloc_atomic(sizeof *c);
    *c = (struct GC_finalizer_closure){ finalize, (void *)(size + 3) };
    size_t *p = GC_finalized_malloc(size, c);
    if (p[0] != 0 || p[size / sizeof *p - 1] != 0) abort();
    memset(p, 0x55, size);
    *p = size + 3;
    __asm__ __volatile__("" : : "r"(p) : "memory"); /* somebody reads it */
}

static NOINLINE void make_many_finalized(size_t size)
{
    for (int i = 0; i < MANY; i++) make_finalized(size);
}

static void finalized(const char *what, size_t size)
{
    final.calls = final.good = 0;
    make_many_finalized(size);
    collect();
    printf("finalized objects, %s\n", what);
    say_of_many("  called", final.calls);
    say_of_many("  with the object whole, and its base known", final.good);
}

static NOINLINE void *made_empty(void)
{
    return GC_malloc_kind(64, self.kind);
}

void test_disclaim(void)
{
    GC_init_finalized_malloc();
    GC_init_finalized_malloc();
    self.kind = new_kind(ask, 1);
    say("the kind after that of finalized objects", self.kind);
    asked_for("small", 48);
    asked_for("large", 5000);
    asked_for("of pages", 100000);
    kept();
    forget();
    free_many();
    collect();
    say_of_many("asked of freed ones", asked(1));
    chain();
    circles();
    forget();
    for (int i = 0; i < MANY; i++) (void)made_empty();
    collect();
    say_of_many("asked of empty ones", asked(1));
    finalized("small", 32);
    finalized("large", 3000);
    finalized("of pages", 65536);
    const struct GC_finalizer_closure none = { finalize, NULL };
    size_t huge = SIZE_MAX;
    __asm__("" : "+r"(huge)); /* no compiler knows what is asked for */
    say("a huge one", GC_finalized_malloc(huge, &none) != NULL);
    say("and another", GC_finalized_malloc(huge / 2, &none) != NULL);
}

/* ---- a weak map ----
 *
 * It has an object for each key that somebody refers to. Links have hidden addresses, and are
 * malloc's. The kind's function takes a dead object's link out, unless a thread is looking at that
 * bucket: then it may be about to give the object away. */

#define THREADS 4
#define BUCKETS 64
#define KEYS 2000
#define WINDOW 100 /* objects that a thread refers to */
#define ROUNDS 30000

typedef struct entry {
    uintptr_t tag; /* 2 * key + 1 */
    uintptr_t check;
    struct entry *partner; /* of another key, or NULL */
} entry;

typedef struct map_link {
    struct map_link *next;
    GC_hidden_pointer entry;
} map_link;

static struct {
    pthread_mutex_t lock[BUCKETS];
    map_link *first[BUCKETS];
    int kind;
    AO_t added, removed, lost;
} map;

static entry *entry_of(const map_link *l)
{
    return GC_REVEAL_POINTER(l->entry);
}

static int drop(void *obj)
{
    entry *e = obj;
    if (!(e->tag & 1)) return 0;
    size_t b = e->tag / 2 % BUCKETS;
    if (pthread_mutex_trylock(&map.lock[b]) != 0) return 1;
    bool marked = GC_is_marked(obj);
    map_link **at = &map.first[b];
    while (!marked && *at && entry_of(*at) != e) at = &(*at)->next;
    if (!marked && !*at) AO_fetch_and_add1(&map.lost);
    if (!marked && *at) {
        map_link *gone = *at;
        *at = gone->next;
        free(gone);
        AO_fetch_and_add1(&map.removed);
        e->check = 0;
    }
    pthread_mutex_unlock(&map.lock[b]);
    return marked;
}

/* Waits until no collection is under way, with the bucket locked. One that has found the entry dead
 * has asked then, and was told to keep it. */
static void *keep(void *e)
{
    GC_set_mark_bit(e);
    return NULL;
}

static NOINLINE entry *intern(size_t key, entry *partner)
{
    size_t b = key % BUCKETS;
    pthread_mutex_lock(&map.lock[b]);
    map_link *l = map.first[b];
    while (l && entry_of(l)->tag != 2 * key + 1) l = l->next;
    entry *e = l ? entry_of(l) : NULL;
    if (e) {
        GC_call_with_alloc_lock(keep, e);
    } else {
        e = GC_generic_malloc(sizeof *e, map.kind);
        e->partner = partner;
        e->check = ~key;
        e->tag = 2 * key + 1;
        l = malloc(sizeof *l);
        *l = (map_link){ map.first[b], GC_HIDE_POINTER(e) };
        map.first[b] = l;
        AO_fetch_and_add1(&map.added);
    }
    pthread_mutex_unlock(&map.lock[b]);
    return e;
}

static bool is_good(const entry *e)
{
    return (e->tag & 1) && e->check == ~(e->tag / 2);
}

static NOINLINE long use_map(unsigned seed)
{
    entry *mine[WINDOW] = { NULL };
    long bad = 0;
    for (int i = 0; i < ROUNDS; i++) {
        size_t key = (size_t)rand_r(&seed) % KEYS;
        unsigned at = (unsigned)rand_r(&seed) % WINDOW;
        /* partners have lower keys: a circle of protecting objects would never go */
        entry *p = mine[(at + 1) % WINDOW];
        entry *e = intern(key, p && p->tag / 2 < key ? p : NULL);
        mine[at] = e;
        bad += e->tag != 2 * key + 1 || !is_good(e) || (e->partner && !is_good(e->partner));
        bad += intern(key, NULL) != e;
        if (i % (ROUNDS / 8) == 0) GC_gcollect();
    }
    return bad;
}

static void *map_thread(void *arg)
{
    long bad = use_map((unsigned)(uintptr_t)arg);
    return (void *)(uintptr_t)bad;
}

static long left_in_map(void)
{
    long n = 0;
    for (int b = 0; b < BUCKETS; b++)
        for (const map_link *l = map.first[b]; l; l = l->next) n++;
    return n;
}

void test_weakmap(void)
{
    pthread_t thread[THREADS];
    long bad = 0;
    map.kind = new_kind(drop, 1);
    for (int b = 0; b < BUCKETS; b++) pthread_mutex_init(&map.lock[b], NULL);
    for (uintptr_t i = 0; i < THREADS; i++)
        GC_pthread_create(&thread[i], NULL, map_thread, (void *)(i + 1));
    for (int i = 0; i < THREADS; i++) {
        void *result;
        GC_pthread_join(thread[i], &result);
        bad += (long)(uintptr_t)result;
    }
    say("entries that are not what they should be", bad);
    say("dead objects that the map did not have", (long)map.lost);
    say("entries have gone while it was used", map.removed > 0);
    for (int i = 0; i < 30; i++) collect();
    long left = left_in_map();
    long all = (long)map.added == (long)map.removed + left;
    say("all that was added is there, or was removed", all);
    say("hardly any is left", left < KEYS / 10);
    /* Under a limit nothing else says so: libgc's own can't be compared there. */
    if (bad != 0 || map.lost != 0 || map.removed == 0 || !all || left >= KEYS / 10) exit(1);
}

/* ---- kinds that protect nothing ---- */

static long plain; /* the allocation lock */

static int count_plain(void *obj)
{
    plain += *(uintptr_t *)obj == 4711;
    return 0;
}

static NOINLINE void make_plain(void)
{
    for (int i = 0; i < 100 * MANY; i++) *(uintptr_t *)GC_generic_malloc(32, self.kind) = 4711;
}

static void *makes_plain(void *arg)
{
    for (int i = 0; i < 5; i++) make_plain();
    GC_gcollect();
    return arg;
}

/* The predefined kinds: parts of the library may have objects of theirs, too. */
static void of_kind(const char *what, int kind)
{
    self.kind = kind;
    GC_register_disclaim_proc(kind, count_plain, 0);
    plain = 0;
    make_plain();
    collect();
    make_plain();
    say(what, plain > 50 * MANY && plain <= 200 * MANY);
}

/* What is swept lazily there is swept as room is needed. */
void test_unprotected(void)
{
    pthread_t thread[THREADS];
    self.kind = new_kind(count_plain, 0);
    for (int i = 0; i < THREADS; i++) GC_pthread_create(&thread[i], NULL, makes_plain, NULL);
    for (int i = 0; i < THREADS; i++) GC_pthread_join(thread[i], NULL);
    make_plain();
    collect();
    make_plain();
    say("asked of most", plain > 100 * MANY * THREADS * 5 / 2);
    say("and of none too often", plain <= 100 * MANY * (THREADS * 5 + 2));
    of_kind("asked of most, normal", 1);
    of_kind("asked of most, atomic", 0);
    GC_register_disclaim_proc(2, count_plain, 0);
    GC_register_disclaim_proc(3, count_plain, 0);
}
