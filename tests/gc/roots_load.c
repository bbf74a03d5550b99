/* roots_load.c - libraries are loaded and unloaded while others allocate and collect: nothing that
 * is in use goes, and no collection trips over what is being unloaded. */
#include "roots_support.h"

#include <atomic_ops.h>
#include <check.h>
#include <dlfcn.h>
#include <link.h>
#include <oakum/oakum.h>
#include <pthread.h>
#include <stdlib.h>

Suite *suite_gc_roots_load(void);

#define LOADS 300
#define CALLS 20
#define LIST 200

static unsigned over; /* AO_int */

typedef struct cell {
    struct cell *next;
    uintptr_t value;
} cell;

static cell *make_list(uintptr_t seed)
{
    cell *head = NULL;
    for (uintptr_t i = 0; i < LIST; i++) {
        cell *c = oak_alloc(sizeof *c);
        if (!c) ck_abort_msg("out of memory");
        *c = (cell){ head, seed + i };
        head = c;
    }
    return head;
}

static void check_list(const cell *c, uintptr_t seed)
{
    uintptr_t i = LIST;
    for (; c && c->value == seed + i - 1; c = c->next) i--;
    if (c || i > 0) ck_abort_msg("%zu cells of a list in use are gone", (size_t)i);
}

static void *allocate(void *arg)
{
    for (uintptr_t seed = (uintptr_t)arg; !AO_int_load(&over); seed += LIST)
        check_list(make_list(seed), seed);
    return NULL;
}

static void *collect(void *arg)
{
    while (!AO_int_load(&over)) oak_collect();
    return arg;
}

static void *open_library(const char *path)
{
    void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!lib) ck_abort_msg("%s", dlerror());
    return lib;
}

/* What refers to the list is in the library alone. */
static __attribute__((noinline)) void put(void **where, uintptr_t seed)
{
    *where = make_list(seed);
}

static void *load_and_use(void *arg)
{
    for (uintptr_t i = 0; i < LOADS; i++) {
        void *data = open_library(TEST_MODULES "/libdata.so");
        void *tls = open_library(TEST_MODULES "/libtls.so");
        void **(*slots)(void);
        void **bss = dlsym(data, "libdata_bss");
        *(void **)&slots = dlsym(tls, "libtls_slots");
        put(&bss[i % 64], i);
        put(&slots()[i], i + LIST);
        check_list(make_list(0), 0);
        check_list(bss[i % 64], i);
        check_list(slots()[i], i + LIST);
        dlclose(i % 2 ? data : tls);
        dlclose(i % 2 ? tls : data);
    }
    return arg;
}

/* A thread that Oakum doesn't know isn't stopped. */
static void *load_only(void *arg)
{
    for (int i = 0; i < LOADS; i++) dlclose(open_library(TEST_MODULES "/libdata.so"));
    return arg;
}

static void run(void *(*loader)(void *))
{
    pthread_t t[4];
    ck_assert_int_eq(oak_init(NULL), 0);
    ck_assert_int_eq(oak_thread_attach(), 0);
    ck_assert_int_eq(pthread_create(&t[0], NULL, allocate, (void *)1), 0);
    ck_assert_int_eq(pthread_create(&t[1], NULL, allocate, (void *)1000000), 0);
    ck_assert_int_eq(pthread_create(&t[2], NULL, collect, NULL), 0);
    ck_assert_int_eq(pthread_create(&t[3], NULL, loader, NULL), 0);
    pthread_join(t[3], NULL);
    AO_int_store(&over, 1);
    for (int i = 0; i < 3; i++) pthread_join(t[i], NULL);
}

START_TEST(what_a_library_refers_to_lives_while_libraries_come_and_go)
{
    run(load_and_use);
}
END_TEST

START_TEST(a_thread_that_is_not_attached_may_load_and_unload)
{
    run(load_only);
}
END_TEST

/* ---- in a callback of dl_iterate_phdr, which holds a lock of the loader ---- */

static int collect_in_callback(struct dl_phdr_info *info, size_t size, void *ctx)
{
    (void)info;
    (void)size;
    cell *c = make_list(7);
    oak_collect();
    check_list(c, 7);
    ++*(int *)ctx;
    return 1;
}

/* Each collection asks the loader, as there is a library with TLS of its own. With twice=1 each
 * call takes a second: the cycle that it waits for waits for the loader's lock, which it holds. */
START_TEST(a_callback_of_the_loaders_may_collect)
{
    pthread_t other[2];
    int calls = 0;
    ck_assert_int_eq(oak_init(NULL), 0);
    ck_assert_int_eq(oak_thread_attach(), 0);
    ck_assert_ptr_nonnull(dlopen(TEST_MODULES "/libtls.so", RTLD_NOW | RTLD_LOCAL));
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&other[i], NULL, collect, NULL), 0);
    for (int i = 0; i < CALLS; i++) dl_iterate_phdr(collect_in_callback, &calls);
    AO_int_store(&over, 1);
    for (int i = 0; i < 2; i++) pthread_join(other[i], NULL);
    ck_assert_int_eq(calls, CALLS);
}
END_TEST

Suite *suite_gc_roots_load(void)
{
    Suite *s = suite_create("gc/roots_load");
    TCase *c = tcase_create("load");
    tcase_add_test(c, what_a_library_refers_to_lives_while_libraries_come_and_go);
    tcase_add_test(c, a_thread_that_is_not_attached_may_load_and_unload);
    tcase_add_test(c, a_callback_of_the_loaders_may_collect);
    suite_add_tcase(s, c);
    return s;
}
