/* ownmask.c - tests of runtime/ownmask.h: who blocks SIGSEGV for a moment as code of ours wants it,
 * and who does so himself, before a cycle by faults; and what is said of that. */
#include "runtime/ownmask.h"
#include "runtime/dirty.h"
#include "runtime/os.h"
#include "tests/capture.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

Suite *suite_runtime_ownmask(void);

#define SEGV ((uint64_t)1 << (SIGSEGV - 1))

static AO_t step;

/* false: with system pages that are too large; and Valgrind has masks of its own. */
static bool start(void)
{
    oak_config c = test_config();
    c.tracking = OAK_TRACKING_FAULTS;
    test_heap_start(c);
    if (test_skip(oaki_os_page_size() != 4096, "pages are not of 4 KiB") || test_skip_valgrind())
        return false;
    ck_assert(test_written_start());
    return true;
}

static void pause_at(AO_t odd)
{
    AO_store_release(&step, odd);
    test_wait(&step, odd + 1);
}

/* Nobody can be kept in our handlers, so this thread does what they do. */
static void *block_as_handlers(void *arg)
{
    uint64_t before = oaki_os_mask_signals(0);
    oaki_ownmask_enter(before);
    pause_at(1); /* ours */
    oaki_ownmask_leave();
    pause_at(3); /* its own */
    oaki_os_unmask_signals(before);
    pause_at(5); /* none */
    before = oaki_os_block_signals(SEGV);
    oaki_ownmask_enter(before | SEGV);
    pause_at(7); /* its own, and ours */
    oaki_ownmask_leave();
    return arg;
}

START_TEST(threads_in_our_handlers_are_no_blockers)
{
    if (!start()) return;
    pthread_t id = test_start(block_as_handlers, NULL);
    for (AO_t at = 1; at < 9; at += 2) {
        test_wait(&step, at);
        bool may = at == 1 || at == 5;
        ck_assert_int_eq(oaki_dirty_begin(), may);
        AO_store_release(&step, at + 1);
    }
    test_join(id);
}
END_TEST

/* ---- a thread that stands in the midst of a change of protection ---- */

static char *memory;
static int listener = -1;

/* Of this thread alone, mprotect waits until somebody who listens lets it go on (seccomp). */
static bool hold_protection(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mprotect, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { OAKI_COUNT(code), code };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return false;
    listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                            SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
    return listener >= 0;
}

static void *write_once(void *arg)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    if (!hold_protection()) return NULL;
    AO_store_release(&step, 1);
    test_wait(&step, 2);
    if (arg) oaki_dirty_unprotect(0, AO_load(&oaki_the_heap.used));
    else memory[0] = 1;
    AO_store_release(&step, 3);
    return memory;
}

static AO_t other_runs; /* and isn't in libc's own moment any more */

static void *write_too(void *arg)
{
    AO_store_release(&other_runs, 1);
    test_wait(&step, 2);
    memory[4096] = 1;
    return arg;
}

/* Returns whether there was one. */
static bool let_one_go_on(bool *may)
{
    struct pollfd there = { .fd = listener, .events = POLLIN };
    struct seccomp_notif asks = { 0 };
    if (poll(&there, 1, 10) <= 0 || ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &asks) != 0)
        return false;
    if (may) {
        oaki_os_sleep_ns(20000000); /* for the other one, who comes to wait for the lock */
        *may = oaki_dirty_begin();
    }
    struct seccomp_notif_resp answer = { .id = asks.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE };
    (void)ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
    return true;
}

/* In the handler of faults with its lock, another one there waiting for it; and in what opens pages
 * otherwise. */
START_TEST(threads_that_change_protection_are_no_blockers)
{
    bool may = false;
    if (!start()) return;
    memory = oak_alloc(2 * 4096 + 4096);
    ck_assert(oaki_dirty_protect(0, AO_load(&oaki_the_heap.used)));
    pthread_t id = test_start(write_once, (void *)(intptr_t)_i);
    pthread_t other = test_start(write_too, NULL);
    while (AO_load_acquire(&step) == 0 && pthread_tryjoin_np(id, NULL) != 0) oaki_os_yield();
    if (AO_load_acquire(&step) == 0) _exit(0); /* a system without such filters */
    test_wait(&other_runs, 1);
    AO_store_release(&step, 2);
    while (!let_one_go_on(&may)) continue;
    while (AO_load_acquire(&step) == 2) (void)let_one_go_on(NULL);
    ck_assert(may);
    close(listener);
    test_join(other);
}
END_TEST

/* ---- in a stop ---- */

static void *run(void *arg)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    AO_store_release(&step, 1);
    while (AO_load_acquire(&step) == 1) continue;
    return arg;
}

static AO_t in_stop, answered; /* answered: 1 no, 2 yes */

/* Not attached, so it runs while the world is stopped. */
static void *begin_in_stop(void *arg)
{
    test_wait(&in_stop, 1);
    AO_store_release(&answered, 1 + (AO_t)oaki_dirty_begin());
    return arg;
}

/* As one that sleeps on for a while when the world runs again. */
START_TEST(threads_in_a_stop_are_no_blockers)
{
    if (!start()) return;
    pthread_t id = test_start(run, NULL), begins = test_start(begin_in_stop, NULL);
    test_wait(&step, 1);
    oaki_thread *t = oaki_gc_stop_begin();
    AO_store_release(&in_stop, 1);
    while (!AO_load_acquire(&answered)) oaki_os_yield();
    oaki_gc_stop_end(t);
    AO_store_release(&step, 2);
    test_join(id);
    test_join(begins);
    ck_assert_uint_eq(AO_load(&answered), 2);
}
END_TEST

static void *block_itself(void *arg)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGSEGV);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    pause_at(1);
    return arg;
}

START_TEST(a_thread_that_blocks_the_signal)
{
    if (!start()) return;
    test_dirty_begin();
    pthread_t id = test_start(block_itself, NULL);
    test_wait(&step, 1);
    ck_assert(!oaki_dirty_begin());
    ck_assert(!oaki_dirty_may());
    AO_store_release(&step, 2);
    test_join(id);
    oak_collect();
    ck_assert(oaki_dirty_may());
    test_dirty_begin();
}
END_TEST

#define LONG_NS 2200000000u
#define SHORT_NS 500000000u
#define TOO_SLOW 9 /* a status */

/* Three collections or more find a thread that blocks it. */
static void block_for_a_while(void *is_long)
{
    uint64_t begun = oaki_os_now_ns(), took = 0;
    ck_assert(test_written_start());
    pthread_t id = test_start(block_itself, NULL);
    test_wait(&step, 1);
    for (int n = 0; n < 3 || (is_long && took < LONG_NS); n++) {
        ck_assert(!oaki_dirty_begin());
        took = oaki_os_now_ns() - begun;
    }
    AO_store_release(&step, 2);
    test_join(id);
    test_dirty_begin();
    if (!is_long && took > SHORT_NS) _exit(TOO_SLOW);
}

/* Said of one that goes on with it, once; not of one that did so for a moment, as libc does. */
START_TEST(who_blocks_it_for_long_is_told)
{
    static const char line[] = "blocks SIGSEGV";
    char text[4096];
    int status;
    if (!start()) return;
    do {
        status = test_capture(block_for_a_while, _i ? text : NULL, text, sizeof text);
    } while (WIFEXITED(status) && WEXITSTATUS(status) == TOO_SLOW);
    ck_assert_int_eq(status, 0);
    const char *said = strstr(text, line);
    ck_assert_int_eq(said != NULL, _i);
    if (said) ck_assert_ptr_null(strstr(said + 1, line));
}
END_TEST

Suite *suite_runtime_ownmask(void)
{
    Suite *s = suite_create("runtime_ownmask");
    TCase *t = tcase_create("ownmask");
    suite_add_tcase(s, t);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, threads_in_our_handlers_are_no_blockers);
    tcase_add_loop_test(t, threads_that_change_protection_are_no_blockers, 0, 2);
    tcase_add_test(t, threads_in_a_stop_are_no_blockers);
    tcase_add_test(t, a_thread_that_blocks_the_signal);
    tcase_add_loop_test(t, who_blocks_it_for_long_is_told, 0, 2);
    return s;
}
