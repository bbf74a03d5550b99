/* path_turns.c - tests of which root oak_why_alive and oak_snapshot_why tell of when several lead
 * to the object: what lasts, rather than relics that lead into the midst of it. */
#include "files.h"
#include "tests/heap.h"
#include "tests/threads.h"

Suite *suite_observe_path_turns(void);

#define HIDE(p) (~(uintptr_t)(p))

/* not static: the compiler may not guess their use */
void *path_turns_global;
__thread void *path_turns_tls;
static char said[8192];
static uintptr_t hidden; /* the last of a chain: nothing here keeps it */
static AO_t phase;

static void start(void)
{
    test_heap_start(test_config());
}

static void ask_away(void *arg)
{
    *(oak_path **)arg = oak_why_alive((void *)HIDE(hidden));
}

static void ask_snapshot_away(void *arg)
{
    oak_snapshot *s = test_snapshot();
    *(oak_path **)arg = oak_snapshot_why(s, HIDE(hidden));
    oak_snapshot_close(s);
}

static void expect_of(void (*ask)(void *), oak_root_kind kind, size_t length, size_t interior)
{
    oak_path *p = NULL;
    test_away(ask, &p);
    ck_assert_ptr_nonnull(p);
    oak_path_format(p, said, sizeof said);
    ck_assert_msg(p->root.kind == kind && p->length == length && p->steps[0].interior == interior,
                  "wanted kind %d, %zu objects in:\n%s", (int)kind, length, said);
    oak_path_free(p);
}

/* A root of this kind, so many objects, the word pointing so far into the first of them. */
static void expect(oak_root_kind kind, size_t length, size_t interior)
{
    expect_of(ask_away, kind, length, interior);
    expect_of(ask_snapshot_away, kind, length, interior);
}

static void make_chain(void *arg)
{
    void **a = oak_alloc(64), **b = oak_alloc(64), **c = oak_alloc(64);
    a[1] = b;
    b[2] = c;
    hidden = HIDE(c);
    *(void **)arg = a;
}

/* The thread goes on to the next phase, where the main thread waits for it. */
static void wait_in_region(AO_t n)
{
    AO_store_release(&phase, n);
    oak_blocking_enter();
    test_wait(&phase, n + 1);
    oak_blocking_leave();
}

static pthread_t start_holder(void *(*fn)(void *))
{
    start();
    test_away(make_chain, &path_turns_global);
    pthread_t t = test_start(fn, NULL);
    test_wait(&phase, 1);
    return t;
}

static void end_holder(pthread_t t)
{
    AO_store_release(&phase, 2);
    test_join(t);
}

/* What fn holds of the chain's last is told once the global no longer has the first. */
static void expect_after_global(void *(*fn)(void *), oak_root_kind kind, size_t interior)
{
    if (test_skip_slow()) return;
    pthread_t t = start_holder(fn);
    expect(OAK_ROOT_GLOBAL, 3, 0);
    path_turns_global = NULL;
    expect(kind, 1, interior);
    end_holder(t);
}

#ifdef __x86_64__
/* The last of the chain is in r12, while the thread spins. */
static void *hold_in_register(void *arg)
{
    oak_thread_attach();
    __asm__ __volatile__("movq %1, %%r12\n"
                         "notq %%r12\n"
                         "movq $1, %0\n"
                         "1: pause\n"
                         "cmpq $2, %0\n"
                         "jb 1b\n"
                         "xorq %%r12, %%r12\n"
                         : "+m"(phase)
                         : "r"(hidden)
                         : "r12", "memory");
    return arg;
}

START_TEST(a_register_gives_way_to_a_global)
{
    expect_after_global(hold_in_register, OAK_ROOT_REGISTER, 0);
}
END_TEST
#endif

/* The last of the chain ends where this word points. */
static void *hold_past_end(void *arg)
{
    void *mine[4] = { NULL };
    oak_thread_attach();
    mine[1] = (char *)HIDE(hidden) + 64;
    __asm__ __volatile__("" : : "r"(mine) : "memory");
    wait_in_region(1);
    __asm__ __volatile__("" : : "r"(mine) : "memory");
    return arg;
}

START_TEST(a_word_past_the_end_gives_way_to_a_global)
{
    expect_after_global(hold_past_end, OAK_ROOT_STACK, 64);
}
END_TEST

/* On the stack and in thread-local storage, which lasts, the same first object. */
static void *hold_twice(void *arg)
{
    void *mine[4] = { NULL };
    oak_thread_attach();
    path_turns_tls = mine[1] = path_turns_global;
    path_turns_global = NULL;
    __asm__ __volatile__("" : : "r"(mine) : "memory");
    wait_in_region(1);
    path_turns_tls = NULL;
    __asm__ __volatile__("" : : "r"(mine) : "memory");
    return arg;
}

START_TEST(of_words_that_lead_to_the_same_what_lasts_is_told)
{
    pthread_t t = start_holder(hold_twice);
    expect_of(ask_away, OAK_ROOT_TLS, 3, 0);
    end_holder(t);
}
END_TEST

Suite *suite_observe_path_turns(void)
{
    Suite *s = suite_create("observe_path_turns");
    TCase *t = tcase_create("turns");
#ifdef __x86_64__
    tcase_add_test(t, a_register_gives_way_to_a_global);
#else
    test_skip(true, "registers are filled for x86-64 alone");
#endif
    tcase_add_test(t, a_word_past_the_end_gives_way_to_a_global);
    tcase_add_test(t, of_words_that_lead_to_the_same_what_lasts_is_told);
    suite_add_tcase(s, t);
    return s;
}
