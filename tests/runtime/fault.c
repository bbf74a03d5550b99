/* fault.c - tests of learning of writes by faults, beyond what tests/runtime/dirty.c asks of
 * every way: the program's own handlers, memory that changes its kind, mappings that run out. */
#include "runtime/dirty.h"
#include "runtime/os.h"
#include "runtime/task.h"
#include "tests/capture.h"
#include "tests/heap.h"
#include "tests/large.h"
#include "tests/threads.h"

#include <check.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

Suite *suite_runtime_fault(void);

#define PAGES 64
#define PAGE ((size_t)4096)

static char *memory; /* PAGES pages of the heap */
static char *own;    /* the program's, read only */

static void protect_all(void)
{
    ck_assert(oaki_dirty_protect(0, AO_load(&oaki_the_heap.used)));
}

static size_t written_of(const void *p, size_t n)
{
    size_t from = oaki_heap_offset(p);
    return oaki_dirty_take(from, from + n, false, NULL, NULL);
}

static bool start(void)
{
    oak_config c = test_config();
    c.tracking = OAK_TRACKING_FAULTS;
    test_heap_start(c);
    if (test_skip(oaki_os_page_size() != PAGE, "pages are not of 4 KiB")) return false;
    memory = memset(oak_alloc(PAGES * PAGE), 1, PAGES * PAGE);
    ck_assert(test_written_start());
    own = oaki_os_map(4 * PAGE);
    ck_assert_int_eq(mprotect(own, 4 * PAGE, PROT_READ), 0);
    return true;
}

static void heap_is_told(void)
{
    protect_all();
    ck_assert_uint_eq(written_of(memory, PAGES * PAGE), 0);
    memory[5 * PAGE + 9] = 7;
    ck_assert_uint_eq(written_of(memory, PAGES * PAGE), 1);
    ck_assert_int_eq(memory[5 * PAGE + 9], 7);
}

/* ---- the program's own handler ---- */

static struct {
    int calls, code;
    void *addr;
    bool masked[3]; /* SIGSEGV, SIGUSR1, SIGUSR2 */
    bool on_alternate;
} seen;

static char alternate[1 << 16];

static void handle(int sig)
{
    static const int asked[] = { SIGSEGV, SIGUSR1, SIGUSR2 };
    sigset_t now;
    ck_assert_int_eq(sig, SIGSEGV);
    pthread_sigmask(SIG_BLOCK, NULL, &now);
    for (size_t i = 0; i < OAKI_COUNT(asked); i++) seen.masked[i] = sigismember(&now, asked[i]);
    char *here = __builtin_frame_address(0);
    seen.on_alternate = here >= alternate && here < alternate + sizeof alternate;
    seen.calls++;
    mprotect(own, 4 * PAGE, PROT_READ | PROT_WRITE);
}

static void handle_info(int sig, siginfo_t *info, void *context)
{
    (void)context;
    seen.addr = info->si_addr;
    seen.code = info->si_code;
    handle(sig);
}

static const int flags[] = {
    0,
    SA_SIGINFO,
    SA_ONSTACK,
    SA_SIGINFO | SA_ONSTACK,
    SA_SIGINFO | SA_NODEFER,
    SA_ONSTACK | SA_NODEFER,
    SA_SIGINFO | SA_ONSTACK | (int)SA_RESETHAND,
};

static void install(int with)
{
    struct sigaction sa;
    stack_t s = { .ss_sp = alternate, .ss_size = sizeof alternate };
    memset(&sa, 0, sizeof sa);
    if (with & SA_SIGINFO) sa.sa_sigaction = handle_info;
    else sa.sa_handler = handle;
    sa.sa_flags = with;
    sigaddset(&sa.sa_mask, SIGUSR1);
    ck_assert_int_eq(sigaction(SIGSEGV, &sa, NULL), 0);
    ck_assert_int_eq(sigaltstack(&s, NULL), 0);
}

static void write_own(void *arg)
{
    (void)arg;
    own[2 * PAGE + 3] = 1;
    AO_compiler_barrier(); /* now, and with all that the handler writes */
}

START_TEST(the_handler_before_has_its_faults)
{
    int with = flags[_i];
    sigset_t before, after;
    install(with);
    if (!start()) return;
    pthread_sigmask(SIG_BLOCK, NULL, &before);
    heap_is_told();
    ck_assert_int_eq(seen.calls, 0);
    write_own(NULL);
    ck_assert_int_eq(seen.calls, 1);
    ck_assert_int_eq(own[2 * PAGE + 3], 1);
    if (with & SA_SIGINFO) {
        ck_assert_ptr_eq(seen.addr, own + 2 * PAGE + 3);
        ck_assert_int_eq(seen.code, SEGV_ACCERR);
    }
    ck_assert(seen.masked[0] == !(with & SA_NODEFER));
    ck_assert(seen.masked[1] && !seen.masked[2]);
    ck_assert(seen.on_alternate == !!(with & SA_ONSTACK));
    pthread_sigmask(SIG_BLOCK, NULL, &after);
    ck_assert_int_eq(memcmp(&before, &after, 8), 0);
    heap_is_told();
    mprotect(own, 4 * PAGE, PROT_READ);
    if (with & (int)SA_RESETHAND) {
        char text[256];
        int status = test_capture(write_own, NULL, text, sizeof text);
        ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    } else {
        write_own(NULL);
        ck_assert_int_eq(seen.calls, 2);
    }
}
END_TEST

static sigjmp_buf out;

static void jump(int sig)
{
    siglongjmp(out, sig);
}

START_TEST(a_handler_that_jumps_away)
{
    static int jumps;
    signal(SIGSEGV, jump);
    if (!start()) return;
    while (jumps < 3) {
        if (sigsetjmp(out, 1) == 0) {
            heap_is_told();
            write_own(NULL);
            ck_abort_msg("written");
        }
        jumps++;
    }
    heap_is_told();
}
END_TEST

/* Of the program's own, in an object that is never protected. */
START_TEST(guard_pages_in_objects_without_references)
{
    signal(SIGSEGV, jump);
    if (!start()) return;
    char *noscan = oak_alloc_noscan(16 * PAGE), *guard = noscan + 8 * PAGE;
    ck_assert_int_eq(mprotect(guard, PAGE, PROT_NONE), 0);
    for (int i = 0; i < 3; i++) {
        protect_all();
        if (sigsetjmp(out, 1) == 0) {
            guard[-1] = guard[PAGE] = 1;
            guard[0] = 1;
            ck_abort_msg("written");
        }
        heap_is_told();
    }
    ck_assert_int_eq(mprotect(guard, PAGE, PROT_READ | PROT_WRITE), 0);
}
END_TEST

/* ---- no handler ---- */

static void run_code(void *arg)
{
    (void)arg;
    protect_all();
    ((void (*)(void))(uintptr_t)memory)(); /* can be read, not executed */
}

static void send(void *arg)
{
    (void)arg;
    kill(getpid(), SIGSEGV);
}

/* The heap's range is reserved, and most of it never used. */
static void use_nothing(void *arg)
{
    (void)arg;
    ((char *)oaki_the_heap.base)[oaki_the_heap.reserved - 1] = 1;
}

static void start_child(void *fn)
{
    ck_assert(test_written_start());
    (*(void (**)(void *))fn)(NULL);
}

static int end_of(void (*fn)(void *arg))
{
    char text[4096];
    int status = test_capture(start_child, &fn, text, sizeof text);
    ck_assert_str_eq(text, "");
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

START_TEST(without_a_handler_the_process_ends)
{
    signal(SIGSEGV, _i ? SIG_IGN : SIG_DFL);
    if (!start()) return;
    ck_assert_int_eq(end_of(write_own), SIGSEGV);
    ck_assert_int_eq(end_of(use_nothing), SIGSEGV);
    ck_assert_int_eq(end_of(run_code), SIGSEGV);
    ck_assert_int_eq(end_of(send), _i ? 0 : SIGSEGV);
    heap_is_told();
}
END_TEST

/* ---- what the program does later ---- */

START_TEST(a_handler_that_comes_later_is_noticed)
{
    oak_writes_told told;
    if (!start()) return;
    protect_all();
    install(SA_SIGINFO);
    ck_assert_uint_eq(written_of(memory, PAGES * PAGE), SIZE_MAX);
    memset(memory, 2, PAGES * PAGE);
    ck_assert_int_eq(seen.calls, 0);
    ck_assert(!oaki_dirty_protect(0, AO_load(&oaki_the_heap.used)));
    ck_assert(!oaki_dirty_begin());
    ck_assert(!oaki_dirty_may());
    ck_assert(!oak_heap_tells_writes(&told));
    ck_assert_str_eq(told.refused, "page faults");
    ck_assert_int_eq(told.error, 0);
    write_own(NULL);
    ck_assert_int_eq(seen.calls, 1);
    oak_collect();
}
END_TEST

static void *look_at_zombie(void *arg)
{
    oaki_task task;
    pthread_join(*(pthread_t *)arg, NULL); /* it has all signals blocked, and is about to die */
    while (!(oaki_task_read(getpid(), &task) && oaki_task_is_dead(&task))) oaki_os_yield();
    test_dirty_begin();
    _exit(0);
}

static void exit_as_first(void *arg)
{
    static pthread_t self;
    (void)arg;
    ck_assert(test_written_start());
    self = pthread_self();
    (void)test_start(look_at_zombie, &self);
    pthread_exit(NULL);
}

START_TEST(the_first_thread_has_left)
{
    if (test_skip_asan() || !start()) return;
    test_child(exit_as_first, NULL);
}
END_TEST

/* Threads that attach have it unblocked, as many programs start theirs with everything blocked. */
static void *write_heap(void *arg)
{
    void *x = oak_alloc(10);
    (void)x;
    memory[0] = 3;
    return arg;
}

START_TEST(threads_that_start_with_all_blocked)
{
    sigset_t all, before;
    if (!start()) return;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    protect_all();
    test_join(test_start(write_heap, NULL));
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    ck_assert_uint_eq(written_of(memory, PAGES * PAGE), 1);
}
END_TEST

/* ---- system calls ---- */

static void read_whole(int fd[2], char *p, size_t n)
{
    static char zeroes[1 << 16];
    for (size_t i = 0; i < n; i += PAGE) {
        ck_assert_int_eq(write(fd[1], zeroes, OAKI_MIN(PAGE, n - i)), OAKI_MIN(PAGE, n - i));
        ck_assert_int_eq(read(fd[0], p + i, PAGE), OAKI_MIN(PAGE, n - i));
    }
}

START_TEST(the_system_writes_to_objects_without_references)
{
    int fd[2];
    if (!start()) return;
    ck_assert_int_eq(pipe(fd), 0);
    char *large = oak_alloc_noscan(20 * PAGE), *small[200];
    for (size_t i = 0; i < 200; i++) {
        small[i] = oak_alloc_noscan(100);
        ck_assert_ptr_nonnull(oak_alloc(100));
    }
    protect_all();
    read_whole(fd, large, 20 * PAGE);
    for (size_t i = 0; i < 200; i++) read_whole(fd, small[i], 100);
    heap_is_told();
}
END_TEST

/* Pages that were protected as those of another object. */
START_TEST(memory_that_changes_its_kind)
{
    int fd[2];
    char *was[32];
    size_t again = 0, n = 20 * PAGE;
    if (!start()) return;
    ck_assert_int_eq(pipe(fd), 0);
    for (int i = 0; i < 32; i++) was[i] = memset(oak_alloc(n), 1, n);
    protect_all();
    for (int i = 0; i < 32; i++) oak_free(was[i]);
    if (_i) oak_scavenge();
    for (int i = 0; i < 32; i++) {
        char *p = oak_alloc_noscan(n);
        for (int j = 0; j < 32; j++) again += p == was[j];
        ck_assert(test_is_zero(p, n));
        read_whole(fd, p, n);
        was[i] = NULL;
    }
    ck_assert_uint_gt(again, 16);
    heap_is_told();
}
END_TEST

/* ---- mappings ---- */

static size_t count_maps(void)
{
    size_t n = 0;
    FILE *f = fopen("/proc/self/maps", "r");
    ck_assert_ptr_nonnull(f);
    for (int c; (c = getc(f)) != EOF;) n += c == '\n';
    fclose(f);
    return n;
}

static size_t max_maps(void)
{
    size_t n = 65530;
    FILE *f = fopen("/proc/sys/vm/max_map_count", "r");
    if (f && fscanf(f, "%zu", &n) != 1) n = 65530;
    if (f) fclose(f);
    return n;
}

/* Whatever the program does, some mappings are left for it, and every write is told. */
START_TEST(mappings_don_t_run_out)
{
    size_t n = test_scale(6000), size = 40 << 10, most = 0, limit = max_maps();
    if (!start() || test_skip(limit > 100000, "there is no limit on mappings")) return;
    char **scanned = oak_alloc(n * sizeof *scanned), **other = oak_alloc(n * sizeof *other);
    for (size_t i = 0; i < n; i++) {
        scanned[i] = oak_alloc(size);
        other[i] = oak_alloc_noscan(size);
    }
    size_t before = count_maps();
    for (int round = 0; round < 3; round++) {
        protect_all();
        most = OAKI_MAX(most, count_maps());
        for (size_t i = 0; i < n; i++)
            for (size_t page = 1; page < size / PAGE; page += 2) {
                scanned[i][page * PAGE] = 1;
                if (i % 50 == 0)
                    ck_assert_uint_ge(written_of(scanned[i] + page * PAGE, PAGE), 1);
            }
        most = OAKI_MAX(most, count_maps());
    }
    printf("%zu mappings before, %zu at most of %zu\n", before, most, limit);
    ck_assert_uint_le(most, before + limit / 4);
    if (!test_slow()) ck_assert_uint_ge(most, limit / 16); /* as far as it may */
    oaki_dirty_unprotect(0, AO_load(&oaki_the_heap.used));
    ck_assert_uint_le(count_maps(), before + 8);
}
END_TEST

/* The program has taken all: what a write needs is had by making more writable. */
START_TEST(no_mapping_is_left)
{
    size_t limit = max_maps();
    if (!start() || test_skip_valgrind()) return;
    if (test_skip(limit > 100000, "there is no limit on mappings")) return;
    protect_all();
    char *p = oaki_os_map(2 * limit * PAGE);
    ck_assert_ptr_nonnull(p);
    size_t i = 0;
    while (i < 2 * limit && mprotect(p + i * PAGE, PAGE, PROT_READ) == 0) i += 2;
    ck_assert_uint_lt(i, 2 * limit);
    memory[20 * PAGE] = 5;
    size_t opened = written_of(memory, PAGES * PAGE);
    bool kept = oaki_dirty_protect(0, AO_load(&oaki_the_heap.used));
    memory[30 * PAGE] = 5;
    size_t again = written_of(memory, PAGES * PAGE);
    oaki_os_release(p, 2 * limit * PAGE);
    ck_assert_uint_ge(opened, 1);
    ck_assert_uint_ge(again, 1);
    ck_assert(kept);
    test_dirty_begin();
    heap_is_told();
}
END_TEST

/* A part of them is protected when the system refuses, and a part of that can't be opened again at
 * once, as when another thread takes the last mapping: here, as there is no memory at one page. */
START_TEST(what_can_t_be_put_back_stays_protected)
{
    if (!start()) return;
    char *page = memory + PAGES / 2 * PAGE;
    ck_assert_int_eq(munmap(page, PAGE), 0);
    protect_all();
    size_t written = written_of(memory, PAGES * PAGE);
    memset(memory, 2, (size_t)(page - memory));
    memset(page + PAGE, 2, PAGES * PAGE - PAGE - (size_t)(page - memory));
    void *back = mmap(page, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    ck_assert_ptr_eq(back, page);
    ck_assert_uint_eq(written, PAGES - 1);
    ck_assert_uint_eq(written_of(page, PAGE), 0);
    page[7] = 3;
    ck_assert_uint_eq(written_of(page, PAGE), 1);
    test_dirty_begin();
    heap_is_told();
}
END_TEST

static void write_and_fork(int depth)
{
    ck_assert(test_written_start());
    protect_all();
    for (size_t page = 0; page < PAGES; page += 2) memory[page * PAGE] = (char)depth;
    if (depth > 0) {
        pid_t child = fork();
        if (child == 0) {
            write_and_fork(depth - 1);
            _exit(0);
        }
        ck_assert_int_eq(test_wait_child(child), 0);
    }
    ck_assert_uint_ge(written_of(memory, PAGES * PAGE), PAGES / 2);
}

START_TEST(children_of_children)
{
    if (!start()) return;
    write_and_fork(10);
}
END_TEST

/* ---- threads ---- */

static void *write_about(void *arg)
{
    uint64_t draw = (uintptr_t)arg;
    ck_assert_int_eq(oak_thread_attach(), 0);
    while (!AO_load(&test_quit)) {
        size_t page = test_draw(&draw) % PAGES;
        ((AO_t *)(memory + page * PAGE))[(uintptr_t)arg] = draw;
        AO_fetch_and_add1(&test_moved);
    }
    return arg;
}

typedef struct told {
    bool page[PAGES];
} told;

static void note(size_t from, size_t to, void *ctx)
{
    for (size_t at = from; at < to; at += PAGE)
        ((told *)ctx)->page[(at - oaki_heap_offset(memory)) / PAGE] = true;
}

static char copy[PAGES * PAGE];
TEST_LARGE(runtime_fault, copy)

/* Whatever has changed since a page was protected is told in the stop. */
START_TEST(threads_that_write_the_same_pages)
{
    pthread_t id[3];
    if (!start()) return;
    size_t from = oaki_heap_offset(memory), to = from + PAGES * PAGE, wrong = 0;
    for (uintptr_t i = 0; i < 3; i++) id[i] = test_start(write_about, (void *)(i + 1));
    while (AO_load(&test_moved) == 0) oaki_os_yield();
    for (size_t round = 0; round < test_scale(3000); round++) {
        told x = { { false } };
        oaki_thread *t = oaki_enter();
        (void)oaki_dirty_take(from, to, true, NULL, NULL);
        memcpy(copy, memory, sizeof copy);
        oaki_leave(t);
        t = oaki_gc_stop_begin();
        (void)oaki_dirty_take(from, to, false, note, &x);
        for (size_t page = 0; page < PAGES; page++)
            wrong += !x.page[page] && memcmp(copy + page * PAGE, memory + page * PAGE, PAGE) != 0;
        oaki_gc_stop_end(t);
    }
    AO_store(&test_quit, 1);
    for (int i = 0; i < 3; i++) test_join(id[i]);
    ck_assert_uint_eq(wrong, 0);
    ck_assert_uint_gt(AO_load(&test_moved), 0);
}
END_TEST

Suite *suite_runtime_fault(void)
{
    Suite *s = suite_create("runtime_fault");
    TCase *t = tcase_create("fault");
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, the_handler_before_has_its_faults, 0, OAKI_COUNT(flags));
    tcase_add_test(t, a_handler_that_jumps_away);
    tcase_add_test(t, guard_pages_in_objects_without_references);
    tcase_add_loop_test(t, without_a_handler_the_process_ends, 0, 2);
    tcase_add_test(t, a_handler_that_comes_later_is_noticed);
    tcase_add_test(t, the_first_thread_has_left);
    tcase_add_test(t, threads_that_start_with_all_blocked);
    tcase_add_test(t, the_system_writes_to_objects_without_references);
    tcase_add_loop_test(t, memory_that_changes_its_kind, 0, 2);
    tcase_add_test(t, mappings_don_t_run_out);
    tcase_add_test(t, no_mapping_is_left);
    tcase_add_test(t, what_can_t_be_put_back_stays_protected);
    tcase_add_test(t, children_of_children);
    tcase_add_test(t, threads_that_write_the_same_pages);
    suite_add_tcase(s, t);
    return s;
}
