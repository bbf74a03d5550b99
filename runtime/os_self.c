/* os_self.c - the ids of the calling thread and of its process, also where a filter refuses the
 * calls for them.
 *
 * The fallback for a thread's id is a priority-inheriting futex: as the thread takes it, the kernel
 * writes the id there. The fallback for a process's id is the target of /proc/self, or a socket's
 * report about its other end. A filter may refuse with any errno. A filter that kills gives no
 * warning.
 *
 * Owns nothing and takes no lock. Bound: one system call, four where it is refused. */
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PATH_MOST 32

/* No other thread knows the word, so it needs no unlocking, and the kernel keeps no state for
 * it. */
static int tid_by_futex(void)
{
    unsigned int word = 0;
    if (syscall(SYS_futex, &word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0) != 0) return -1;
    return (int)(AO_int_load(&word) & FUTEX_TID_MASK);
}

int oaki_os_tid(void)
{
    int tid = (int)syscall(SYS_gettid);
    if (OAKI_LIKELY(tid > 0)) return tid;
    int saved = errno;
    tid = tid_by_futex();
    errno = saved;
    return tid;
}

static int pid_by_link(void)
{
    char text[PATH_MOST];
    ssize_t n = syscall(SYS_readlinkat, AT_FDCWD, "/proc/self", text, sizeof text);
    int pid = 0;
    for (ssize_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9') return -1;
        pid = pid * 10 + (text[i] - '0');
    }
    return n > 0 ? pid : -1;
}

static int pid_by_socket(void)
{
    int fd[2];
    struct ucred peer = { .pid = -1 };
    socklen_t n = sizeof peer;
    if (syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) != 0) return -1;
    if (syscall(SYS_getsockopt, fd[0], SOL_SOCKET, SO_PEERCRED, &peer, &n) != 0) peer.pid = -1;
    syscall(SYS_close, fd[0]);
    syscall(SYS_close, fd[1]);
    return peer.pid;
}

int oaki_os_pid(void)
{
    int pid = (int)getpid();
    if (OAKI_LIKELY(pid > 0)) return pid;
    int saved = errno;
    pid = pid_by_link();
    if (pid <= 0) pid = pid_by_socket();
    errno = saved;
    return pid;
}
