/* calls.h - the system calls that check-faults makes fail, with errors that a kernel or a filter of
 * a container gives, and the errors' names; and the calls that need none.
 *
 * A call has all errors of its manual page, but for those of arguments that are wrong each time:
 * EFAULT, EBADF, ENOTSOCK, EISCONN and their like; EINVAL where it says only that; and ESRCH for
 * threads of the process itself, which would be a lie. EPERM and ENOSYS are also a filter's, for
 * calls without which a C program can be loaded. For the first n errors a caller may do something
 * of its own: they are tried at more places than the rest. */
#ifndef OAKUM_TESTS_CALLS_H
#define OAKUM_TESTS_CALLS_H

#include <errno.h>
#include <sys/syscall.h>

enum { CALL_ERRORS = 24 }; /* of one call, with a 0 behind them */

/* clang-format off */
static const struct {
    const char *name;
    long nr;
    unsigned often;
    int errors[CALL_ERRORS];
} calls[] = {
#define CALL(name, n, ...) { #name, SYS_##name, n, { __VA_ARGS__ } }
    CALL(mmap, 3, ENOMEM, EPERM, ENODEV, EAGAIN, EACCES, ENFILE, EEXIST),
    CALL(munmap, 1, ENOMEM),
    CALL(mremap, 1, ENOMEM, EAGAIN),
    CALL(mprotect, 2, ENOMEM, EACCES),
    CALL(madvise, 4, ENOMEM, EAGAIN, EINVAL, EPERM, EIO, EBUSY, EACCES, ENOSYS),
    CALL(mincore, 2, EAGAIN, ENOMEM, EPERM, ENOSYS),
    CALL(msync, 1, ENOMEM, EBUSY, EPERM, ENOSYS),
    CALL(mlock, 2, ENOMEM, EPERM, EAGAIN, ENOSYS),
    CALL(brk, 1, ENOMEM),
        CALL(openat, 7, EMFILE, ENFILE, ENOENT, EACCES, EINTR, ENOMEM, EEXIST, EAGAIN, EBUSY,
         EDQUOT, EFBIG, EINVAL, EISDIR, ELOOP, ENAMETOOLONG, ENODEV, ENOSPC, ENOTDIR, ENXIO,
         EOVERFLOW, EPERM, EROFS, ETXTBSY),
    CALL(read, 3, EINTR, EIO, EAGAIN, EISDIR, EINVAL),
    CALL(pread64, 2, EINTR, EIO, EISDIR, EINVAL, ENXIO, EOVERFLOW, ESPIPE),
    CALL(write, 6, EINTR, EIO, ENOSPC, EPIPE, EAGAIN, EFBIG, EDQUOT, EINVAL, EPERM),
    CALL(writev, 3, EINTR, EIO, ENOSPC, EPIPE, EAGAIN, EFBIG, EDQUOT, EINVAL, EPERM),
    CALL(pwrite64, 3, EINTR, ENOSPC, EIO, EDQUOT, EFBIG, EINVAL, ENXIO, EOVERFLOW, EPERM, ESPIPE),
    CALL(close, 2, EINTR, EIO, ENOSPC, EDQUOT),
    CALL(lseek, 1, ESPIPE, EINVAL, ENXIO, EOVERFLOW),
    CALL(fstat, 2, ENOMEM, EOVERFLOW),
    CALL(newfstatat, 3, ENOENT, EACCES, ENOMEM, ELOOP, ENAMETOOLONG, ENOTDIR, EOVERFLOW),
    CALL(statx, 3, ENOENT, ENOMEM, ENOSYS, EACCES, ELOOP, ENAMETOOLONG, ENOTDIR, EPERM),
    CALL(fcntl, 2, EMFILE, EINVAL, EAGAIN, EACCES, EPERM, ENOLCK, EINTR),
    CALL(dup, 1, EMFILE),
    CALL(dup2, 1, EMFILE, EBUSY, EINTR),
    CALL(dup3, 1, EMFILE, EBUSY, EINTR),
    CALL(pipe2, 2, EMFILE, ENFILE),
    CALL(readlink, 2, ENOENT, EACCES, EINVAL, EIO, ELOOP, ENAMETOOLONG, ENOMEM, ENOTDIR),
    CALL(getdents64, 2, EINVAL, ENOENT, ENOTDIR),
    CALL(getcwd, 2, ENOENT, ENOMEM, EACCES, ENAMETOOLONG, ERANGE),
        CALL(access, 2, ENOENT, EACCES, EIO, ELOOP, ENAMETOOLONG, ENOMEM, ENOTDIR, EPERM, EROFS,
         ETXTBSY),
        CALL(faccessat, 2, ENOENT, EACCES, EIO, ELOOP, ENAMETOOLONG, ENOMEM, ENOTDIR, EPERM, EROFS,
         ETXTBSY),
    CALL(chdir, 2, ENOENT, EACCES, EIO, ELOOP, ENAMETOOLONG, ENOMEM, ENOTDIR),
        CALL(mkdir, 4, EACCES, ENOSPC, EROFS, EEXIST, EDQUOT, ELOOP, EMLINK, ENAMETOOLONG, ENOENT,
         ENOMEM, ENOTDIR, EPERM),
        CALL(unlink, 3, ENOENT, EROFS, EACCES, EBUSY, EIO, EISDIR, ELOOP, ENAMETOOLONG, ENOMEM,
         ENOTDIR, EPERM),
        CALL(unlinkat, 2, ENOENT, EROFS, EACCES, EBUSY, EIO, EISDIR, ELOOP, ENAMETOOLONG, ENOMEM,
         ENOTDIR, EPERM),
        CALL(rename, 3, ENOSPC, EROFS, EACCES, EBUSY, EDQUOT, EISDIR, ELOOP, EMLINK, ENAMETOOLONG,
         ENOENT, ENOMEM, ENOTDIR, ENOTEMPTY, EPERM, EXDEV),
    CALL(ftruncate, 2, EINTR, ENOSPC, EFBIG, EINVAL, EIO, EPERM),
    CALL(fchmod, 1, EPERM, EIO, EROFS),
    CALL(chmod, 1, EPERM, EACCES, EIO, ELOOP, ENAMETOOLONG, ENOENT, ENOMEM, ENOTDIR, EROFS),
        CALL(fchmodat, 2, EPERM, ENOENT, EACCES, EIO, ELOOP, ENAMETOOLONG, ENOMEM, ENOTDIR,
         EOPNOTSUPP, EROFS),
    CALL(flock, 3, EINTR, ENOLCK, EAGAIN),
        CALL(statfs, 2, ENOENT, ENOMEM, EACCES, EINTR, EIO, ELOOP, ENAMETOOLONG, ENOSYS, ENOTDIR,
         EOVERFLOW),
    CALL(clone, 3, EAGAIN, ENOMEM, EPERM, ENOSPC),
    CALL(clone3, 4, EAGAIN, ENOMEM, EPERM, ENOSYS, ENOSPC),
    CALL(wait4, 2, EINTR, ECHILD),
    CALL(kill, 1, EPERM, ENOSYS),
    CALL(tgkill, 1, EAGAIN, EPERM, ENOSYS),
    CALL(rt_sigtimedwait, 2, EAGAIN, EINTR),
    CALL(rt_tgsigqueueinfo, 1, EAGAIN, EPERM, ENOSYS),
    CALL(sigaltstack, 2, ENOMEM, EPERM),
    CALL(futex, 2, EINTR, EAGAIN),
    CALL(membarrier, 3, ENOSYS, EPERM, EINVAL),
    CALL(userfaultfd, 5, EPERM, ENOSYS, EMFILE, ENOMEM, EINVAL, ENFILE),
    CALL(ioctl, 4, EINVAL, ENOMEM, EAGAIN, ENOTTY, EBUSY, EEXIST, ENOENT, EPERM, ENOSYS),
    CALL(getrandom, 4, EAGAIN, EINTR, ENOSYS, EPERM),
    CALL(sched_getaffinity, 2, EINVAL, EPERM, ENOSYS),
    CALL(prlimit64, 1, EPERM, ENOSYS),
    CALL(prctl, 2, EINVAL, EPERM, ENOSYS),
        CALL(execve, 3, EACCES, ENOMEM, ENOENT, E2BIG, EAGAIN, EINVAL, EIO, EISDIR, ELIBBAD, ELOOP,
         EMFILE, ENAMETOOLONG, ENFILE, ENOEXEC, ENOTDIR, EPERM, ETXTBSY),
    CALL(process_vm_readv, 4, EPERM, ENOSYS, ENOMEM, ESRCH, EFAULT),
    CALL(process_vm_writev, 4, EPERM, ENOSYS, ENOMEM, ESRCH, EFAULT),
    CALL(process_madvise, 2, EPERM, ENOSYS, EINVAL, ENOMEM, ESRCH),
    CALL(close_range, 3, ENOSYS, EPERM, EMFILE, ENOMEM),
    CALL(unshare, 2, ENOMEM, EPERM, EINVAL, ENOSPC, EUSERS, ENOSYS),
    CALL(clock_nanosleep, 1, EINTR),
    CALL(nanosleep, 1, EINTR),
    CALL(poll, 2, EINTR, ENOMEM, EINVAL),
    CALL(ppoll, 2, EINTR, ENOMEM, EINVAL),
    CALL(epoll_create1, 2, EMFILE, ENOMEM, ENFILE),
    CALL(epoll_ctl, 2, ENOMEM, ENOSPC),
    CALL(epoll_wait, 1, EINTR),
    CALL(epoll_pwait, 1, EINTR),
    CALL(eventfd2, 2, EMFILE, ENOMEM, ENFILE, ENODEV),
    CALL(timerfd_create, 2, EMFILE, ENOMEM, ENFILE, ENODEV, EPERM),
    CALL(memfd_create, 4, EMFILE, ENOMEM, ENOSYS, EINVAL, ENFILE, EPERM),
        CALL(socket, 4, EMFILE, EACCES, ENOBUFS, EAFNOSUPPORT, EINVAL, ENFILE, ENOMEM, EPERM,
         EPROTONOSUPPORT),
        CALL(bind, 3, EADDRINUSE, EACCES, EROFS, EADDRNOTAVAIL, EINVAL, ELOOP, ENAMETOOLONG, ENOENT,
         ENOMEM, ENOTDIR, EPERM),
        CALL(connect, 3, ECONNREFUSED, EAGAIN, ENOENT, EACCES, EINTR, ENETUNREACH, EPERM,
         EPROTOTYPE, ETIMEDOUT),
    CALL(listen, 1, EADDRINUSE),
        CALL(accept4, 4, EMFILE, ECONNABORTED, EINTR, EPERM, EAGAIN, ENFILE, ENOBUFS, ENOMEM,
         ENOSYS, EPROTO),
    CALL(accept, 2, EMFILE, ECONNABORTED, EAGAIN, EINTR, ENFILE, ENOBUFS, ENOMEM, EPERM, EPROTO),
    CALL(getsockname, 1, ENOBUFS),
    CALL(getpeername, 1, ENOBUFS, ENOTCONN),
    CALL(socketpair, 2, EMFILE, ENOBUFS, EAFNOSUPPORT, ENFILE, ENOMEM, EPROTONOSUPPORT),
    CALL(getsockopt, 1, ENOPROTOOPT),
    CALL(setsockopt, 2, ENOPROTOOPT, ENOMEM, EINVAL),
    CALL(recvfrom, 4, EINTR, EAGAIN, ECONNREFUSED, ECONNRESET, ENOMEM, ENOTCONN),
    CALL(sendto, 5, EINTR, EPIPE, EAGAIN, ECONNRESET, ENOBUFS, EACCES, ENOMEM, ENOTCONN),
    CALL(sendmsg, 4, EINTR, EPIPE, EAGAIN, ECONNRESET, EACCES, ENOBUFS, ENOMEM, ENOTCONN),
    CALL(sendfile, 3, EINVAL, EIO, EAGAIN, ENOMEM, ENOSYS, EOVERFLOW, ESPIPE),
    CALL(shutdown, 1, ENOTCONN),
};
static const struct { int error; const char *name; } errors[] = {
#define ERROR(name) { name, #name }
    ERROR(ENOMEM), ERROR(EPERM), ERROR(ENODEV), ERROR(EAGAIN), ERROR(EACCES), ERROR(ENFILE),
    ERROR(EEXIST), ERROR(EINVAL), ERROR(EIO), ERROR(EBUSY), ERROR(ENOSYS), ERROR(EMFILE),
    ERROR(ENOENT), ERROR(EINTR), ERROR(EDQUOT), ERROR(EFBIG), ERROR(EISDIR), ERROR(ELOOP),
    ERROR(ENAMETOOLONG), ERROR(ENOSPC), ERROR(ENOTDIR), ERROR(ENXIO), ERROR(EOVERFLOW),
    ERROR(EROFS), ERROR(ETXTBSY), ERROR(ESPIPE), ERROR(EPIPE), ERROR(ENOLCK), ERROR(ERANGE),
    ERROR(EMLINK), ERROR(ENOTEMPTY), ERROR(EXDEV), ERROR(EOPNOTSUPP), ERROR(ECHILD), ERROR(ENOTTY),
    ERROR(E2BIG), ERROR(ELIBBAD), ERROR(ENOEXEC), ERROR(ESRCH), ERROR(EFAULT), ERROR(EUSERS),
    ERROR(ENOBUFS), ERROR(EAFNOSUPPORT), ERROR(EPROTONOSUPPORT), ERROR(EADDRINUSE),
    ERROR(EADDRNOTAVAIL), ERROR(ECONNREFUSED), ERROR(ENETUNREACH), ERROR(EPROTOTYPE),
    ERROR(ETIMEDOUT), ERROR(ECONNABORTED), ERROR(EPROTO), ERROR(ENOTCONN), ERROR(ENOPROTOOPT),
    ERROR(ECONNRESET),
};
/* clang-format on */

/* Calls that are made, too, and can't fail where the arguments are right. */
static const long harmless[] = {
    SYS_exit,
    SYS_exit_group,
    SYS_getpid,
    SYS_getppid,
    SYS_gettid,
    SYS_getuid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getegid,
    SYS_sched_yield,
    SYS_arch_prctl,
    SYS_set_tid_address,
    SYS_set_robust_list,
    SYS_rseq,
    SYS_rt_sigreturn,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigpending,
    SYS_restart_syscall,
    SYS_clock_gettime,
    SYS_gettimeofday,
    SYS_uname,
    SYS_sysinfo,
    SYS_umask,
    SYS_getcpu,
};

#define CALLS (sizeof calls / sizeof calls[0])
#define ERRORS (sizeof errors / sizeof errors[0])
#define HARMLESS (sizeof harmless / sizeof harmless[0])

#endif
