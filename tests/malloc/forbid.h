/* forbid.h - what programs in tests leak, and filters on their own system calls. */
#ifndef TESTS_MALLOC_FORBID_H
#define TESTS_MALLOC_FORBID_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static void lose(size_t n)
{
    char *p = malloc(n);
    if (!p) abort();
    memset(p, 1, n);
}

/* Where no later call's frame happens to keep the pointer. */
static __attribute__((noinline, unused)) void leak(void)
{
    for (int i = 0; i < 10; i++) lose(1000);
}

/* 4,000 times 256 KiB that nothing refers to, and some that something does. */
static __attribute__((unused)) void waste(void)
{
    static char *kept[100];
    for (int i = 0; i < 4000; i++) {
        char *p = malloc(256 << 10);
        if (!p) abort();
        memset(p, i, 256 << 10);
        if (i % 40 == 0) kept[i / 40] = p;
    }
    for (int i = 0; i < 100; i++)
        if (kept[i][100] != (char)(i * 40)) abort();
}

#define BY_PRCTL ~0u

/* This call ends the process from here on. */
static __attribute__((unused)) void forbid(unsigned call, unsigned flags)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof code / sizeof code[0], code };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) exit(6);
    long e = flags == BY_PRCTL ? prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)
                               : syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    if (e != 0) exit(6);
}

static __attribute__((unused)) void forbid_fork(unsigned flags)
{
    leak();
    forbid(SYS_clone, flags);
}

/* All threads, Oakum's among them. */
static __attribute__((unused)) void forbid_all(void)
{
    forbid_fork(SECCOMP_FILTER_FLAG_TSYNC);
}

#endif
