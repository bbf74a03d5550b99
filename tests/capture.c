/* capture.c - a forked child with its stderr in a pipe. */
#include "capture.h"

#include <check.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void run_child(void (*fn)(void *arg), void *arg, const int pipe_ends[2])
{
    setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
    dup2(pipe_ends[1], STDERR_FILENO);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    fn(arg);
    _exit(0);
}

int test_capture(void (*fn)(void *arg), void *arg, char *out, size_t n)
{
    int pipe_ends[2], status;
    ck_assert_int_eq(pipe(pipe_ends), 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) run_child(fn, arg, pipe_ends);
    close(pipe_ends[1]);
    size_t len = 0;
    ssize_t got;
    while (len < n - 1 && (got = read(pipe_ends[0], out + len, n - 1 - len)) > 0)
        len += (size_t)got;
    out[len] = '\0';
    close(pipe_ends[0]);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return status;
}
