/* inject.h - one run of a program in which one system call fails. */
#ifndef OAKUM_TESTS_INJECT_H
#define OAKUM_TESTS_INJECT_H

#include <stdbool.h>
#include <stddef.h>

/* A program leaves the count with prctl(INJECT_MARK, false) where it makes calls of its own, and
 * comes back to it with true. */
#define INJECT_MARK 0x4f414b55

#define INJECT_CALLS 512  /* numbers of system calls are below */
#define INJECT_KNOWN 200  /* a jump of the filter goes so far */
#define INJECT_ERRORS 134 /* and so are errors'; 0 is none */

typedef struct injection {
    char *const *argv;
    const char *folder; /* for what the program writes; its working folder */
    long call;          /* -1: none fails, all are counted */
    const long *known;  /* with it, all calls that are expected */
    size_t nknown;      /* at most INJECT_KNOWN */
    int error;
    unsigned at;       /* which of them, from 1 */
    bool onwards;      /* that one and all that follow */
    bool counts_start; /* counts from its exec on, not from the first mark */
    unsigned seconds;  /* then it hangs */
    int input;         /* standard input, or -1 */
    int out, err;      /* files for what it says */
} injection;

typedef struct injected {
    bool hangs;
    int status; /* as waitpid has it; of the first process */
    unsigned count[INJECT_CALLS][INJECT_ERRORS]; /* where none fails: of 0 all, of an error those
                                                  * that could give it */
    unsigned met;                                /* calls that have failed */
    long unknown; /* where one fails: a call that isn't known and was made, or -1 */
    bool muted;                                  /* one of these was a write to standard error */
} injected;

/* Run it to its end, traced by this process, which has no other children meanwhile. 0, or -1 where
 * it can't be traced. `started` is called with its process id once it runs, if not NULL. One that
 * hangs is left as it is, and killed by the kernel when its tracer exits. */
int inject_run(const injection *in, injected *out, void (*started)(int pid, void *ctx), void *ctx);

#endif
