/* mix.c - all at once, while collections mark beside the program: threads that move references,
 * children of forks, libraries that come and go, maps, weak references, finalizers, objects of all
 * kinds (mix_kinds.c), and system calls that write references into the heap. What is lost shows as
 * a changed value, in the poison, or to the verifier, which goes over all that is marked after each
 * cycle. OAKUM_TEST_LONG=1 makes ten times as much of it; its seed is printed. */
#include "mix.h"

#include "gc/concurrent/concurrent.h"
#include "ring.h"
#include "runtime/dirty.h"
#include "runtime/os.h"
#include "tests/large.h"
#include "tests/threads.h"
#include <check.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <oakum/gc.h>
#include <oakum/map.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>

Suite *suite_gc_mix(void);

#define SEAL 0x5ea1ed00c0ffee11u
#define SLOTS 60000 /* of the table that the movers share */
#define MOST 8      /* objects for each, with all that hangs on the table: twice what there is */
#define MOVERS 2
#define BLOCK 512 /* references that a system call writes */
#define KEYS 5000
#define CYCLES 12 /* at least */
#define REST_NS 50000000u /* between two forks, as each page written after one costs a fault; */
#define REST_PART 3       /* or so many times what the last one took */

typedef mix_thing thing;

static struct {
    oak_tracking tracking;
    size_t minors;
    int huge;
} with; /* the test case's */

static thing **table;
static uint64_t seed;

thing *mix_new(uint64_t id)
{
    thing *x = oak_alloc(sizeof *x);
    *x = (thing){ .seal = SEAL, .id = id };
    return x;
}

static struct {
    AO_t file, line; /* 0: nothing */
} wrong;

/* This thread may stand while another one has a lock of Check's. */
void mix_expect_at(bool right, const char *file, size_t line)
{
    if (right) return;
    AO_store(&wrong.file, (AO_t)file);
    AO_store_release(&wrong.line, line);
}

bool mix_is(const thing *x, uint64_t id)
{
    bool whole = x && x->seal == SEAL && x->id == id;
    mix_expect(whole);
    return whole;
}

uint64_t mix_draws(uintptr_t who)
{
    return seed * 31 + who + 1;
}

/* ---- the movers, which say when it is over ---- */

static AO_t moved; /* movers that are through */

bool mix_goes_on(void)
{
    return AO_load(&moved) < MOVERS && AO_load(&wrong.line) == 0;
}

/* Two things of the table, most of them old, swap what hangs on them alone: for a moment on nothing
 * but a thread's registers. y takes the place of one of the two, or what hangs there. */
static void swap(size_t at, size_t to, unsigned how)
{
    thing *p = table[at], *q = table[to], *x = p->a, *z = q->a;
    p->a = NULL;
    thing *y = mix_new(how == 0 ? at : x->id);
    q->a = how == 1 ? y : x;
    if (at != to) p->a = z;
    if (how != 0) return;
    y->a = p->a;
    p->a = NULL;
    table[at] = y;
}

static bool too_early(void)
{
    return AO_load(&oaki_the_heap.cycle) < CYCLES || (with.huge && mix_huge_waits());
}

static uint32_t hangs[SLOTS]; /* a number, less SLOTS */
TEST_LARGE(gc_mix, hangs)

static void *move(void *arg)
{
    uint64_t draw = mix_draws((uintptr_t)arg);
    size_t first = (uintptr_t)arg * (SLOTS / MOVERS), n = SLOTS / MOVERS;
    for (size_t i = first; i < first + n; i++) {
        hangs[i] = (uint32_t)i;
        table[i]->a = mix_new(SLOTS + i);
    }
    for (size_t i = 0; i < test_scale(60000) || too_early(); i++) {
        if (AO_load(&wrong.line) != 0) break;
        size_t at = first + test_draw(&draw) % n, to = first + test_draw(&draw) % n;
        if (!mix_is(table[at], at) || !mix_is(table[at]->a, SLOTS + hangs[at])) break;
        if (!mix_is(table[to], to) || !mix_is(table[to]->a, SLOTS + hangs[to])) break;
        swap(at, to, test_draw(&draw) % 8);
        uint32_t number = hangs[at];
        hangs[at] = hangs[to];
        hangs[to] = number;
    }
    AO_fetch_and_add1(&moved);
    return NULL;
}

/* ---- forks ---- */

/* The C library leaves a loader's lock locked in a child, if another thread had it. */
static pthread_mutex_t loading = PTHREAD_MUTEX_INITIALIZER;

static void in_child(void)
{
    size_t wrong = 0;
    for (size_t i = 0; i < SLOTS; i++) {
        const thing *x = table[i];
        wrong += x && (x->seal != SEAL || x->id != i);
    }
    for (size_t i = 0; i < 5000; i++) table[i] = mix_new(i);
    oak_collect();
    for (size_t i = 0; i < 5000; i++) wrong += table[i]->seal != SEAL || table[i]->id != i;
    _exit(wrong > 0);
}

static void *fork_now_and_then(void *arg)
{
    while (mix_goes_on() && !test_breaks_asan()) {
        uint64_t begun = oaki_os_now_ns();
        pthread_mutex_lock(&loading);
        pid_t pid = fork();
        if (pid == 0) in_child();
        pthread_mutex_unlock(&loading);
        int status = -1;
        while (waitpid(pid, &status, 0) < 0) {
        }
        mix_expect(pid > 0 && status == 0);
        oaki_os_sleep_ns(OAKI_MAX(REST_NS, REST_PART * (oaki_os_now_ns() - begun)));
    }
    return arg;
}

/* ---- libraries ---- */

static void *load_and_unload(void *arg)
{
    while (mix_goes_on()) {
        pthread_mutex_lock(&loading);
        void *lib = dlopen(TEST_MODULES "/libdata.so", RTLD_NOW | RTLD_LOCAL);
        pthread_mutex_unlock(&loading);
        thing **data = lib ? dlsym(lib, "libdata_bss") : NULL;
        mix_expect(data != NULL);
        if (!data) break;
        for (size_t i = 0; i < 64; i++) data[i] = mix_new(i);
        for (size_t i = 0; i < 20000; i++) {
            (void)mix_is(data[i % 64], i % 64);
            if (i % 7 == 0) data[i % 64] = mix_new(i % 64);
        }
        memset(data, 0, 64 * sizeof *data);
        pthread_mutex_lock(&loading);
        dlclose(lib);
        pthread_mutex_unlock(&loading);
    }
    return arg;
}

/* ---- freed by hand ---- */

/* Of sizes of which a span has four or five: each free may have to sweep it, and brings it from
 * full to partial. Its first and last words say whose it is. */
static void *free_by_hand(void *arg)
{
    uint64_t draw = mix_draws((uintptr_t)arg), *mine[32] = { NULL };
    size_t words[32] = { 0 };
    for (size_t i = 0; mix_goes_on(); i++) {
        size_t k = test_draw(&draw) % OAKI_COUNT(mine), n = (6000 + test_draw(&draw) % 3000) / 8;
        uint64_t *p = mine[k], stamp = (uintptr_t)arg << 32 | k;
        if (p) mix_expect(p[0] == stamp && p[words[k] - 1] == stamp);
        if (p && i % 3 == 0) oak_free(p);
        mine[k] = p = i % 2 ? oak_alloc(n * 8) : oak_alloc_noscan(n * 8);
        mix_expect(p && test_is_zero(p, n * 8));
        p[0] = p[n - 1] = stamp;
        words[k] = n;
    }
    return arg;
}

/* ---- maps ---- */

static void *fill_and_empty(void *arg)
{
    uint64_t draw = mix_draws((uintptr_t)arg);
    oak_map *m = oak_map_new(&oak_map_u64_ptr, 0);
    while (mix_goes_on()) {
        for (uint64_t k = 0; k < KEYS; k++) {
            thing **slot = oak_map_put(m, &k);
            mix_expect(slot != NULL);
            if (slot) *slot = mix_new(k);
        }
        for (size_t i = 0; i < KEYS; i++) {
            uint64_t k = test_draw(&draw) % KEYS;
            thing **slot = oak_map_get(m, &k);
            if (slot) (void)mix_is(*slot, k);
            if (i % 2) oak_map_delete(m, &k);
        }
        if (test_draw(&draw) % 4 == 0) oak_map_clear(m);
    }
    return NULL;
}

/* ---- weak references and finalizers ---- */

static AO_t finalized;

static void note(void *obj, void *ctx)
{
    AO_fetch_and_add1(&finalized);
    (void)mix_is(ctx, ((thing *)obj)->id);
}

static void *hold_weakly(void *arg)
{
    enum { N = 500 };
    uint64_t draw = mix_draws((uintptr_t)arg);
    thing **keep = oak_alloc(N * sizeof *keep);
    oak_weak **weak = oak_alloc(N * sizeof *weak);
    while (mix_goes_on()) {
        uint64_t i = test_draw(&draw) % N;
        if (weak[i]) {
            thing *x = oak_weak_get(weak[i]);
            mix_expect(!keep[i] || x == keep[i]);
            if (x) (void)mix_is(x, i);
        }
        keep[i] = mix_new(i);
        weak[i] = oak_weak_new(keep[i]);
        if (test_draw(&draw) % 4 == 0) {
            thing *dying = mix_new(i);
            mix_expect(oak_finalizer_set(dying, note, mix_new(i)) == 0);
        }
        keep[test_draw(&draw) % N] = NULL;
        (void)oak_finalizers_run();
    }
    return NULL;
}

/* ---- what the system writes ---- */

static bool by_pipe(const int fd[2], void *to, void *from)
{
    return write(fd[1], from, BLOCK * 8) == BLOCK * 8 && read(fd[0], to, BLOCK * 8) == BLOCK * 8;
}

static bool by_socket(const int fd[2], void *to, void *from)
{
    struct iovec out = { from, BLOCK * 8 }, in = { to, BLOCK * 8 };
    struct msghdr sent = { .msg_iov = &out, .msg_iovlen = 1 };
    struct msghdr got = { .msg_iov = &in, .msg_iovlen = 1 };
    return sendmsg(fd[1], &sent, 0) == BLOCK * 8 && recvmsg(fd[0], &got, 0) == BLOCK * 8;
}

static bool by_file(const int fd[2], void *to, void *from)
{
    struct iovec in[2] = { { to, 100 }, { (char *)to + 100, BLOCK * 8 - 100 } };
    return pwrite(fd[0], from, BLOCK * 8, 0) == BLOCK * 8 && preadv(fd[0], in, 2, 0) == BLOCK * 8;
}

/* The system has the page before it reads what is to be written: not into scanned ones. */
static bool by_another_process(const int fd[2], void *to, void *from)
{
    struct iovec local = { from, BLOCK * 8 }, remote = { to, BLOCK * 8 };
    (void)fd;
    return process_vm_writev(getpid(), &local, 1, &remote, 1, 0) == BLOCK * 8;
}

static bool by_ring(const int fd[2], void *to, void *from)
{
    return pwrite(fd[0], from, BLOCK * 8, 0) == BLOCK * 8 && test_ring_read(fd[0], to, BLOCK * 8);
}

/* The only references are on their way through the system, into scanned objects; or where it may
 * not write to those, into another object, from which they are taken before `from` lets go. */
static void *let_the_system_write(void *arg)
{
    static bool (*const by[])(const int fd[2], void *to, void *from) = {
        by_pipe, by_socket, by_file, by_another_process, by_ring /* the last: not on all systems */
    };
    int fd[OAKI_COUNT(by)][2] = { { -1, -1 } };
    thing **from = oak_alloc(BLOCK * 8), **to = oak_alloc(16 * BLOCK * 8);
    thing **outside = oak_alloc_noscan(BLOCK * 8);
    size_t ways = OAKI_COUNT(by) - !test_ring_open();
    bool can = pipe(fd[0]) == 0 && socketpair(AF_UNIX, SOCK_DGRAM, 0, fd[1]) == 0 &&
               (fd[2][0] = memfd_create("mix", MFD_CLOEXEC)) >= 0;
    fd[4][0] = fd[2][0];
    mix_expect(can);
    for (size_t turn = 0; mix_goes_on(); turn++) {
        thing **there = to + turn % 16 * BLOCK;
        size_t way = turn / 3 % ways;
        for (size_t i = 0; i < BLOCK; i++) from[i] = mix_new(i);
        bool direct = with.tracking != OAK_TRACKING_FAULTS && by[way] != by_another_process;
        mix_expect(by[way](fd[way], direct ? there : outside, from));
        if (!direct) memcpy(there, outside, BLOCK * 8);
        memset(from, 0, BLOCK * 8);
        for (size_t i = 0; i < 16 * BLOCK; i++)
            if (to[i]) (void)mix_is(to[i], i % BLOCK);
    }
    return arg;
}

/* ---- all of them ---- */

static void *(*const parts[])(void *) = {
    move,           move,         fork_now_and_then,    load_and_unload,
    fill_and_empty, hold_weakly,  let_the_system_write, free_by_hand,
    free_by_hand,   free_by_hand, free_by_hand,         mix_tables,
    mix_pairs,      mix_zones
};

static struct {
    AO_t beside, minor;
} cycles;

static void on_cycle(const oaki_cycle *c, void *ctx)
{
    (void)ctx;
    if (c->first_begin) AO_fetch_and_add1(&cycles.beside);
    if (c->minor) AO_fetch_and_add1(&cycles.minor);
}

/* A verifier that finds nothing lost would be content with a mark that keeps everything. */
static void check_that_the_dead_went(void)
{
    ck_assert_uint_gt(AO_load(&finalized), 0);
    for (int i = 0; i < 3; i++) {
        oak_collect();
        (void)oak_finalizers_run();
    }
    ck_assert_uint_lt(test_stats().heap_objects, MOST * SLOTS);
}

START_TEST(all_at_once)
{
    pthread_t id[OAKI_COUNT(parts)], huge = 0;
    oak_config c = test_config_beside(with.tracking);
    c.huge_pages = with.huge;
    c.generations = with.minors > 0;
    c.gc_threads = 2;
    c.gc_percent = 100;
    test_seed("gc/mix");
    seed = test_random();
    if (!test_heap_tracked(c, with.minors)) return;
    oaki_debug_switches.beside = 1;
    ck_assert_int_eq(oaki_gc_on_cycle(on_cycle, NULL), 0);
    char *ballast = with.huge ? oak_alloc(OAKI_HUGE_FROM) : NULL; /* from there on */
    table = oak_alloc(SLOTS * sizeof *table);
    for (size_t i = 0; i < SLOTS; i++) table[i] = mix_new(i);
    for (size_t i = 0; i < OAKI_COUNT(parts); i++) id[i] = test_start(parts[i], (void *)i);
    if (with.huge) huge = test_start(mix_huge, (void *)OAKI_COUNT(parts));
    while (mix_goes_on()) {
        (void)test_ask_beside();
        oaki_os_sleep_ns(3000000);
    }
    for (size_t i = 0; i < OAKI_COUNT(parts); i++) test_join(id[i]);
    if (with.huge) {
        test_join(huge);
        mix_huge_report();
    }
    size_t line = AO_load_acquire(&wrong.line);
    ck_assert_msg(line == 0, "%s:%zu", (const char *)AO_load(&wrong.file), line);
    for (size_t i = 0; i < SLOTS; i++) ck_assert(mix_is(table[i], i));
    ck_assert(!ballast || ballast[0] == 0);
    ck_assert_uint_ge(AO_load(&cycles.beside), CYCLES / 2);
    if (with.minors) ck_assert_uint_gt(AO_load(&cycles.minor), 0);
    if (with.tracking == OAK_TRACKING_FAULTS) ck_assert_uint_eq(AO_load(&cycles.minor), 0);
    check_that_the_dead_went();
    test_assert_sound();
}
END_TEST

static void by_userfaultfd(void)
{
    with.tracking = OAK_TRACKING_USERFAULTFD;
}

static void in_huge_pages(void)
{
    by_userfaultfd();
    with.huge = 1;
}

static void mostly_minor(void)
{
    by_userfaultfd();
    with.minors = 3;
}

static void by_faults(void)
{
    with.tracking = OAK_TRACKING_FAULTS;
}

static void by_faults_in_huge_pages(void)
{
    by_faults();
    with.huge = 1;
}

static void add(Suite *s, const char *name, void (*setup)(void))
{
    TCase *t = tcase_create(name);
    tcase_set_timeout(t, 600);
    tcase_add_checked_fixture(t, setup, NULL);
    tcase_add_test(t, all_at_once);
    suite_add_tcase(s, t);
}

Suite *suite_gc_mix(void)
{
    Suite *s = suite_create("gc_mix");
    add(s, "userfaultfd", by_userfaultfd);
    add(s, "huge", in_huge_pages);
    add(s, "minor", mostly_minor);
    add(s, "faults", by_faults);
    add(s, "faults_huge", by_faults_in_huge_pages);
    return s;
}
