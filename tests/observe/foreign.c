/* foreign.c - tests of observe/foreign.c: what holds in the namespace of Oakum's own libraries, and
 * what of it the program sees. tests/libraries has the programs that it is for. */
#include "observe/foreign.h"
#include "observe/symbol.h"
#include "tests/capture.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#ifdef HAVE_DLMOPEN
#include <error.h>
#endif
#include <fcntl.h>
#include <link.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

Suite *suite_observe_foreign(void);

#ifdef HAVE_DLMOPEN

static char why[OAKI_FOREIGN_WHY];
static void *libc;

/* A function of the namespace's C library. */
#define THEIRS(fn)                                            \
    __extension__({                                           \
        __typeof__(&fn) theirs;                               \
        *(void **)&theirs = oaki_foreign_find(libc, #fn);     \
        ck_assert_msg(theirs != NULL, "there is no %s", #fn); \
        theirs;                                               \
    })

static void start(void)
{
    test_seed("observe/foreign");
    test_heap_start(test_config());
    ck_assert_int_eq(setenv("OAKUM_TEST_LASTS", "as it was", 1), 0);
    libc = oaki_foreign_load("libc.so.6", why);
    ck_assert_msg(libc != NULL, "%s", why);
}

/* ---- apart ---- */

static int look_for(struct dl_phdr_info *info, size_t size, void *name)
{
    (void)size;
    return strstr(info->dlpi_name, name) != NULL;
}

START_TEST(the_program_does_not_see_them)
{
    Lmid_t space = LM_ID_BASE;
    void *lib = oaki_foreign_load("libdw.so.1", why);
    if (!lib) return;
    ck_assert_int_eq(dlinfo(lib, RTLD_DI_LMID, &space), 0);
    ck_assert_int_ne(space, LM_ID_BASE);
    ck_assert_int_eq(dl_iterate_phdr(look_for, "libdw"), 0);
    ck_assert_ptr_null(dlsym(RTLD_DEFAULT, "dwfl_begin"));
    ck_assert_ptr_ne(oaki_foreign_find(libc, "malloc"), dlsym(RTLD_DEFAULT, "malloc"));
}
END_TEST

START_TEST(one_that_is_missing_is_named)
{
    ck_assert_ptr_null(oaki_foreign_load("libnowhere.so.7", why));
    ck_assert_msg(strstr(why, "libnowhere.so.7") != NULL, "%s", why);
    ck_assert_ptr_null(oaki_foreign_find(libc, "no_such_function"));
    ck_assert_ptr_nonnull(oaki_foreign_load("libc.so.6", why));
}
END_TEST

START_TEST(their_errno_is_told_and_ours_left_alone)
{
    __typeof__(&access) their_access = THEIRS(access);
    errno = E2BIG;
    oaki_foreign_enter();
    ck_assert_int_eq(their_access("/no/such/file", F_OK), -1);
    ck_assert_int_eq(oaki_foreign_errno(), ENOENT);
    oaki_foreign_leave();
    ck_assert_int_eq(errno, E2BIG);
}
END_TEST

/* The host's array moves and is freed as it grows. */
START_TEST(their_environment_is_what_it_was)
{
    char name[32];
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "OAKUM_TEST_%d", i);
        ck_assert_int_eq(setenv(name, "x", 1), 0);
    }
    ck_assert_int_eq(setenv("OAKUM_TEST_LASTS", "another", 1), 0);
    oaki_foreign_enter();
    ck_assert_str_eq(THEIRS(getenv)("OAKUM_TEST_LASTS"), "as it was");
    ck_assert_ptr_null(THEIRS(getenv)("OAKUM_TEST_999"));
    oaki_foreign_leave();
}
END_TEST

/* ---- threads ---- */

static void *use_in_thread(void *arg)
{
    const unsigned short **(*table)(void) = THEIRS(__ctype_b_loc);
    oaki_foreign_enter();
    const unsigned short *of = *table();
    test_expect(of && (of['a'] & _ISalpha) && !(of['1'] & _ISalpha), __LINE__);
    oaki_foreign_leave();
    return arg;
}

START_TEST(threads_have_tables_of_characters)
{
    for (int i = 0; i < 3; i++) test_join(test_start(use_in_thread, NULL));
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
}
END_TEST

/* A key of theirs would be one of the program's. */
START_TEST(no_key_of_threads_is_to_be_had)
{
    pthread_key_t key, ours;
    ck_assert_int_eq(THEIRS(pthread_key_create)(&key, NULL), EAGAIN);
    ck_assert_int_eq(pthread_key_create(&ours, NULL), 0);
}
END_TEST

/* ---- the end of the process ---- */

static void end_by_error(void *ctx)
{
    (void)ctx;
    THEIRS(error)(3, ENOMEM, "nothing to see");
}

static void end_not(void *ctx)
{
    AO_fetch_and_add1_full(ctx);
}

static void *try_often(void *arg)
{
    AO_t ended = 0;
    (void)arg;
    for (size_t i = 0; i < test_scale(200); i++) {
        test_expect(!oaki_foreign_try(end_by_error, NULL), __LINE__);
        test_expect(oaki_foreign_try(end_not, &ended), __LINE__);
        test_expect(!oaki_fork_is_held(), __LINE__);
    }
    test_expect(ended == test_scale(200), __LINE__);
    return NULL;
}

START_TEST(what_ends_the_process_is_led_out)
{
    pthread_t id[3];
    for (size_t i = 0; i < 3; i++) id[i] = test_start(try_often, NULL);
    (void)try_often(NULL);
    for (size_t i = 0; i < 3; i++) test_join(id[i]);
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
}
END_TEST

typedef struct ending {
    const char *file, *function, *said;
    int status; /* of a call outside of a try */
} ending;

#define OVERRUN(file, function)                             \
    {                                                       \
        file, function, "again: buffer overflow\n", SIGABRT \
    }
#define ENDINGS(file)                                                              \
    { file, "ends_by_abort", "again: abort\n", SIGABRT },                          \
        { file, "ends_by_assertion", ": holds == 1\n", SIGABRT },                  \
        { file, "ends_by_exit", "again: exit(4)\n", 4 << 8 },                      \
        { file, "ends_at_once", "again: exit(5)\n", 5 << 8 },                      \
        { file, "ends_by_kill", "again: signal 10\n", SIGUSR1 },                   \
        { file, "ends_by_raise", "again: signal 8\n", SIGFPE },                    \
        { file, "ends_by_stack", "again: stack smashing\n", SIGABRT },             \
        OVERRUN(file, "overruns_by_memcpy"), OVERRUN(file, "overruns_by_strcpy"),  \
        OVERRUN(file, "overruns_by_strcat"), OVERRUN(file, "overruns_by_sprintf"), \
        OVERRUN(file, "overruns_by_vsnprintf"), OVERRUN(file, "overruns_by_fd_set")
static const ending endings[] = { ENDINGS(TEST_MODULES "/libendslazy.so"),
                                  ENDINGS(TEST_MODULES "/libendsnow.so") };

static void call_it(void *fn)
{
    ((void (*)(int))fn)(0);
}

static void *ending_function(const ending *e)
{
    void *lib = oaki_foreign_load(e->file, why);
    ck_assert_msg(lib != NULL, "%s", why);
    void *fn = oaki_foreign_find(lib, e->function);
    ck_assert_msg(fn != NULL, "there is no %s", e->function);
    return fn;
}

static void end_in_try(void *e)
{
    ck_assert(!oaki_foreign_try(call_it, ending_function(e)) && !oaki_fork_is_held());
}

static void end_outside(void *e)
{
    (void)signal(SIGFPE, SIG_DFL); /* a sanitizer has a handler */
    call_it(ending_function(e));
}

START_TEST(a_library_that_gives_up_is_led_out)
{
    ending e = endings[_i];
    char out[400];
    ck_assert_msg(test_capture(end_in_try, &e, out, sizeof out) == 0, "%s: %s", e.function, out);
    ck_assert_msg(strstr(out, e.said) != NULL, "%s: %s", e.function, out);
    int status = test_capture(end_outside, &e, out, sizeof out) & ~0x80; /* the bit of a core */
    ck_assert_msg(status == e.status, "%s: status %#x, %s", e.function, (unsigned)status, out);
    ck_assert_msg(strstr(out, e.said) != NULL, "%s: %s", e.function, out);
}
END_TEST

/* The forms that look for overruns do what the C library's do. */
START_TEST(what_does_not_overrun_is_as_it_was)
{
    const char *(*what_fits)(void);
    void *lib = oaki_foreign_load(endings[OAKI_COUNT(endings) / 2 * (size_t)_i].file, why);
    ck_assert_msg(lib != NULL, "%s", why);
    *(void **)&what_fits = oaki_foreign_find(lib, "what_fits");
    ck_assert_ptr_nonnull(what_fits);
    oaki_foreign_enter();
    const char *wrong = what_fits();
    oaki_foreign_leave();
    ck_assert_msg(!wrong, "%s", wrong);
}
END_TEST

/* ---- forks ---- */

static __typeof__(&malloc) their_malloc;

static void use_malloc(void)
{
    oaki_foreign_enter();
    void *p[16];
    for (size_t i = 0; i < OAKI_COUNT(p); i++) p[i] = their_malloc(2000 * (i + 1));
    for (size_t i = 0; i < OAKI_COUNT(p); i++) oaki_foreign_free(p[i]);
    oaki_foreign_leave();
}

static void *use_malloc_until_quit(void *arg)
{
    while (!AO_load(&test_quit)) use_malloc();
    return arg;
}

static void use_malloc_in_child(void *arg)
{
    (void)arg;
    use_malloc();
}

START_TEST(a_child_can_use_them_too)
{
    pthread_t id[2];
    their_malloc = THEIRS(malloc);
    for (size_t i = 0; i < 2; i++) id[i] = test_start(use_malloc_until_quit, NULL);
    for (size_t i = 0; i < test_scale(100) && !test_breaks_asan(); i++)
        test_child(use_malloc_in_child, NULL);
    AO_store(&test_quit, 1);
    for (size_t i = 0; i < 2; i++) test_join(id[i]);
}
END_TEST

static void *load_slowly(void *arg)
{
    return oaki_foreign_load(TEST_MODULES "/libslow.so", arg);
}

static void find_them_lost(void *arg)
{
    oak_frame f[OAKI_SYMBOL_INLINED];
    (void)arg;
    ck_assert_ptr_null(oaki_foreign_load("libdw.so.1", why));
    ck_assert_msg(strstr(why, "forked") != NULL, "%s", why);
    size_t n = oaki_symbol_of_code((uintptr_t)find_them_lost, f); /* by the file's own table */
    ck_assert_ptr_nonnull(f[n - 1].function);
    ck_assert_str_eq(f[n - 1].function, "find_them_lost");
}

/* The fork can't wait for it: nobody knows for how long that is. */
START_TEST(a_child_that_was_forked_while_one_is_loaded_does_without)
{
    int there[2], go[2];
    char text[32], c = 0, reason[OAKI_FOREIGN_WHY];
    ck_assert(pipe(there) == 0 && pipe(go) == 0);
    snprintf(text, sizeof text, "%d %d", there[1], go[0]);
    oaki_foreign_enter();
    ck_assert_int_eq(THEIRS(setenv)("OAKUM_TEST_SLOW", text, 1), 0);
    oaki_foreign_leave();
    pthread_t id = test_start(load_slowly, reason);
    ck_assert_int_eq(read(there[0], &c, 1), 1);
    test_child(find_them_lost, NULL);
    ck_assert_int_eq(write(go[1], &c, 1), 1);
    void *lib;
    ck_assert_int_eq(pthread_join(id, &lib), 0);
    ck_assert_msg(lib != NULL, "%s", reason);
    ck_assert_ptr_nonnull(oaki_foreign_load("libc.so.6", why));
}
END_TEST

/* ---- no memory ---- */

static size_t bytes_mapped(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fscanf(f, "%lu", &pages), 1);
    fclose(f);
    return pages * oaki_os_page_size();
}

static OAKI_NOINLINE uintptr_t here(void)
{
    __asm__("" : : : "memory");
    return (uintptr_t)__builtin_return_address(0) - 1;
}

/* A name at least, by the file's table if not the line; or none: but it goes on. */
static void look_up_in(void *bytes)
{
    oak_frame f[OAKI_SYMBOL_INLINED];
    struct rlimit limit = { .rlim_cur = bytes_mapped() + *(size_t *)bytes };
    limit.rlim_max = limit.rlim_cur;
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
    for (int i = 0; i < 3; i++) {
        size_t n = oaki_symbol_of_code(here(), f);
        ck_assert_uint_ge(n, 1);
        oaki_symbols_release();
    }
}

START_TEST(without_memory_names_are_missing_and_the_program_goes_on)
{
    oak_frame f[OAKI_SYMBOL_INLINED];
    if (test_skip_asan()) return; /* its shadow has no room either */
    (void)oaki_symbol_of_code(here(), f);
    oaki_symbols_release();
    for (size_t bytes = 0; bytes < 48 << 20; bytes += (bytes < 4 << 20 ? 1 : 8) << 18)
        test_child(look_up_in, &bytes);
}
END_TEST

Suite *suite_observe_foreign(void)
{
    Suite *s = suite_create("observe/foreign");
    TCase *c = tcase_create("foreign");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_set_timeout(c, 120);
    tcase_add_test(c, the_program_does_not_see_them);
    tcase_add_test(c, one_that_is_missing_is_named);
    tcase_add_test(c, their_errno_is_told_and_ours_left_alone);
    tcase_add_test(c, their_environment_is_what_it_was);
    tcase_add_test(c, threads_have_tables_of_characters);
    tcase_add_test(c, no_key_of_threads_is_to_be_had);
    tcase_add_test(c, what_ends_the_process_is_led_out);
    tcase_add_loop_test(c, a_library_that_gives_up_is_led_out, 0, OAKI_COUNT(endings));
    tcase_add_loop_test(c, what_does_not_overrun_is_as_it_was, 0, 2);
    tcase_add_test(c, a_child_can_use_them_too);
    tcase_add_test(c, a_child_that_was_forked_while_one_is_loaded_does_without);
    tcase_add_test(c, without_memory_names_are_missing_and_the_program_goes_on);
    suite_add_tcase(s, c);
    return s;
}

#else

/* A C library without namespaces: there are no such libraries, which is said. */
START_TEST(none_can_be_loaded)
{
    char why[OAKI_FOREIGN_WHY];
    test_heap_start(test_config());
    ck_assert_ptr_null(oaki_foreign_load("libdw.so.1", why));
    ck_assert_msg(strstr(why, "dlmopen") || strstr(why, "-static"), "%s", why);
}
END_TEST

Suite *suite_observe_foreign(void)
{
    Suite *s = suite_create("observe/foreign");
    TCase *c = tcase_create("foreign");
    test_skip(true, "this C library has no namespaces (dlmopen)");
    tcase_add_test(c, none_can_be_loaded);
    suite_add_tcase(s, c);
    return s;
}

#endif
