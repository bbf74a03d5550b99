/* roots_tls.c - what only thread-local storage refers to: static, of a library loaded later, in a
 * block of its own or in the rest of the static block, and what pthread_setspecific holds; of the
 * first thread and of another. */
#include "roots_support.h"

#include <check.h>
#include <dlfcn.h>
#include <oakum/oakum.h>
#include <pthread.h>

Suite *suite_gc_roots_tls(void);

#define FIXED 4
#define KEYS 16

static roots_group group;
static __thread void *in_static[ROOTS_N];

/* ---- places: where this thread keeps `n` addresses ---- */

typedef struct place {
    void (*prepare)(void);
    void (*store)(void **slots); /* NULLs to forget */
    size_t n;
} place;

static void nothing(void) {}

static void copy(void **to, void **slots, size_t n)
{
    for (size_t i = 0; i < n; i++) to[i] = slots[i];
    __asm__ __volatile__("" ::"r"(to) : "memory");
}

static void store_static(void **slots)
{
    copy(in_static, slots, ROOTS_N);
}

static void **(*dynamic_slots)(void);
static void **(*fixed_slots)(void);
static void *library;

static void *load(const char *path, const char *symbol)
{
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    void *p = library ? dlsym(library, symbol) : NULL;
    if (!p) ck_abort_msg("%s", dlerror());
    return p;
}

static void load_dynamic(void)
{
    *(void **)&dynamic_slots = load(TEST_MODULES "/libtls.so", "libtls_slots");
}

static void load_fixed(void)
{
    *(void **)&fixed_slots = load(TEST_MODULES "/libtlsfixed.so", "libtlsfixed_slots");
}

static void store_dynamic(void **slots)
{
    copy(dynamic_slots() + 500, slots, ROOTS_N);
}

static void store_fixed(void **slots)
{
    copy(fixed_slots(), slots, FIXED);
}

static pthread_key_t key[KEYS];

static void make_keys(void)
{
    for (size_t i = 0; i < KEYS; i++) ck_assert_int_eq(pthread_key_create(&key[i], NULL), 0);
}

static void store_specific(void **slots)
{
    for (size_t i = 0; i < KEYS; i++) pthread_setspecific(key[i], slots[i]);
}

static const place places[] = {
    { nothing, store_static, ROOTS_N },
    { load_dynamic, store_dynamic, ROOTS_N },
    { load_fixed, store_fixed, FIXED },
    { make_keys, store_specific, KEYS },
};

/* ---- the tests ---- */

static const place *in;
static roots_step step, forgotten;

static __attribute__((noinline)) void reveal_in_place(void)
{
    void *slots[ROOTS_N];
    roots_reveal(&group, slots, 0);
    in->store(slots);
    roots_forget(slots);
}

static __attribute__((noinline)) void forget_in_place(void)
{
    void *slots[ROOTS_N] = { NULL };
    in->store(slots);
}

static void begin(int i)
{
    roots_start();
    roots_collect();
    in = &places[i];
    in->prepare();
    roots_make(&group, 48);
}

static void assert_n_kept(size_t alive)
{
    ck_assert_uint_ge(alive, in->n);
    ck_assert_uint_le(alive, in->n + (in->n == ROOTS_N ? 0 : ROOTS_LUCK));
}

START_TEST(of_the_first_thread)
{
    begin(_i);
    reveal_in_place();
    assert_n_kept(roots_alive(&group));
    assert_n_kept(roots_alive_elsewhere(&group));
    forget_in_place();
    roots_assert_gone(roots_alive(&group));
}
END_TEST

static void *run(void *unused)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    reveal_in_place();
    roots_clean();
    roots_arrive(&step);
    forget_in_place();
    roots_clean();
    roots_arrive(&forgotten);
    return unused;
}

START_TEST(of_another_thread)
{
    pthread_t t;
    begin(_i);
    ck_assert_int_eq(pthread_create(&t, NULL, run, NULL), 0);
    roots_await(&step);
    assert_n_kept(roots_alive(&group));
    roots_let_go(&step);
    roots_await(&forgotten);
    roots_assert_gone(roots_alive(&group));
    roots_let_go(&forgotten);
    pthread_join(t, NULL);
}
END_TEST

static void *end_with_all(void *unused)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    reveal_in_place();
    return unused;
}

START_TEST(of_a_thread_that_has_ended_is_none)
{
    pthread_t t;
    begin(_i);
    ck_assert_int_eq(pthread_create(&t, NULL, end_with_all, NULL), 0);
    pthread_join(t, NULL);
    roots_assert_gone(roots_alive(&group));
}
END_TEST

START_TEST(of_a_library_that_has_been_unloaded_is_none)
{
    begin(1);
    reveal_in_place();
    assert_n_kept(roots_alive(&group));
    ck_assert_int_eq(dlclose(library), 0);
    roots_assert_gone(roots_alive(&group));
    load_dynamic(); /* under the same number, in the same thread */
    reveal_in_place();
    roots_clean();
    roots_make(&group, 48);
    reveal_in_place();
    assert_n_kept(roots_alive(&group));
}
END_TEST

Suite *suite_gc_roots_tls(void)
{
    Suite *s = suite_create("gc/roots_tls");
    TCase *c = tcase_create("tls");
    tcase_add_loop_test(c, of_the_first_thread, 0, 4);
    tcase_add_loop_test(c, of_another_thread, 0, 4);
    tcase_add_loop_test(c, of_a_thread_that_has_ended_is_none, 0, 4);
    tcase_add_test(c, of_a_library_that_has_been_unloaded_is_none);
    suite_add_tcase(s, c);
    return s;
}
