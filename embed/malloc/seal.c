/* seal.c - detects programs that forbid themselves system calls with seccomp. A report forks and
 * opens files, so it could kill such a program, with a wrong exit status.
 *
 * prctl and syscall are intercepted, so that no call is needed to know of a filter: any call may be
 * the one that it forbids. A filter is its thread's, and that of the threads that it starts later.
 * Of a thread whose start was not seen it is not known.
 *
 * A filter that was set in another way shows by the kernel's count of a thread's filters. A
 * container's filters are there from the start, so the check is whether the count has risen. Where
 * it can't be read, as after chroot or without free descriptors, prctl still says whether there are
 * filters at all.
 *
 * A filter for all threads comes while others work. So work that a filter may forbid is counted,
 * and the filter waits for it. Work that begins later finds the filter noted.
 *
 * From the beginning of seccomp's strict mode on, no allocation is recorded, either: the unwinder
 * makes system calls for code that it doesn't know.
 *
 * Owns: struct self: written by the first thread at the start, and by threads that set filters;
 * oaki_my.sealed. Lock: none. */
#include "preload.h"
#include "runtime/task.h"
#include "tell.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define WORK_NS UINT64_C(10000000000)
#define NAP_NS 100000

static struct {
    long filters;        /* at the start; -1: not known */
    unsigned int strict; /* AO_int */
    unsigned int any, all; /* AO_int: 1: a thread has set a filter; for all threads */
    AO_t working; /* threads between oaki_seal_work_begin and _end */
} self;

/* Before oaki_seal_start. */
static long first_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    return OAKI_REAL(syscall)(number, a, b, c, d, e, f);
}

/* libc's. This and the next two are named by the code of `syscall`. */
OAKI_HIDDEN __typeof__(&first_syscall) oaki_libc_syscall = first_syscall;
OAKI_HIDDEN long oaki_syscall_seccomp(long number, unsigned long operation, unsigned long flags,
                                      unsigned long arg);
OAKI_HIDDEN long oaki_syscall_exit(long number, long status);

/* The number of filters; -1: not known. */
static long count_filters(void)
{
    oaki_task_line line = { .label = "Seccomp_filters:\t" };
    if (oaki_task_lines(AT_FDCWD, "/proc/thread-self/status", &line, 1) != 0) return -1;
    return line.value[0] ? strtol(line.value, NULL, 10) : -1;
}

void oaki_seal_start(void)
{
    oaki_libc_syscall = (__typeof__(oaki_libc_syscall))OAKI_REAL(syscall);
    self.filters = count_filters();
    oaki_my.sealed = OAKI_SEALED_NOT;
}

bool oaki_sealed_strictly(void)
{
    return AO_int_load(&self.strict) != 0;
}

static const char sealed[] = "oakum: the program has forbidden itself system calls: no report\n";
static const char unknown[] =
    "oakum: the program may have forbidden itself system calls: no report\n";

const char *oaki_sealed_as_noted(void)
{
    if (oaki_sealed_strictly() || AO_int_load(&self.all)) return sealed;
    if (oaki_my.sealed == OAKI_SEALED) return sealed;
    bool maybe = AO_int_load(&self.any) && oaki_my.sealed == OAKI_SEALED_UNKNOWN;
    return maybe ? unknown : NULL;
}

const char *oaki_sealed(void)
{
    const char *noted = oaki_sealed_as_noted();
    if (noted) return noted;
    if (self.filters < 0) return NULL;
    long now = count_filters();
    if (now >= 0) return now == self.filters ? NULL : sealed;
    if (syscall(SYS_prctl, PR_GET_SECCOMP, 0, 0, 0, 0) == 0) return NULL;
    return self.filters == 0 ? sealed : unknown;
}

void oaki_seal_work_starts(void)
{
    (void)AO_fetch_and_add1_full(&self.working);
}

/* In this order: either the filter is seen here, or this work by the thread that sets it. */
const char *oaki_seal_work_begin(void)
{
    oaki_seal_work_starts();
    const char *why = oaki_sealed();
    if (why) oaki_seal_work_end();
    return why;
}

void oaki_seal_work_end(void)
{
    OAKI_ASSERT(AO_load(&self.working) > 0);
    (void)AO_fetch_and_sub1_full(&self.working);
}

void oaki_seal_after_fork(void)
{
    AO_store(&self.working, 0);
}

/* Bounded, as work may wait for a lock that this thread holds. */
static void await_work(void)
{
    uint64_t begun = oaki_os_now_ns();
    while (AO_load_full(&self.working) > 0 && oaki_os_since(begun, oaki_os_now_ns()) < WORK_NS)
        oaki_os_sleep_ns(NAP_NS);
}

static long call(long number, const unsigned long a[5])
{
    return oaki_libc_syscall(number, (long)a[0], (long)a[1], (long)a[2], (long)a[3], (long)a[4], 0);
}

/* Noted in advance, as the next call may be forbidden; a call that fails changes nothing. A child
 * of vfork has its parent's variables. */
static long set_filter(long number, const unsigned long a[5], unsigned long flags)
{
    unsigned char was = oaki_my.sealed;
    bool own = oaki_is_own_thread();
    if (own) oaki_tell_seal();
    if (own) oaki_my.sealed = OAKI_SEALED;
    if (own) AO_int_store(&self.any, 1);
    bool first = own && (flags & SECCOMP_FILTER_FLAG_TSYNC) && !AO_int_load(&self.all);
    if (first) AO_int_store_full(&self.all, 1);
    if (first) await_work();
    long result = call(number, a);
    bool set = result == 0 || (result > 0 && (flags & SECCOMP_FILTER_FLAG_NEW_LISTENER));
    if (!set) oaki_my.sealed = was;
    if (!set && first) AO_int_store(&self.all, 0);
    return result;
}

static long set_strict(long number, const unsigned long a[5])
{
    bool own = oaki_is_own_thread();
    if (own) oaki_tell_seal();
    long result = call(number, a);
    if (own && result == 0) AO_int_store(&self.strict, 1);
    return result;
}

OAKI_EXPORT int prctl(int option, ...)
{
    unsigned long a[5] = { (unsigned long)option };
    va_list ap;
    va_start(ap, option);
    for (int i = 1; i < 5; i++) a[i] = va_arg(ap, unsigned long);
    va_end(ap);
    if (option != PR_SET_SECCOMP) return (int)call(SYS_prctl, a);
    if (a[1] == SECCOMP_MODE_STRICT) return (int)set_strict(SYS_prctl, a);
    return (int)set_filter(SYS_prctl, a, 0);
}

__attribute__((used)) long oaki_syscall_seccomp(long number, unsigned long operation,
                                                unsigned long flags, unsigned long arg)
{
    const unsigned long a[5] = { operation, flags, arg };
    if (operation == SECCOMP_SET_MODE_STRICT) return set_strict(number, a);
    if (operation == SECCOMP_SET_MODE_FILTER) return set_filter(number, a, flags);
    return oaki_libc_syscall(number, (long)operation, (long)flags, (long)arg, 0, 0, 0);
}

/* A filter may refuse the call. */
__attribute__((used)) long oaki_syscall_exit(long number, long status)
{
    if (!oaki_sealed_as_noted()) oaki_last_note((int)status);
    return oaki_libc_syscall(number, status, 0, 0, 0, 0, 0);
}

/* libc's function, but for seccomp and exit: the caller's frame and stack are as libc's function
 * wants them. */
#if defined(__x86_64__)
__asm__(".pushsection .text\n"
        ".globl syscall\n"
        ".type syscall, @function\n"
        "syscall:\n"
        " .cfi_startproc\n"
        " endbr64\n"
        " cmpq $317, %rdi\n" /* SYS_seccomp */
        " je oaki_syscall_seccomp\n"
        " cmpq $60, %rdi\n" /* SYS_exit */
        " je oaki_syscall_exit\n"
        " jmpq *oaki_libc_syscall(%rip)\n"
        " .cfi_endproc\n"
        ".size syscall, .-syscall\n"
        ".popsection\n");
_Static_assert(SYS_seccomp == 317 && SYS_exit == 60, "the numbers of these calls");
#elif defined(__aarch64__)
__asm__(".pushsection .text\n"
        ".globl syscall\n"
        ".type syscall, %function\n"
        "syscall:\n"
        " .cfi_startproc\n"
        " hint #34\n" /* bti c */
        " cmp x0, #277\n" /* SYS_seccomp */
        " b.eq oaki_syscall_seccomp\n"
        " cmp x0, #93\n" /* SYS_exit */
        " b.eq oaki_syscall_exit\n"
        " adrp x16, oaki_libc_syscall\n"
        " ldr x16, [x16, :lo12:oaki_libc_syscall]\n"
        " br x16\n"
        " .cfi_endproc\n"
        ".size syscall, .-syscall\n"
        ".popsection\n");
_Static_assert(SYS_seccomp == 277 && SYS_exit == 93, "the numbers of these calls");
#endif
