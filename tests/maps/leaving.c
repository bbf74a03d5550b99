/* leaving.c - tests of maps/maplock.c: a function that a structure calls under its lock is left by
 * a jump, an exception, or its thread's end. That is fatal, and names it; nobody waits for ever. */
#include "tests/capture.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <oakum/shardmap.h>
#include <oakum/weakmap.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>
#include <unwind.h>

Suite *suite_maps_leaving(void);

/* ---- ways to leave ---- */

static jmp_buf outside;
static void *outside_builtin[5];
static ucontext_t main_context, other_context;
static AO_t has_left;

static void jump(void)
{
    longjmp(outside, 1);
}

static void jump_with_a_mask(void)
{
    siglongjmp(outside, 1);
}

static void end_thread(void)
{
    pthread_exit(NULL);
}

static void be_cancelled(void)
{
    int state;
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state);
    pthread_cancel(pthread_self());
    pthread_testcancel();
}

static _Unwind_Reason_Code never_stop(int version, _Unwind_Action actions,
                                      _Unwind_Exception_Class class,
                                      struct _Unwind_Exception *exception,
                                      struct _Unwind_Context *context, void *frame)
{
    (void)version, (void)class, (void)exception, (void)frame, (void)context;
    if (actions & _UA_END_OF_STACK) _exit(3);
    return _URC_NO_REASON;
}

static void throw(void)
{
    static struct _Unwind_Exception thrown;
    (void)_Unwind_ForcedUnwind(&thrown, never_stop, NULL);
}

static void (*const by_libc[])(void) = { jump, jump_with_a_mask, end_thread, be_cancelled, throw };

/* Those that libc does not know of: */
static void jump_builtin(void)
{
    __builtin_longjmp(outside_builtin, 1);
}

static void vanish(void)
{
    AO_store_release(&has_left, 1);
    syscall(SYS_exit, 0);
}

static void switch_stacks(void)
{
    setcontext(&main_context);
}

static void (*const by_itself[])(void) = { jump_builtin, vanish, switch_stacks };

static void (*leave)(void);
static AO_t calls_first; /* of the function, before it leaves */

static void leave_soon(void)
{
    if (calls_first > 0)
        calls_first--;
    else
        leave();
}

/* ---- what is left ---- */

static uint64_t hash(const void *key, uint64_t seed, size_t size)
{
    (void)seed, (void)size;
    leave_soon();
    return *(const uint64_t *)key & 1;
}

static uint64_t calm_hash(const void *key, uint64_t seed, size_t size)
{
    (void)key, (void)seed, (void)size;
    return 7;
}

static bool equal(const void *a, const void *b, size_t size)
{
    leave_soon();
    return memcmp(a, b, size) == 0;
}

static const oak_map_type hashed = { .key = OAK_KEY_CUSTOM,
                                     .flags = OAK_MAP_SCAN_VALUE,
                                     .key_size = 8,
                                     .value_size = 8,
                                     .hash = hash,
                                     .name = "hashed" };
static const oak_map_type compared = { .key = OAK_KEY_CUSTOM,
                                       .flags = OAK_MAP_SCAN_VALUE,
                                       .key_size = 8,
                                       .value_size = 8,
                                       .hash = calm_hash,
                                       .equal = equal,
                                       .name = "compared" };

static const uint64_t one = 1;
static oak_cache *cache;
static oak_weakvalue *weak;
static oak_shardmap *shards;

static void use_cache(void)
{
    (void)oak_cache_put(cache, &one, oak_alloc(16));
}

static void use_weak(void)
{
    (void)oak_weakvalue_put(weak, &one, oak_alloc(16));
}

static void use_shards(void)
{
    (void)oak_shardmap_put(shards, &one, &one);
}

static bool update(void *value, bool there, void *ctx)
{
    (void)value, (void)there, (void)ctx;
    leave_soon();
    return true;
}

static void use_update(void)
{
    (void)oak_shardmap_update(shards, &one, update, NULL);
}

static bool visit(const void *key, void *value, void *ctx)
{
    (void)key, (void)value, (void)ctx;
    leave_soon();
    return true;
}

static void use_range(void)
{
    (void)oak_shardmap_range(shards, visit, NULL);
}

static const struct {
    void (*use)(void);
    const oak_map_type *keys;
    const char *name;
    AO_t first; /* calls that are no matter: outside of the lock, or as the key is put */
} used[] = {
    { use_cache, &hashed, "oak_cache", 0 },
    { use_cache, &compared, "oak_cache", 1 },
    { use_weak, &hashed, "oak_weakvalue", 0 },
    { use_weak, &compared, "oak_weakvalue", 1 },
    { use_shards, &hashed, "oak_shardmap", 1 },
    { use_shards, &compared, "oak_shardmap", 1 },
    { use_update, &oak_map_u64_u64, "oak_shardmap", 0 },
    { use_range, &oak_map_u64_u64, "oak_shardmap", 0 },
};

/* `compared` structures have the key already, so that it is compared. */
static void make(size_t i)
{
    static const uint64_t other = 3;
    AO_store(&calls_first, 1000);
    oak_cache_config c = { .keys = used[i].keys, .max_entries = 9, .flags = OAK_CACHE_LOCKED };
    cache = oak_cache_new(&c);
    weak = oak_weakvalue_new(used[i].keys, OAK_WEAK_LOCKED, 0);
    shards = oak_shardmap_new(used[i].keys, 1, 0);
    (void)oak_shardmap_put(shards, &other, &other);
    if (used[i].keys == &compared) used[i].use();
    AO_store(&calls_first, used[i].first);
}

typedef struct leaving {
    size_t what, how;
    bool itself;
} leaving;

static leaving now;

/* Whatever was there, a deep call overwrites it. */
static OAKI_NOINLINE void write_over(void)
{
    char deep[16384];
    memset(deep, 1, sizeof deep);
    __asm__ __volatile__("" : : "r"(deep) : "memory");
}

static OAKI_NOINLINE bool use_and_leave(void)
{
    if (setjmp(outside) != 0) return false;
    if (now.itself && __builtin_setjmp(outside_builtin) != 0) return false;
    used[now.what].use();
    return true;
}

static void *first_user(void *unused)
{
    leave = now.itself ? by_itself[now.how] : by_libc[now.how];
    if (use_and_leave()) _exit(2);
    write_over();
    AO_store_release(&has_left, 1);
    for (;;) oaki_os_sleep_ns(10000000);
    return unused;
}

static void other_stack(void)
{
    used[now.what].use();
    _exit(2);
}

/* By no function of ASan's: it doesn't know that the frames there are gone. */
OAKI_NO_ASAN static void overwrite(char *stack, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        stack[i] = 1;
        __asm__("" ::: "memory"); /* no memset */
    }
}

/* The stack of the call is another's by the time that it is looked at. */
static void *switching_user(void *unused)
{
    static char stack[65536] __attribute__((aligned(16)));
    static AO_t back;
    leave = switch_stacks;
    getcontext(&main_context);
    if (AO_fetch_and_add1(&back) == 0) {
        getcontext(&other_context);
        other_context.uc_stack.ss_sp = stack;
        other_context.uc_stack.ss_size = sizeof stack;
        other_context.uc_link = NULL;
        makecontext(&other_context, other_stack, 0);
        setcontext(&other_context);
    }
    overwrite(stack, sizeof stack);
    AO_store_release(&has_left, 1);
    for (;;) oaki_os_sleep_ns(10000000);
    return unused;
}

static void *second_user(void *unused)
{
    leave = NULL;
    AO_store(&calls_first, 1000);
    used[now.what].use();
    return unused;
}

static void run(void *arg)
{
    now = *(leaving *)arg;
    test_heap_start(test_config());
    make(now.what);
    bool switches = now.itself && by_itself[now.how] == switch_stacks;
    pthread_t first = test_start(switches ? switching_user : first_user, NULL);
    if (!now.itself) {
        test_join(first);
        _exit(4);
    }
    test_wait(&has_left, 1);
    test_join(test_start(second_user, NULL));
    _exit(4);
}

static void expect_named(const leaving *l)
{
    char out[2000];
    int status = test_capture(run, (void *)(uintptr_t)l, out, sizeof out);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "%zu %zu: %d: %s", l->what,
                  l->how, status, out);
    ck_assert_msg(strstr(out, used[l->what].name), "%s", out);
    ck_assert_msg(strstr(out, "was left by longjmp, an exception, pthread_exit or cancellation"),
                  "%zu %zu: %s", l->what, l->how, out);
}

START_TEST(who_leaves_by_way_of_libc_is_told_at_once)
{
    leaving l = { (size_t)_i / OAKI_COUNT(by_libc), (size_t)_i % OAKI_COUNT(by_libc), false };
    expect_named(&l);
}
END_TEST

START_TEST(who_leaves_otherwise_is_found_by_the_next_that_waits)
{
    leaving l = { (size_t)_i / OAKI_COUNT(by_itself), (size_t)_i % OAKI_COUNT(by_itself), true };
    expect_named(&l);
}
END_TEST

/* ---- the same thread comes back ---- */

static void come_back(void *arg)
{
    now = *(leaving *)arg;
    test_heap_start(test_config());
    make(now.what);
    leave = jump_builtin;
    if (use_and_leave()) _exit(2);
    AO_store(&calls_first, 1000);
    used[now.what].use();
    _exit(4);
}

START_TEST(who_comes_back_after_a_jump_is_told)
{
    leaving l = { (size_t)_i, 0, true };
    char out[2000];
    int status = test_capture(come_back, &l, out, sizeof out);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "%d: %s", status, out);
    ck_assert_msg(strstr(out, "or after a jump out of one"), "%s", out);
}
END_TEST

/* ---- what is no such thing ---- */

static void jump_within(void)
{
    jmp_buf here;
    if (setjmp(here) == 0) longjmp(here, 1);
}

/* Longer than a waiting thread is patient; by a wait that says when. */
static AO_t inside, waits;

static void stay_long(void)
{
    AO_store_release(&inside, 1);
    uint64_t begun = oaki_os_now_ns();
    while (!AO_load_acquire(&waits) || oaki_os_now_ns() - begun < 3500000000u)
        oaki_os_sleep_ns(50000000);
    leave = NULL;
    AO_store(&calls_first, 1000000);
}

static void *use_once(void *unused)
{
    used[now.what].use();
    return unused;
}

static void *use_beside(void *unused)
{
    test_wait(&inside, 1);
    AO_store_release(&waits, 1);
    used[now.what].use();
    return unused;
}

START_TEST(who_stays_long_or_jumps_within_is_let_be)
{
    test_heap_start(test_config());
    for (now.what = 0; now.what < OAKI_COUNT(used); now.what++) {
        make(now.what);
        leave = jump_within;
        AO_store(&calls_first, 0);
        used[now.what].use();
    }
    now.what = (size_t)_i;
    make(now.what);
    leave = stay_long;
    pthread_t first = test_start(use_once, NULL), second = test_start(use_beside, NULL);
    test_join(first);
    test_join(second);
    ck_assert_uint_eq(AO_load(&waits), 1);
}
END_TEST

Suite *suite_maps_leaving(void)
{
    Suite *s = suite_create("maps/leaving");
    TCase *t = tcase_create("leaving");
    int n = OAKI_COUNT(used);
    tcase_add_loop_test(t, who_leaves_by_way_of_libc_is_told_at_once, 0,
                        n * (int)OAKI_COUNT(by_libc));
    tcase_add_loop_test(t, who_leaves_otherwise_is_found_by_the_next_that_waits, 0,
                        n * (int)OAKI_COUNT(by_itself));
    tcase_add_loop_test(t, who_comes_back_after_a_jump_is_told, 0, n);
    tcase_add_loop_test(t, who_stays_long_or_jumps_within_is_let_be, 5, 7);
    suite_add_tcase(s, t);
    return s;
}
