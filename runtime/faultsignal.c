/* faultsignal.c - the handler of SIGSEGV for dirty_fault.c. Faults not caused by Oakum go to the
 * previous handler (sigchain.c).
 *
 * Owns: the disposition of SIGSEGV, from the start of dirty_fault.c to the heap's end. A handler
 * that the program installs later may have noted Oakum's as its predecessor. So Oakum's is not
 * installed again, and stays usable when the heap ends.
 * Lock: none; `before` is written before the handler is in place, and by SA_RESETHAND. Uses nothing
 * of the host but system calls. */
#include "contract.h"
#include "heap.h"
#include "os.h"
#include "ownmask.h"
#include "restore.h"
#include "sigchain.h"
#include "task.h"
#include "writer.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct {
    struct sigaction before;
    bool installed;
} self;

static void handler(int sig, siginfo_t *info, void *context)
{
    int saved = errno;
    oaki_ownmask_enter(oaki_os_mask_of(context));
    bool ours = info->si_code == SEGV_ACCERR && oaki_fault_resolve((uintptr_t)info->si_addr);
    oaki_ownmask_leave();
    errno = saved;
    if (!ours) oaki_sigchain(&self.before, sig, info, context);
}

/* ---- its place ---- */

bool oaki_faultsignal_is_ours(void)
{
    struct sigaction now;
    return sigaction(SIGSEGV, NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) &&
           now.sa_sigaction == handler;
}

/* The mask includes libc's own signals: no thread may be cancelled in the handler. */
int oaki_faultsignal_install(void)
{
    struct sigaction sa;
    if (self.installed) return oaki_faultsignal_is_ours() ? 0 : EBUSY;
    if (sigaction(SIGSEGV, NULL, &self.before) != 0) return errno;
    memset(&sa, 0, sizeof sa);
    sa.sa_sigaction = handler;
    sa.sa_flags = SA_SIGINFO | SA_RESTART;
    if (oaki_sigchain_on_alternate(&self.before)) sa.sa_flags |= SA_ONSTACK;
    memset(&sa.sa_mask, 0xff, sizeof sa.sa_mask);
    if (sigaction(SIGSEGV, &sa, NULL) != 0) return errno;
    self.installed = true;
    return 0;
}

bool oaki_faultsignal_end(void)
{
    OAKI_REQUIRES_STARTING();
    if (self.installed && oaki_faultsignal_is_ours() && sigaction(SIGSEGV, &self.before, NULL) == 0)
        self.installed = false;
    return !self.installed;
}

void oaki_faultsignal_stays(void)
{
    oaki_restore_except(&self, sizeof self);
}

/* ---- threads that block it ---- */

/* A directory entry, as the system returns it. */
typedef struct entry {
    uint64_t inode;
    int64_t next;
    unsigned short size;
    unsigned char type;
    char name[];
} entry;

/* Returns 1 or 0; -1: /proc can't be read just now. 0 also covers these threads:
 *   - one that is gone, and the process's first thread, which stays as a zombie;
 *   - a thread of the system, whose writes fail where a signal would be sent;
 *   - one in a handler of Oakum. */
static int blocks(int task, const char *tid)
{
    char path[32];
    oaki_task_line line[] = { { .label = "State:\t" }, { .label = "SigBlk:\t" } };
    size_t len = strlen(tid);
    if (tid[0] == '.' || len > sizeof path - sizeof "/status") return 0;
    memcpy(path, tid, len);
    memcpy(path + len, "/status", sizeof "/status");
    if (oaki_task_lines(task, path, line, OAKI_COUNT(line)) != 0)
        return oaki_task_none(errno) ? 0 : -1;
    const char *state = line[0].value;
    uint64_t mask = 0;
    if (*state == 'Z' || *state == 'X') return 0;
    for (const char *p = line[1].value; *p; p++)
        mask = mask << 4 | (uint64_t)(*p <= '9' ? *p - '0' : *p - 'a' + 10);
    if (!(mask >> (SIGSEGV - 1) & 1) || oaki_ownmask_has(atoi(tid))) return 0;
    oaki_task t;
    if (!oaki_task_read(atoi(tid), &t)) return oaki_task_none(errno) ? 0 : -1;
    return !t.worker;
}

int oaki_faultsignal_blocked(void)
{
    OAKI_REQUIRES_OUTSIDE();
    char buffer[480] __attribute__((aligned(8)));
    int found = 0, task;
    long n = 0;
    task = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/task",
                        O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (task < 0) return -1;
    while (!found && (n = syscall(SYS_getdents64, task, buffer, sizeof buffer)) > 0)
        for (long at = 0; at < n && !found;) {
            const entry *e = (const entry *)(buffer + at);
            at += e->size;
            found = blocks(task, e->name);
            if (found > 0) found = atoi(e->name);
        }
    if (n < 0) found = -1;
    syscall(SYS_close, task);
    return found;
}
