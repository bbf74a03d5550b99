/* shield.c - tests of observe/shield.c: what a call that is lost takes with it, and what of it the
 * program sees. */
#include "apart.h"
#include "observe/foreign.h"
#include "runtime/os.h"
#include "tests/capture.h"
#include "tests/heap.h"
#include "tests/refuse.h"
#include "tests/threads.h"

#include <check.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

Suite *suite_observe_shield(void);

#define LONG UINT64_C(100000000000) /* more than any of these calls lasts */

static oaki_shield_loss loss;
static AO_t seen;

static oaki_shield call(void (*fn)(void *ctx), void *ctx)
{
    return oaki_shield_call(fn, ctx, LONG, &loss);
}

/* ---- a call ---- */

static void open_one(void *out)
{
    char deep[OAKI_SHIELD_STACK / 2];
    memset(deep, 1, sizeof deep);
    __asm__("" : : "r"(deep) : "memory");
    *(int *)out = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    errno = E2BIG;
}

START_TEST(it_shares_memory_and_descriptors)
{
    for (int i = 0; i < 20; i++) {
        int fd = -1;
        errno = EILSEQ;
        ck_assert_int_eq(call(open_one, &fd), OAKI_SHIELD_OVER);
        ck_assert_int_eq(errno, EILSEQ);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
        close(fd);
        oaki_shield_rest();
    }
}
END_TEST

static void count_child(int sig)
{
    (void)sig;
    AO_fetch_and_add1(&seen);
}

START_TEST(the_program_sees_no_child)
{
    int fd;
    (void)signal(SIGCHLD, count_child);
    ck_assert_int_eq(call(open_one, &fd), OAKI_SHIELD_OVER);
    close(fd);
    ck_assert_int_eq(waitpid(-1, NULL, __WALL), -1);
    ck_assert_int_eq(errno, ECHILD);
    ck_assert_uint_eq(AO_load(&seen), 0);
}
END_TEST

/* ---- a call that is lost ---- */

static void read_nowhere(void *ctx)
{
    AO_t *nowhere = (AO_t *)sizeof(AO_t);
    (void)ctx;
    __asm__("" : "+r"(nowhere));
    (void)AO_load(nowhere);
}

static void read_behind_a_file(void *ctx)
{
    size_t page = oaki_os_page_size();
    int fd = memfd_create("cut", MFD_CLOEXEC);
    (void)ctx;
    if (fd < 0 || ftruncate(fd, (off_t)page) != 0) return;
    unsigned char *p = mmap(NULL, page, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED || ftruncate(fd, 0) != 0) return;
    (void)AO_char_load(p);
}

static void divide(void *zero)
{
    int by = *(int *)zero;
    __asm__("" : "+r"(by));
    *(int *)zero = 100 / by;
}

static void trap(void *ctx)
{
    (void)ctx;
    __builtin_trap();
}

static void abort_it(void *ctx)
{
    (void)ctx;
    abort();
}

static OAKI_NOINLINE size_t deep(const char *above)
{
    char here[4096];
    here[0] = above[0];
    __asm__("" : : "r"(here) : "memory");
    return above ? deep(here) + (size_t)here[0] : 0;
}

static void overflow(void *ctx)
{
    (void)ctx;
    (void)!deep("");
}

static const struct {
    void (*fn)(void *ctx);
    int signals[2];
} faults[] = {
    { read_nowhere, { SIGSEGV, SIGSEGV } },
    { read_behind_a_file, { SIGBUS, SIGBUS } },
#ifdef __x86_64__ /* elsewhere it gives 0 */
    { divide, { SIGFPE, SIGFPE } },
#endif
    { trap, { SIGILL, SIGTRAP } },
    { abort_it, { SIGABRT, SIGSEGV } },
    { overflow, { SIGSEGV, SIGSEGV } },
};

/* The program's handlers are not called. */
START_TEST(a_fault_ends_the_call_alone)
{
    int zero = 0, fd;
    for (int sig = 1; sig < 32; sig++)
        if (sig != SIGKILL && sig != SIGSTOP) (void)signal(sig, count_child);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(call(faults[_i].fn, &zero), OAKI_SHIELD_LOST);
        ck_assert_msg(loss.signal == faults[_i].signals[0] || loss.signal == faults[_i].signals[1],
                      "signal %d", loss.signal);
        ck_assert_int_eq(call(open_one, &fd), OAKI_SHIELD_OVER);
        close(fd);
    }
    ck_assert_uint_eq(AO_load(&seen), 0);
    ck_assert_int_eq(waitpid(-1, NULL, __WALL), -1);
}
END_TEST

static void wait_for_ever(void *ctx)
{
    (void)ctx;
    for (;;) pause();
}

START_TEST(a_call_that_waits_for_ever_is_ended)
{
    uint64_t begun = oaki_os_now_ns();
    ck_assert_int_eq(oaki_shield_call(wait_for_ever, NULL, 300000000, &loss), OAKI_SHIELD_LOST);
    ck_assert_int_eq(loss.signal, SIGXCPU);
    ck_assert_uint_ge(oaki_os_now_ns() - begun, 300000000);
}
END_TEST

static void end_it(void *ctx)
{
    (void)ctx;
    kill(getpid(), SIGKILL);
}

START_TEST(a_call_that_somebody_ends_is_lost)
{
    ck_assert_int_eq(call(end_it, NULL), OAKI_SHIELD_LOST);
    ck_assert_int_eq(loss.signal, SIGKILL);
}
END_TEST

static void no_room(void *unused)
{
    struct rlimit limit = { 1 << 20, 1 << 20 };
    (void)unused;
    test_expect(setrlimit(RLIMIT_AS, &limit) == 0, __LINE__);
    test_expect(call(read_nowhere, NULL) == OAKI_SHIELD_REFUSED, __LINE__);
    if (AO_load(&test_wrong)) _exit(1);
}

START_TEST(without_memory_there_is_no_call)
{
    test_child(no_room, NULL);
}
END_TEST

static void ask_own_group(void *group)
{
    *(long *)group = syscall(SYS_getpgid, 0);
}

/* The tracer lets each call pass that the filter asks about. */
START_TEST(a_tracer_is_asked_about_its_system_calls)
{
    pid_t pid = fork();
    if (pid == 0) {
        long group = 0;
        if (ptrace(PTRACE_TRACEME, 0, 0, 0) != 0 || raise(SIGSTOP) != 0) _exit(2);
        test_filter_call(SYS_getpgid, SECCOMP_RET_TRACE, 0);
        _exit(call(ask_own_group, &group) != OAKI_SHIELD_OVER || group != getpgrp());
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSTOPPED(status));
    long options = PTRACE_O_EXITKILL | PTRACE_O_TRACESECCOMP;
    ck_assert_int_eq(ptrace(PTRACE_SETOPTIONS, pid, 0, options), 0);
    while (WIFSTOPPED(status)) {
        ck_assert_int_eq(ptrace(PTRACE_CONT, pid, 0, 0), 0);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    }
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", status);
}
END_TEST

/* ---- the calling thread ---- */

static AO_t calls;

static void wait_for_go(void *go)
{
    AO_store(&calls, 1);
    while (!AO_load_acquire((AO_t *)go)) oaki_os_sleep_ns(1000000);
}

static AO_t go;

static void *caller(void *unused)
{
    oaki_shield_loss l;
    void *p = oak_alloc(100);
    test_expect(oaki_shield_call(wait_for_go, &go, LONG, &l) == OAKI_SHIELD_OVER, __LINE__);
    OAKI_HOLD(p);
    return unused;
}

/* It takes the signals that a stop of the world, or the program, sends to it. */
START_TEST(its_thread_stops_with_the_world_and_takes_signals)
{
    (void)signal(SIGUSR2, count_child);
    pthread_t id = test_start(caller, NULL);
    while (!AO_load(&calls)) oaki_os_yield();
    for (int i = 0; i < 20; i++) oak_collect();
    ck_assert_int_eq(pthread_kill(id, SIGUSR2), 0);
    while (!AO_load(&seen)) oaki_os_yield();
    AO_store_release(&go, 1);
    test_join(id);
    ck_assert_uint_eq(AO_load(&seen), 1);
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
}
END_TEST

/* ---- libraries of the namespace ---- */

#ifdef HAVE_DLMOPEN

static void fault_in_try(void *fn)
{
    ck_assert_int_eq(oaki_foreign_try_shielded(fn, NULL), OAKI_FOREIGN_LEFT);
}

static void use_nothing(void *ctx)
{
    AO_store((AO_t *)ctx, 1);
}

static bool libraries_are_called(void)
{
    AO_t called = 0;
    bool over = oaki_foreign_try(use_nothing, &called);
    ck_assert_int_eq(over, called != 0);
    return over;
}

static void *libc;

static void free_amiss(void *ctx)
{
    __typeof__(&free) theirs;
    (void)ctx;
    *(void **)&theirs = dlsym(libc, "free");
    char *p = oaki_foreign_copy("what is freed is not what was allocated");
    theirs(p + 8);
}

/* After a fault they are called still, unless their malloc is damaged. */
START_TEST(a_library_is_lost_by_a_fault)
{
    char why[OAKI_FOREIGN_WHY], out[400];
    libc = oaki_foreign_load("libc.so.6", why);
    ck_assert_msg(libc != NULL, "%s", why);
    ck_assert(libraries_are_called());
    ck_assert_int_eq(test_capture(fault_in_try, (void *)read_nowhere, out, sizeof out), 0);
    ck_assert_msg(strstr(out, "is not called again: signal 11\n") != NULL, "%s", out);
    fault_in_try((void *)read_nowhere);
    ck_assert(libraries_are_called());
    fault_in_try((void *)free_amiss);
    ck_assert(!libraries_are_called());
    ck_assert_int_eq(oaki_foreign_try_shielded(use_nothing, &seen), OAKI_FOREIGN_LEFT);
    ck_assert(!oaki_fork_is_held());
}
END_TEST

#endif

static void start(void)
{
    test_seed("observe/shield");
    test_heap_start(test_config());
}

/* That a call is made, wherever. */
START_TEST(there_is_a_call)
{
    int pid = 0;
    ck_assert_int_eq(call(note_pid, &pid), OAKI_SHIELD_OVER);
    ck_assert_int_ne(pid, 0);
}
END_TEST

Suite *suite_observe_shield(void)
{
    Suite *s = suite_create("observe/shield");
    TCase *c = tcase_create("shield");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_set_timeout(c, 120);
    tcase_add_test(c, there_is_a_call);
    suite_add_tcase(s, c);
    if (test_skip_in_place()) return s;
    tcase_add_test(c, it_shares_memory_and_descriptors);
    tcase_add_test(c, the_program_sees_no_child);
    tcase_add_loop_test(c, a_fault_ends_the_call_alone, 0, OAKI_COUNT(faults));
    tcase_add_test(c, a_call_that_waits_for_ever_is_ended);
    tcase_add_test(c, a_call_that_somebody_ends_is_lost);
    tcase_add_test(c, without_memory_there_is_no_call);
    tcase_add_test(c, a_tracer_is_asked_about_its_system_calls);
    tcase_add_test(c, its_thread_stops_with_the_world_and_takes_signals);
#ifdef HAVE_DLMOPEN
    tcase_add_test(c, a_library_is_lost_by_a_fault);
#endif
    return s;
}
