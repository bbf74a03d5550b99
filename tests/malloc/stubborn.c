/* stubborn - a thread that keeps all signals to itself, in one of many ways, while another forks,
 * gives memory back and ends the program: stubborn WAY. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int ready[2];

static void fail(const char *what)
{
    fprintf(stderr, "stubborn: %s: %s\n", what, strerror(errno));
    exit(3);
}

static void tell(void)
{
    if (write(ready[1], "", 1) != 1) fail("write");
}

static void use_ppoll(const sigset_t *all)
{
    (void)ppoll(NULL, 0, NULL, all);
}

static void use_pselect(const sigset_t *all)
{
    (void)pselect(0, NULL, NULL, NULL, NULL, all);
}

static void use_epoll(const sigset_t *all)
{
    struct epoll_event e;
    (void)epoll_pwait(epoll_create1(0), &e, 1, -1, all);
}

static void use_suspend(const sigset_t *all)
{
    (void)sigsuspend(all);
}

static void use_sigwait(const sigset_t *all)
{
    int sig;
    (void)sigwait(all, &sig);
}

static void use_sigwaitinfo(const sigset_t *all)
{
    (void)sigwaitinfo(all, NULL);
}

static void use_signalfd(const sigset_t *all)
{
    struct signalfd_siginfo info;
    (void)!read(signalfd(-1, all, 0), &info, sizeof info);
}

static void use_mask(const sigset_t *all)
{
    pthread_sigmask(SIG_BLOCK, all, NULL);
    pause();
}

/* Behind libc's back. */
static void use_system(const sigset_t *all)
{
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, all, NULL, 8);
    pause();
}

static void stay(int sig)
{
    (void)sig;
    tell();
    for (;;) pause();
}

static void use_handler(const sigset_t *all)
{
    struct sigaction sa = { .sa_handler = stay, .sa_mask = *all };
    sigaction(SIGUSR1, &sa, NULL);
    raise(SIGUSR1);
}

static void ignore(int sig)
{
    (void)sig;
}

/* But that of the end, which the test may need. */
static void handle_all(__sighandler_t fn)
{
    for (int s = 1; s < NSIG; s++)
        if (s != SIGTERM && s != SIGCHLD) (void)signal(s, fn);
}

static void use_handlers(const sigset_t *all)
{
    (void)all;
    handle_all(ignore);
    for (;;) pause();
}

static void use_ignored(const sigset_t *all)
{
    (void)all;
    handle_all(SIG_IGN);
    for (;;) pause();
}

static const struct way {
    const char *name;
    void (*run)(const sigset_t *all);
} ways[] = { { "ppoll", use_ppoll },       { "pselect", use_pselect },
             { "epoll", use_epoll },       { "suspend", use_suspend },
             { "sigwait", use_sigwait },   { "sigwaitinfo", use_sigwaitinfo },
             { "signalfd", use_signalfd }, { "mask", use_mask },
             { "system", use_system },     { "handler", use_handler },
             { "handlers", use_handlers }, { "ignored", use_ignored } };

static void *keep_all(void *arg)
{
    const struct way *w = arg;
    sigset_t all;
    free(malloc(10));
    sigfillset(&all);
    if (w->run != use_handler) tell();
    for (;;) w->run(&all);
    return NULL;
}

static void run_child(void)
{
    int status;
    pid_t pid = fork();
    if (pid < 0) fail("fork");
    if (pid == 0) {
        free(malloc(10));
        _exit(0);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    if (status != 0) exit(4);
}

/* Enough of it that malloc wants to give some back. */
static void use_memory(void)
{
    enum { N = 60000 };
    static char *p[N];
    for (int i = 0; i < N; i++) p[i] = malloc(1500);
    for (int i = 0; i < N; i++) free(p[i]);
}

int main(int argc, char **argv)
{
    pthread_t id;
    char c;
    for (size_t i = 0; argc > 1 && i < sizeof ways / sizeof ways[0]; i++) {
        if (strcmp(argv[1], ways[i].name) != 0) continue;
        if (pipe(ready) != 0 || pthread_create(&id, NULL, keep_all, (void *)&ways[i]) != 0)
            fail("thread");
        if (read(ready[0], &c, 1) != 1) fail("read");
        usleep(50000); /* it is a moment yet from there to the wait */
        run_child();
        use_memory();
        return 0;
    }
    return 2;
}
