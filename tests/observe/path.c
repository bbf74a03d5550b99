/* path.c - tests of oak_why_alive: each kind of root, objects on the way, what is dead, and what is
 * no object. */
#include "files.h"
#include "maps/classic.h"
#include "tests/heap.h"
#include "tests/threads.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

Suite *suite_observe_path(void);

#define NOINLINE __attribute__((noinline))
#define HIDE(p) (~(uintptr_t)(p))

static char said[8192];
static uintptr_t hidden; /* the object that is asked about: nothing here keeps it */

static void start(void)
{
    test_heap_start(test_config());
}

/* On a thread of its own, whose stack holds nothing else: what is compared and printed stays on the
 * stack. */
static void ask_away(void *arg)
{
    oak_path *p = oak_why_alive((void *)HIDE(hidden));
    ck_assert_ptr_nonnull(p);
    ck_assert_uint_lt(oak_path_format(p, said, sizeof said), sizeof said);
    ck_assert_ptr_eq(p->object, (void *)HIDE(hidden));
    if (p->nsteps > 0) ck_assert_uint_eq(HIDE(p->steps[p->nsteps - 1].object), hidden);
    *(oak_path **)arg = p;
}

static oak_path *ask(void)
{
    oak_path *p = NULL;
    test_away(ask_away, &p);
    return p;
}

/* On a thread of its own, as a mark leaves words on the stack that the next one finds there. */
static void collect(void *arg)
{
    (void)arg;
    oak_collect();
}

/* Alive through this kind of root, by so many objects, the text holding this. */
static void expect(oak_root_kind kind, size_t length, const char *text)
{
    oak_path *p = ask();
    ck_assert_msg(p->root.kind == kind && (length == 0 || p->length == length) &&
                      strstr(said, text),
                  "wanted kind %d, %zu objects, \"%s\" in:\n%s", (int)kind, length, text, said);
    oak_path_free(p);
}

static void expect_dead(void)
{
    oak_path *p = ask();
    ck_assert_msg(p->length == 0 || p->root.caller, "still alive:\n%s", said);
    oak_path_free(p);
}

/* ---- roots ---- */

void *path_global; /* not static: the compiler may not guess its use */
static __thread void *in_tls;

/* A chain of three objects, the last at byte 16 of the one before; the first is returned. */
static void make_chain(void *arg)
{
    void **a = oak_alloc(64), **b = oak_alloc(48), **c = oak_alloc(32);
    a[1] = b;
    b[2] = c;
    hidden = HIDE(c);
    *(void **)arg = a;
}

/* On a thread of its own, as a comparison leaves what it compares on the stack. */
static void check_chain(void *arg)
{
    const oak_path *p = arg;
    ck_assert_uint_eq(p->steps[1].offset, 8);
    ck_assert_uint_eq(p->steps[2].offset, 16);
    ck_assert_uint_eq(p->steps[2].size, 32);
    ck_assert_ptr_eq(p->root.address, &path_global);
    ck_assert_ptr_eq(p->root.value, path_global);
}

START_TEST(a_global_is_named)
{
    start();
    test_away(make_chain, &path_global);
    expect(OAK_ROOT_GLOBAL, 3, "global `path_global`");
    oak_path *p = ask();
    test_away(check_chain, p);
    oak_path_free(p);
    path_global = NULL;
    expect_dead();
}
END_TEST

START_TEST(a_registered_range_is_told)
{
    start();
    void **range = calloc(64, sizeof *range);
    ck_assert_int_eq(oak_root_add(range, 64 * sizeof *range), 0);
    test_away(make_chain, &range[33]);
    expect(OAK_ROOT_RANGE, 3, "registered range");
    oak_path *p = ask();
    ck_assert_ptr_eq(p->root.address, &range[33]);
    oak_path_free(p);
    ck_assert_int_eq(oak_root_remove(range, 64 * sizeof *range), 0);
    expect_dead();
    free(range);
}
END_TEST

static AO_t phase;

static void *hold_in_tls(void *arg)
{
    oak_thread_attach();
    test_away(make_chain, &in_tls);
    pthread_setname_np(pthread_self(), "tls-holder");
    AO_store_release(&phase, 1);
    oak_blocking_enter();
    test_wait(&phase, 2);
    oak_blocking_leave();
    in_tls = NULL;
    AO_store_release(&phase, 3);
    oak_blocking_enter();
    test_wait(&phase, 4);
    oak_blocking_leave();
    return arg;
}

START_TEST(a_thread_local_variable_is_named)
{
    start();
    pthread_t t = test_start(hold_in_tls, NULL);
    test_wait(&phase, 1);
    expect(OAK_ROOT_TLS, 3, "thread-local `in_tls`");
    ck_assert_msg(strstr(said, "(tls-holder)"), "%s", said);
    AO_store_release(&phase, 2);
    test_wait(&phase, 3);
    AO_store_release(&phase, 4);
    test_join(t);
    expect_dead();
}
END_TEST

NOINLINE void path_frame_that_holds(void)
{
    void *mine[4] = { NULL };
    test_away(make_chain, &mine[1]);
    __asm__ __volatile__("" : : "r"(mine) : "memory");
    AO_store_release(&phase, 1);
    oak_blocking_enter();
    test_wait(&phase, 2);
    oak_blocking_leave();
    __asm__ __volatile__("" : : "r"(mine) : "memory");
}

static void *hold_on_stack(void *arg)
{
    oak_thread_attach();
    pthread_setname_np(pthread_self(), "stack-holder");
    path_frame_that_holds();
    return arg;
}

START_TEST(a_stack_is_told_with_its_thread_and_frame)
{
    start();
    pthread_t t = test_start(hold_on_stack, NULL);
    test_wait(&phase, 1);
    /* a sanitizer's frames are full of relics */
    expect(OAK_ROOT_STACK, 0, test_slow() ? "(stack-holder)"
                                          : "(stack-holder) in path_frame_that_holds()");
    AO_store_release(&phase, 2);
    test_join(t);
    expect_dead();
}
END_TEST

#ifdef __x86_64__
static void make_one(void *arg)
{
    *(uintptr_t *)arg = hidden = HIDE(oak_alloc(64));
}

/* The only copy is in r12, while the thread spins. */
static void *spin_with_register(void *arg)
{
    uintptr_t inverted;
    oak_thread_attach();
    test_away(make_one, &inverted);
    __asm__ __volatile__("movq %0, %%r12\n"
                         "notq %%r12\n"
                         "movq $1, %1\n"
                         "1: pause\n"
                         "cmpq $2, %1\n"
                         "jb 1b\n"
                         "xorq %%r12, %%r12\n"
                         : "+r"(inverted), "+m"(phase)
                         :
                         : "r12", "memory");
    return arg;
}

START_TEST(a_register_is_named)
{
    if (test_skip_slow()) return;
    start();
    pthread_t t = test_start(spin_with_register, NULL);
    test_wait(&phase, 1);
    expect(OAK_ROOT_REGISTER, 1, "register r12 of thread");
    AO_store_release(&phase, 2);
    test_join(t);
    expect_dead();
}
END_TEST
#endif

static void make_pinned(void *arg)
{
    void **p = oak_alloc_pinned(64);
    p[3] = oak_alloc(32);
    hidden = HIDE(p[3]);
    *(uintptr_t *)arg = HIDE(p);
}

START_TEST(a_pinned_object_is_a_root)
{
    start();
    uintptr_t pinned;
    test_away(make_pinned, &pinned);
    expect(OAK_ROOT_PINNED, 2, "pinned object");
    oak_free((void *)HIDE(pinned));
    expect_dead();
}
END_TEST

static void run_finalizers(void *arg)
{
    (void)arg;
    oak_finalizers_run();
}

void path_finalize(void *obj, void *ctx);
void path_finalize(void *obj, void *ctx) { (void)obj, (void)ctx; }
void path_clean(void *ctx);
void path_clean(void *ctx) { (void)ctx; }

static void make_context(void *arg)
{
    void **p = oak_alloc(64), **ctx = oak_alloc(32);
    ctx[0] = oak_alloc(48);
    hidden = HIDE(ctx[0]);
    *(void **)arg = p;
    ck_assert_int_eq(oak_cleanup_add(p, path_clean, ctx), 0);
}

START_TEST(a_cleanup_keeps_its_context)
{
    start();
    test_away(make_context, &path_global);
    expect(OAK_ROOT_CLEANUP, 2, "context of cleanup path_clean()");
    path_global = NULL;
    test_away(collect, NULL);
    test_away(run_finalizers, NULL);
    expect_dead();
}
END_TEST

static void make_cycle(void *arg)
{
    void **a = oak_alloc(64), **b = oak_alloc(64);
    a[0] = b;
    b[0] = a;
    b[1] = oak_alloc(32);
    hidden = HIDE(b[1]);
    ck_assert_int_eq(oak_finalizer_set(a, path_finalize, NULL), 0);
    (void)arg;
}

START_TEST(what_waits_for_a_finalizer_that_cannot_run_is_told)
{
    start();
    test_away(make_cycle, NULL);
    test_away(collect, NULL);
    test_away(collect, NULL);
    expect(OAK_ROOT_WAITING, 3, "kept until finalizer path_finalize() has run");
}
END_TEST

/* Two paths: a short one from what waits for ever, as it reaches itself, and one by *arg. */
static void make_cycle_and_chain(void *arg)
{
    void **waits = oak_alloc(64), **first = oak_alloc(32), **p = first;
    for (int i = 0; i < 3; i++) p = p[1] = oak_alloc(32);
    waits[0] = waits;
    waits[1] = p;
    hidden = HIDE(p);
    ck_assert_int_eq(oak_finalizer_set(waits, path_finalize, NULL), 0);
    *(void **)arg = first;
}

/* The turns are the same. On a thread of its own, as it leaves words of the heap in registers. */
static void look_in_snapshot(void *path)
{
    oak_snapshot *s = test_snapshot();
    *(oak_path **)path = oak_snapshot_why(s, HIDE(hidden));
    oak_snapshot_close(s);
}

START_TEST(what_waits_is_told_only_when_nothing_else_keeps_it)
{
    oak_path *p = NULL;
    start();
    test_away(make_cycle_and_chain, &path_global);
    test_away(look_in_snapshot, &p);
    ck_assert_ptr_nonnull(p);
    ck_assert_int_eq(p->root.kind, OAK_ROOT_GLOBAL);
    ck_assert_uint_eq(p->length, 4);
    oak_path_free(p);
    expect(OAK_ROOT_GLOBAL, 4, "global `path_global`");
    path_global = NULL;
    expect(OAK_ROOT_WAITING, 2, "path_finalize");
}
END_TEST

/* Also after what the calling thread holds. */
static void hold_and_ask(void *arg)
{
    void *mine[2] = { NULL };
    test_away(make_cycle_and_chain, &mine[1]);
    __asm__ __volatile__("" : : "r"(mine) : "memory");
    *(oak_path **)arg = oak_why_alive((void *)HIDE(hidden));
    __asm__ __volatile__("" : : "r"(mine) : "memory");
}

START_TEST(what_waits_comes_after_the_callers_words)
{
    oak_path *p;
    start();
    test_away(hold_and_ask, &p);
    ck_assert_ptr_nonnull(p);
    ck_assert_int_eq(p->root.kind, OAK_ROOT_STACK);
    ck_assert(p->root.caller);
    ck_assert_uint_le(p->length, 4); /* a relic may be nearer */
    oak_path_free(p);
}
END_TEST

static void make_ready(void *arg)
{
    void **a = oak_alloc(64);
    a[1] = oak_alloc(32);
    hidden = HIDE(a[1]);
    ck_assert_int_eq(oak_finalizer_set(a, path_finalize, NULL), 0);
    (void)arg;
}

START_TEST(a_finalizer_that_is_due_keeps_its_object)
{
    start();
    test_away(make_ready, NULL);
    expect(OAK_ROOT_WAITING, 2, "path_finalize");
    test_away(collect, NULL);
    expect(OAK_ROOT_FINALIZER, 2, "finalizer path_finalize()");
    test_away(run_finalizers, NULL);
    expect_dead();
}
END_TEST

static void make_fiber(void *arg)
{
    size_t size = 64 << 10;
    char *stack = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(stack, MAP_FAILED);
    *(void **)arg = oak_fiber_new(stack, size, NULL);
    void **word = (void **)(void *)(stack + size - 512);
    *word = oak_alloc(32);
    hidden = HIDE(*word);
}

START_TEST(a_parked_fibers_stack_is_on_the_way)
{
    start();
    test_away(make_fiber, &path_global);
    expect(OAK_ROOT_GLOBAL, 2, "stack of the fiber");
    ck_assert_msg(strstr(said, "oak_fiber"), "%s", said);
    path_global = NULL;
    expect_dead();
}
END_TEST

/* ---- objects on the way ---- */

static void make_interior(void *arg)
{
    char **a = oak_alloc(64);
    char *b = oak_alloc(1000);
    a[0] = b + 500;
    hidden = HIDE(b);
    *(void **)arg = a;
}

START_TEST(an_interior_pointer_is_told)
{
    start();
    test_away(make_interior, &path_global);
    expect(OAK_ROOT_GLOBAL, 2, "interior +500");
    hidden = HIDE((char *)HIDE(hidden)); /* the object itself, asked for by its middle */
    oak_path *p = oak_why_alive((char *)HIDE(hidden) + 700);
    ck_assert_ptr_nonnull(p);
    ck_assert_uint_eq(HIDE(p->object), hidden);
    oak_path_free(p);
    path_global = NULL;
}
END_TEST

typedef struct pair {
    void *a, *b;
    uint64_t number;
} pair;

static void make_typed(void *arg)
{
    static const uint64_t bits[] = { 2 };
    const oak_type *t = oak_type_bitmap("a pair", sizeof(pair), bits);
    pair *p = oak_alloc_typed(t, 3);
    p[2].b = oak_alloc(32);
    hidden = HIDE(p[2].b);
    *(void **)arg = p;
}

START_TEST(types_and_fields_are_told)
{
    start();
    test_away(make_typed, &path_global);
    expect(OAK_ROOT_GLOBAL, 2, "a pair");
    oak_path *p = ask();
    ck_assert_uint_eq(p->steps[1].offset, 2 * sizeof(pair) + offsetof(pair, b));
    oak_path_free(p);
    path_global = NULL;
}
END_TEST

static void make_ephemeron(void *arg)
{
    void **top = oak_alloc(64), *key = oak_alloc(32), *value = oak_alloc(48);
    top[0] = key;
    top[1] = oak_ephemeron_new(key, value);
    hidden = HIDE(value);
    *(void **)arg = top;
}

START_TEST(an_ephemeron_is_told_while_its_key_lives)
{
    start();
    test_away(make_ephemeron, &path_global);
    expect(OAK_ROOT_GLOBAL, 3, "ephemeron");
    ((void **)path_global)[0] = NULL;
    expect_dead();
    path_global = NULL;
}
END_TEST

static void make_list(void *arg)
{
    void **head = NULL;
    for (int i = 0; i < 1000; i++) {
        void **p = oak_alloc(32);
        if (i == 0) hidden = HIDE(p);
        p[0] = head;
        head = p;
    }
    *(void **)arg = head;
}

START_TEST(of_a_long_path_both_ends_are_told)
{
    start();
    test_away(make_list, &path_global);
    oak_path *p = ask();
    ck_assert_uint_eq(p->length, 1000);
    ck_assert_uint_eq(p->nsteps, OAK_PATH_STEPS);
    ck_assert_ptr_eq(p->steps[0].object, path_global);
    ck_assert_uint_eq(HIDE(p->steps[p->nsteps - 1].object), hidden);
    ck_assert_ptr_nonnull(strstr(said, "... 872 more ..."));
    oak_path_free(p);
    path_global = NULL;
}
END_TEST

/* ---- what is none, and words ---- */

START_TEST(what_is_no_object_is_refused)
{
    int local;
    start();
    char *p = oak_alloc(40);
    const void *none[] = { NULL, &local, &path_global, (void *)1, p + ((size_t)1 << 30),
                           (void *)UINTPTR_MAX };
    for (size_t i = 0; i < OAKI_COUNT(none); i++) {
        errno = 0;
        ck_assert_ptr_null(oak_why_alive(none[i]));
        ck_assert_int_eq(errno, EINVAL);
    }
    oak_free(p);
    errno = 0;
    ck_assert_ptr_null(oak_why_alive(p));
    ck_assert_int_eq(errno, EINVAL);
}
END_TEST

START_TEST(what_only_the_caller_holds_is_told_as_such)
{
    start();
    void *p = oak_alloc(64);
    oak_path *path = oak_why_alive(p);
    ck_assert_ptr_nonnull(path);
    ck_assert(path->length == 0 || path->root.caller);
    oak_path_free(path);
    ck_assert_uint_eq(oak_usable_size(p), 64);
}
END_TEST

START_TEST(a_path_is_written_whole_or_fails)
{
    int ends[2];
    char text[8192];
    start();
    test_away(make_chain, &path_global);
    oak_path *p = ask();
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(oak_path_write(p, ends[1]), 0);
    ssize_t n = read(ends[0], text, sizeof text - 1);
    ck_assert_int_gt(n, 0);
    text[n] = '\0';
    ck_assert_str_eq(text, said);
    close(ends[0]);
    ck_assert_int_eq(oak_path_write(p, ends[1]), -1);
    ck_assert_int_eq(errno, EPIPE);
    close(ends[1]);
    char small[20];
    ck_assert_uint_eq(oak_path_format(p, small, sizeof small), strlen(said));
    ck_assert_uint_eq(strlen(small), sizeof small - 1);
    oak_path_free(p);
    oak_path_free(NULL);
}
END_TEST

Suite *suite_observe_path(void)
{
    Suite *s = suite_create("observe_path");
    TCase *t = tcase_create("roots");
    tcase_add_test(t, a_global_is_named);
    tcase_add_test(t, a_registered_range_is_told);
    tcase_add_test(t, a_thread_local_variable_is_named);
    tcase_add_test(t, a_stack_is_told_with_its_thread_and_frame);
#ifdef __x86_64__
    tcase_add_test(t, a_register_is_named);
#else
    test_skip(true, "registers are filled for x86-64 alone");
#endif
    tcase_add_test(t, a_pinned_object_is_a_root);
    tcase_add_test(t, a_cleanup_keeps_its_context);
    tcase_add_test(t, what_waits_for_a_finalizer_that_cannot_run_is_told);
    tcase_add_test(t, what_waits_is_told_only_when_nothing_else_keeps_it);
    tcase_add_test(t, what_waits_comes_after_the_callers_words);
    tcase_add_test(t, a_finalizer_that_is_due_keeps_its_object);
    tcase_add_test(t, a_parked_fibers_stack_is_on_the_way);
    suite_add_tcase(s, t);
    t = tcase_create("way");
    tcase_add_test(t, an_interior_pointer_is_told);
    tcase_add_test(t, types_and_fields_are_told);
    tcase_add_test(t, an_ephemeron_is_told_while_its_key_lives);
    tcase_add_test(t, of_a_long_path_both_ends_are_told);
    suite_add_tcase(s, t);
    t = tcase_create("words");
    tcase_add_test(t, what_is_no_object_is_refused);
    tcase_add_test(t, what_only_the_caller_holds_is_told_as_such);
    tcase_add_test(t, a_path_is_written_whole_or_fails);
    suite_add_tcase(s, t);
    return s;
}
