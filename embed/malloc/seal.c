/* seal.c - detects programs that forbid themselves system calls with seccomp. A report forks and
 * opens files, so it could kill such a program, with a wrong exit status.
 *
 * The kernel has a count of a process's filters. A container's filters are there from the start, so
 * the check is whether the count has risen. Where it can't be read, as after chroot or without free
 * descriptors, prctl still says whether there are filters at all.
 *
 * In seccomp's strict mode even prctl is forbidden, so entering the mode is intercepted. From then
 * on no allocation is recorded, either: the unwinder makes system calls for code that it doesn't
 * know.
 *
 * Owns: struct self: written by the first thread at the start, and by a thread that enters the
 * strict mode. */
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

static struct {
    long filters;        /* at the start; -1: not known */
    unsigned int strict; /* AO_int */
} self;

/* The number of filters; -1: not known. */
static long count_filters(void)
{
    oaki_task_line line = { .label = "Seccomp_filters:\t" };
    if (oaki_task_lines(AT_FDCWD, "/proc/thread-self/status", &line, 1) != 0) return -1;
    return line.value[0] ? strtol(line.value, NULL, 10) : -1;
}

void oaki_seal_start(void)
{
    self.filters = count_filters();
}

bool oaki_sealed_strictly(void)
{
    return AO_int_load(&self.strict) != 0;
}

const char *oaki_sealed(void)
{
    static const char sealed[] =
        "oakum: the program has forbidden itself system calls: no report\n";
    static const char unknown[] =
        "oakum: the program may have forbidden itself system calls: no report\n";
    if (oaki_sealed_strictly()) return sealed;
    if (self.filters < 0) return NULL;
    long now = count_filters();
    if (now >= 0) return now == self.filters ? NULL : sealed;
    if (syscall(SYS_prctl, PR_GET_SECCOMP, 0, 0, 0, 0) == 0) return NULL;
    return self.filters == 0 ? sealed : unknown;
}

OAKI_EXPORT int prctl(int option, ...)
{
    unsigned long a[4];
    va_list ap;
    va_start(ap, option);
    for (int i = 0; i < 4; i++) a[i] = va_arg(ap, unsigned long);
    va_end(ap);
    bool strict = option == PR_SET_SECCOMP && a[0] == SECCOMP_MODE_STRICT;
    if (strict) oaki_tell_seal();
    int result = (int)syscall(SYS_prctl, option, a[0], a[1], a[2], a[3]);
    if (strict && result == 0) AO_int_store(&self.strict, 1);
    return result;
}
