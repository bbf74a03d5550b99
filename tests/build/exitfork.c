/* exitfork.c - a program ends while another thread forks. Usage: exitfork MICROSECONDS, before it
 * ends. 3: a child has signals blocked that its parent has not. */
#include <errno.h>
#include <oakum/oakum.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int is_blocked(void)
{
    sigset_t now;
    return pthread_sigmask(SIG_BLOCK, NULL, &now) != 0 || sigismember(&now, SIGTERM);
}

static void *fork_again_and_again(void *arg)
{
    for (;;) {
        int status = 0;
        pid_t child = fork();
        if (child == 0) _exit(is_blocked());
        while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
        if (child > 0 && status != 0) _exit(3);
    }
    return arg;
}

int main(int argc, char **argv)
{
    pthread_t t;
    if (argc < 2 || !oak_alloc(100) || pthread_create(&t, NULL, fork_again_and_again, NULL))
        return 2;
    usleep((useconds_t)atoi(argv[1]));
    return 0;
}
