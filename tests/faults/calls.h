/* calls.h - the system calls that check-faults makes fail, with errors of their manual pages that a
 * kernel under load or a container's filter gives, and the errors' names. */
#ifndef OAKUM_TESTS_CALLS_H
#define OAKUM_TESTS_CALLS_H

#include <errno.h>
#include <sys/syscall.h>

/* clang-format off */
static const struct { const char *name; long nr; int errors[6]; } calls[] = {
#define CALL(name, ...) { #name, SYS_##name, { __VA_ARGS__ } }
    CALL(mmap, ENOMEM, EPERM), /* EAGAIN is of locked memory, which none of the programs has */
    CALL(munmap, ENOMEM),
    CALL(mremap, ENOMEM),
    CALL(mprotect, ENOMEM, EACCES),
    CALL(madvise, ENOMEM, EAGAIN, EINVAL, EPERM),
    CALL(mincore, EAGAIN, ENOMEM),
    CALL(msync, ENOMEM),
    CALL(brk, ENOMEM),
    CALL(openat, EMFILE, ENFILE, ENOENT, EACCES, EINTR, ENOMEM),
    CALL(read, EINTR, EIO, EAGAIN),
    CALL(pread64, EINTR, EIO),
    CALL(write, EINTR, EIO, ENOSPC, EPIPE, EAGAIN),
    CALL(writev, EINTR, EIO, ENOSPC),
    CALL(pwrite64, EINTR, ENOSPC),
    CALL(close, EINTR, EIO),
    CALL(lseek, ESPIPE),
    CALL(fstat, ENOMEM, EOVERFLOW),
    CALL(newfstatat, ENOENT, EACCES, ENOMEM),
    CALL(statx, ENOENT, ENOMEM),
    CALL(fcntl, EMFILE, EINVAL),
    CALL(dup, EMFILE),
    CALL(dup2, EMFILE),
    CALL(dup3, EMFILE),
    CALL(pipe2, EMFILE, ENFILE),
    CALL(readlink, ENOENT, EACCES),
    CALL(getdents64, EINVAL),
    CALL(getcwd, ENOENT, ENOMEM),
    CALL(access, ENOENT, EACCES),
    CALL(faccessat, ENOENT, EACCES),
    CALL(chdir, ENOENT, EACCES),
    CALL(mkdir, EACCES, ENOSPC, EROFS),
    CALL(unlink, ENOENT, EROFS),
    CALL(rename, ENOSPC, EROFS),
    CALL(ftruncate, EINTR, ENOSPC),
    CALL(fchmod, EPERM),
    CALL(fchmodat, EPERM, ENOENT),
    CALL(unlinkat, ENOENT, EROFS),
    CALL(flock, EINTR, ENOLCK),
    CALL(statfs, ENOENT, ENOMEM),
    CALL(chmod, EPERM),
    CALL(clone, EAGAIN, ENOMEM, EPERM),
    CALL(clone3, EAGAIN, ENOMEM, EPERM),
    CALL(wait4, EINTR),
    CALL(tgkill, EAGAIN),
    CALL(rt_sigtimedwait, EAGAIN, EINTR),
    CALL(rt_tgsigqueueinfo, EAGAIN),
    CALL(sigaltstack, ENOMEM, EPERM),
    CALL(futex, EINTR, EAGAIN),
    CALL(membarrier, ENOSYS, EPERM, EINVAL),
    CALL(userfaultfd, EPERM, ENOSYS, EMFILE, ENOMEM),
    CALL(ioctl, EINVAL, ENOMEM, EAGAIN, ENOTTY),
    CALL(getrandom, EAGAIN, EINTR, ENOSYS, EPERM),
    CALL(sched_getaffinity, EINVAL, EPERM),
    CALL(prlimit64, EPERM),
    CALL(prctl, EINVAL, EPERM),
    CALL(process_vm_readv, EPERM, ENOSYS, ENOMEM, ESRCH),
    CALL(process_vm_writev, EPERM, ENOSYS, ENOMEM, ESRCH),
    CALL(process_madvise, EPERM, ENOSYS),
    CALL(mlock, ENOMEM, EPERM),
    CALL(close_range, ENOSYS, EPERM, EMFILE),
    CALL(unshare, ENOMEM, EPERM),
    CALL(clock_nanosleep, EINTR),
    CALL(nanosleep, EINTR),
    CALL(poll, EINTR, ENOMEM),
    CALL(ppoll, EINTR, ENOMEM),
    CALL(epoll_create1, EMFILE, ENOMEM),
    CALL(epoll_ctl, ENOMEM, ENOSPC),
    CALL(epoll_wait, EINTR),
    CALL(epoll_pwait, EINTR),
    CALL(eventfd2, EMFILE, ENOMEM),
    CALL(timerfd_create, EMFILE, ENOMEM),
    CALL(memfd_create, EMFILE, ENOMEM, ENOSYS),
    CALL(socket, EMFILE, EACCES, ENOBUFS),
    CALL(bind, EADDRINUSE, EACCES),
    CALL(connect, ECONNREFUSED, EAGAIN, ENOENT),
    CALL(listen, EADDRINUSE),
    CALL(accept4, EMFILE, ECONNABORTED, EINTR),
    CALL(accept, EMFILE, ECONNABORTED),
    CALL(getsockname, ENOBUFS),
    CALL(getpeername, ENOBUFS),
    CALL(socketpair, EMFILE, ENOBUFS),
    CALL(getsockopt, ENOPROTOOPT),
    CALL(setsockopt, ENOPROTOOPT, ENOMEM),
    CALL(recvfrom, EINTR, EAGAIN, ECONNREFUSED),
    CALL(sendto, EINTR, EPIPE, EAGAIN),
    CALL(sendmsg, EINTR, EPIPE, EAGAIN),
    CALL(sendfile, EINVAL, EIO, EAGAIN),
    CALL(shutdown, ENOTCONN),
};
static const struct { int error; const char *name; } errors[] = {
#define ERROR(name) { name, #name }
    ERROR(ENOMEM), ERROR(EAGAIN), ERROR(EPERM), ERROR(EACCES), ERROR(EINVAL), ERROR(EMFILE),
    ERROR(ENFILE), ERROR(ENOENT), ERROR(EINTR), ERROR(EIO), ERROR(ENOSPC), ERROR(EPIPE),
    ERROR(ESPIPE), ERROR(EOVERFLOW), ERROR(EROFS), ERROR(ENOSYS), ERROR(ENOTTY), ERROR(ESRCH),
    ERROR(EADDRINUSE), ERROR(ENOBUFS), ERROR(ECONNABORTED), ERROR(ENOPROTOOPT),
    ERROR(ENOLCK), ERROR(ECONNREFUSED), ERROR(ENOTCONN),
};
/* clang-format on */

#define CALLS (sizeof calls / sizeof calls[0])
#define ERRORS (sizeof calls[0].errors / sizeof(int))

#endif
