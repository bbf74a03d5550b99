/* measure.c - runs a command, and tells what it cost.
 *
 * usage: measure FILE COMMAND [ARGUMENT]...
 * Appends a line to FILE: wall-clock time and processor time in microseconds, peak memory in KiB.
 * Exits as the command does; with 128 + n if signal n ended it; with 125 if it could not be run. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static long long us(struct timeval t)
{
    return t.tv_sec * 1000000LL + t.tv_usec;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fputs("usage: measure FILE COMMAND [ARGUMENT]...\n", stderr);
        return 125;
    }
    long long start = now_us();
    pid_t child = fork();
    if (child == 0) {
        execvp(argv[2], argv + 2);
        perror(argv[2]);
        _exit(125);
    }
    int status;
    struct rusage used;
    if (child < 0 || wait4(child, &status, 0, &used) != child) {
        perror("measure");
        return 125;
    }
    long long wall = now_us() - start;
    FILE *file = fopen(argv[1], "a");
    if (!file ||
        fprintf(file, "%lld %lld %ld\n", wall, us(used.ru_utime) + us(used.ru_stime),
                used.ru_maxrss) < 0 ||
        fclose(file) != 0) {
        perror(argv[1]);
        return 125;
    }
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
