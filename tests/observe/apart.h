/* apart.h - is a shielded call in a process of its own here (observe/shield.h)? */
#ifndef TESTS_OBSERVE_APART_H
#define TESTS_OBSERVE_APART_H

#include "observe/shield.h"
#include "runtime/os.h"
#include "tests/skip.h"

#include <sys/wait.h>
#include <unistd.h>

static void note_pid(void *pid)
{
    *(int *)pid = oaki_os_pid();
}

static void look_if_apart(void)
{
    oaki_shield_loss loss;
    int pid = 0;
    oaki_shield how = oaki_shield_call(note_pid, &pid, UINT64_C(100000000000), &loss);
    _exit(how != OAKI_SHIELD_OVER || pid == oaki_os_pid());
}

/* Not with a sanitizer, in Valgrind, in qemu. Asked in a child, so that nothing is mapped here. */
static inline bool test_skip_in_place(void)
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) look_if_apart();
    bool looked = pid > 0 && waitpid(pid, &status, 0) == pid;
    return test_skip(!looked || status != 0, "no process of its own");
}

#endif
