/* refuse.h - a system that refuses a call, as containers' filters do. */
#ifndef TESTS_REFUSE_H
#define TESTS_REFUSE_H

#include <check.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* With TSYNC the other threads of this process get this filter, too. */
static inline void test_filter(struct sock_filter *code, size_t n, unsigned flags)
{
    struct sock_fprog program = { (unsigned short)n, code };
    ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ck_assert_int_eq(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program), 0);
}

static inline void test_filter_call(int nr, unsigned action, unsigned flags)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)nr, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    test_filter(code, sizeof code / sizeof code[0], flags);
}

static inline void test_refuse_with(int nr, int error, unsigned flags)
{
    test_filter_call(nr, SECCOMP_RET_ERRNO | (unsigned)error, flags);
}

/* From here on the threads of this process and its children get EPERM for system call `nr`. */
static inline void test_refuse(int nr)
{
    test_refuse_with(nr, EPERM, SECCOMP_FILTER_FLAG_TSYNC);
}

/* The calling thread alone, and those that it starts. */
static inline void test_refuse_alone(int nr)
{
    test_refuse_with(nr, EPERM, 0);
}

/* They get `error` for this request, of any file. */
static inline void test_refuse_ioctl(unsigned long request, int error)
{
    size_t low = offsetof(struct seccomp_data, args[1]); /* requests have 32 bits */
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)low),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)request, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    test_filter(code, sizeof code / sizeof code[0], SECCOMP_FILTER_FLAG_TSYNC);
}

#endif
