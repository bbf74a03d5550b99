/* edges - what programs do that is wrong or unusual: edges WHAT. */
#include "forbid.h"
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void free_twice(void)
{
    char *p = malloc(100), *q = malloc(100);
    free(p);
    free(q);
    free(p);
}

static void free_inside(void)
{
    char *p = malloc(100);
    free(p + 16);
}

static void free_foreign(void)
{
    static char data[64];
    free(data + 16);
}

static void close_all(void)
{
    leak();
    for (int fd = 0; fd < 4096; fd++) close(fd);
}

static __attribute__((noinline)) void call_deeply(int n)
{
    char page[2000];
    void *p = n == 0 ? malloc(100) : page;
    __asm__("" : : "r"(p) : "memory");
    if (n > 0) call_deeply(n - 1);
    __asm__("" : : "r"(page) : "memory");
}

/* As a daemon: it closes all, and opens files, which nobody else is to read or to write. */
static void daemon_files(void)
{
    char name[2][32] = { "/tmp/oakum-a-XXXXXX", "/tmp/oakum-b-XXXXXX" };
    int fd[2];
    for (int i = 3; i < 1024; i++) close(i);
    for (int i = 0; i < 2; i++) {
        fd[i] = mkstemp(name[i]);
        if (fd[i] < 0 || unlink(name[i]) != 0 || write(fd[i], "0123456789", 10) != 10) exit(6);
    }
    if (lseek(fd[0], 0, SEEK_SET) != 0) exit(6);
    for (int i = 0; i < 2000; i++) call_deeply(i % 40);
    if (lseek(fd[0], 0, SEEK_CUR) != 0 || lseek(fd[1], 0, SEEK_END) != 10) exit(7);
}

static void close_stderr(void)
{
    leak();
    close(2);
    if (open("/dev/null", O_WRONLY) < 0) abort();
}

static void leave_at_once(void)
{
    leak();
    _exit(5);
}

static void execute(char **argv)
{
    leak();
    execvp(argv[0], argv);
}

/* What only memory refers to that the program has mapped itself, and a reference in the middle. */
static void hidden(void)
{
    char **page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 10; i++) page[i] = malloc(2000);
    page[10] = (char *)malloc(500) + 100;
}

/* And most of the 1,000 MiB are never there together. */
static void waste_little(void)
{
    struct rusage used;
    waste();
    if (getrusage(RUSAGE_SELF, &used) != 0 || used.ru_maxrss > 400 << 10) exit(5);
}

typedef struct item {
    struct item *next;
    char data[1000];
} item;

static item *items;

static __attribute__((noinline)) void add_item(void)
{
    item *new = malloc(sizeof *new);
    if (!new) abort();
    new->next = items;
    items = new;
}

/* A list that only grows, for some seconds. */
static void grow(void)
{
    for (int i = 0; i < 400; i++) {
        for (int k = 0; k < 100; k++) add_item();
        usleep(10000);
    }
}

/* What is left on the stack of those that were called: the frame of a signal's handler, of which
 * the system writes only a part, would have it. */
static __attribute__((noinline)) void wipe(void)
{
    char below[20000];
    memset(below, 0, sizeof below);
    __asm__ __volatile__("" : : "r"(below) : "memory");
}

static void await_report(void)
{
    leak();
    wipe();
    raise(SIGUSR2);
    for (int i = 0; i < 200; i++) usleep(10000); /* a stop cuts a sleep short */
}

static void await_signal(void)
{
    await_report();
    _exit(0);
}

/* With no end of which anybody hears. */
static void await_signal_only(void)
{
    await_report();
    syscall(SYS_exit_group, 0);
}

/* The same two in a child, which has threads of its own for that. */
static void in_child(void (*run)(void))
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        run();
        exit(0);
    }
    if (waitpid(child, &status, 0) != child || status != 0) exit(6);
}

static void await_in_child(void)
{
    in_child(await_signal);
}

static void grow_in_child(void)
{
    in_child(grow);
}

/* A thread of libc's, which keeps a signal of libc's to itself, allocates for each tick. */
static int tick_pipe[2];

static void tick(union sigval v)
{
    (void)v;
    if (write(tick_pipe[1], "", 1) != 1) abort();
}

static void on_time(void)
{
    struct sigevent event = { .sigev_notify = SIGEV_THREAD, .sigev_notify_function = tick };
    struct itimerspec each = { { 0, 10000000 }, { 0, 10000000 } };
    timer_t timer;
    char byte;
    leak();
    if (pipe(tick_pipe) != 0 || timer_create(CLOCK_MONOTONIC, &event, &timer) != 0) exit(6);
    if (timer_settime(timer, 0, &each, NULL) != 0) exit(6);
    for (int i = 0; i < 20; i++)
        if (read(tick_pipe[0], &byte, 1) != 1) i--;
}

static void filter_signal(void)
{
    forbid_all();
    await_signal();
}

/* From here on no file can be opened. */
static void no_files(void)
{
    leak();
    if (setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 3, 3 }) != 0) exit(6);
}

static void *get_some(void *arg)
{
    (void)arg;
    return malloc(100);
}

/* What the limit leaves room for is to be had, and no more. */
static void limited(void)
{
    size_t much = (size_t)200 << 20;
    pthread_t id;
    leak();
    if (setrlimit(RLIMIT_AS, &(struct rlimit){ 1 << 30, 1 << 30 }) != 0) exit(6);
    if (mmap(NULL, much, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED) exit(5);
    char *p = malloc(much), *q = malloc(6 * much);
    if (!p || q) exit(5);
    memset(p, 1, much);
    free(p);
    if (pthread_create(&id, NULL, get_some, NULL) != 0) exit(5);
    pthread_join(id, (void **)&p);
    free(p);
}

/* Not even a report is. */
static void starved(void)
{
    leak();
    if (setrlimit(RLIMIT_AS, &(struct rlimit){ 1 << 20, 1 << 20 }) != 0) exit(6);
}

/* Nor is there anything: /proc, for one. */
static void elsewhere(void)
{
    leak();
    if (chdir("/proc/self/fdinfo") != 0 || chroot(".") != 0) exit(6);
}

/* Has the program privileges that its user has not? */
static void is_secure(void)
{
    exit(getauxval(AT_SECURE) ? 0 : 77);
}

static void *end_now(void *arg)
{
    leak();
    exit(arg != NULL);
}

/* A thread with the smallest stack there is ends the program. */
static void small_exit(void)
{
    pthread_t id;
    pthread_attr_t attr;
    if (pthread_attr_init(&attr) != 0 || pthread_attr_setstacksize(&attr, 16384) != 0) exit(6);
    if (pthread_create(&id, &attr, end_now, NULL) != 0) exit(6);
    pthread_join(id, NULL);
}

/* The thread that ends last ends the program. */
static void *end_last(void *first)
{
    pthread_join(*(pthread_t *)first, NULL);
    leak();
    return NULL;
}

static void outlived(void)
{
    static pthread_t first;
    pthread_t id;
    first = pthread_self();
    if (pthread_create(&id, NULL, end_last, &first) != 0) exit(6);
    pthread_detach(id);
    pthread_exit(NULL);
}

/* The report's stop ends main's pause, and main would end the program with its own status. */
static void *end_beside(void *arg)
{
    leak();
    usleep(100000);
    exit(3);
    return arg;
}

static void wake_up(void)
{
    pthread_t id;
    if (pthread_create(&id, NULL, end_beside, NULL) != 0) exit(6);
    pause();
}

static void wake_and_exit(void)
{
    wake_up();
    exit(4);
}

static void wake_and_leave(void)
{
    wake_up();
    _exit(4);
}

/* A block that grows by steps is not copied with each, and counts with what was asked for. */
static __attribute__((noinline)) int count_moves(void)
{
    char *p = NULL;
    int moves = 0;
    for (size_t n = 4096; n <= 4 << 20; n += 4096) {
        char *q = realloc(p, n);
        if (!q) abort();
        q[n - 1] = 1;
        moves += q != p;
        p = q;
    }
    return moves;
}

static void grow_block(void)
{
    if (count_moves() > 100) exit(5);
}

static void *do_nothing(void *arg)
{
    return arg;
}

/* The loader has allocated for a thread since: a block that is resized in place is still the
 * program's. */
static __attribute__((noinline)) void resize(void)
{
    pthread_t id;
    char *p = malloc(100), *q;
    if (pthread_create(&id, NULL, do_nothing, NULL) != 0) exit(6);
    pthread_join(id, NULL);
    q = realloc(p, 80);
    if (q != p) exit(5);
    memset(q, 1, 80);
}

static void resize_and_lose(void)
{
    resize();
    wipe();
}

/* Ten blocks to which only memory refers that is in no fork. */
static __attribute__((noinline)) char **refer_from(char **page)
{
    for (int i = 0; i < 10; i++) page[i] = malloc(1000);
    if (madvise(page, 4096, MADV_DONTFORK) != 0) exit(6);
    return page;
}

static void dont_fork(void)
{
    refer_from(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

static void dont_fork_malloced(void)
{
    static char **page;
    page = refer_from(aligned_alloc(4096, 4096));
    __asm__("" : : "r"(&page) : "memory");
}

static void *lose_and_exit(void *unused)
{
    for (int i = 0; i < 3000; i++) __asm__("" : : "r"(malloc(1000)));
    exit(5);
    return unused;
}

/* Whoever ends the program reports, on whatever stack. */
static void exit_on_stack(size_t size)
{
    pthread_t t;
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, size);
    if (pthread_create(&t, &small, lose_and_exit, NULL) == 0) pthread_join(t, NULL);
}

static void exit_on_small_stack(void)
{
    exit_on_stack(96 << 10);
}

static void exit_on_smallest_stack(void)
{
    exit_on_stack(24 << 10);
}

static sig_atomic_t of_function, of_action;

static void on_stop_signal(int sig)
{
    of_function += sig == SIGRTMAX - 1;
}

static void on_stop_signal_info(int sig, siginfo_t *info, void *context)
{
    of_action += sig == SIGRTMAX - 1 && info->si_signo == sig && context != NULL;
}

/* The signal that stops threads is the program's too. */
static void handle_stop_signal(void)
{
    int sig = SIGRTMAX - 1;
    struct sigaction a = { .sa_flags = SA_SIGINFO }, old;
    a.sa_sigaction = on_stop_signal_info;
    if (signal(sig, on_stop_signal) != SIG_DFL || raise(sig) != 0) exit(6);
    if (sigaction(sig, &a, &old) != 0 || old.sa_handler != on_stop_signal) exit(7);
    if (raise(sig) != 0 || raise(sig) != 0) exit(6);
    if (sigaction(sig, NULL, &old) != 0 || old.sa_sigaction != on_stop_signal_info) exit(7);
    if (signal(sig, SIG_IGN) == SIG_ERR || raise(sig) != 0) exit(8);
    if (signal(sig, SIG_DFL) != SIG_IGN) exit(9);
    exit(of_function == 1 && of_action == 2 ? 0 : 5);
}

int main(int argc, char **argv)
{
    static const struct edge {
        const char *name;
        void (*run)(void);
    } edges[] = { { "twice", free_twice },      { "inside", free_inside },
                  { "foreign", free_foreign },  { "close-all", close_all },
                  { "daemon-files", daemon_files },
                  { "close-stderr", close_stderr }, { "leave", leave_at_once },
                  { "hidden", hidden },         { "waste", waste_little },
                  { "grow", grow },             { "signal", await_signal },
                  { "signal-only", await_signal_only },
                  { "signal-child", await_in_child }, { "grow-child", grow_in_child },
                  { "filter-signal", filter_signal },
                  { "no-files", no_files },     { "elsewhere", elsewhere },
                  { "outlived", outlived },     { "woken", wake_up },
                  { "woken-exit", wake_and_exit }, { "woken-leave", wake_and_leave },
                  { "limited", limited }, { "on-time", on_time },
                  { "grow-block", grow_block }, { "resize", resize_and_lose },
                  { "dont-fork", dont_fork },
                  { "dont-fork-malloced", dont_fork_malloced },
                  { "exit-small", exit_on_small_stack },
                  { "exit-smallest", exit_on_smallest_stack },
                  { "stop-signal", handle_stop_signal },
                  { "starved", starved }, { "small-exit", small_exit }, { "secure", is_secure } };
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "exec") == 0) execute(argv + 2);
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++)
        if (strcmp(what, edges[i].name) == 0) return edges[i].run(), 0;
    return strcmp(what, "three") == 0 ? 3 : strcmp(what, "none") == 0 ? 0 : 2;
}

#ifdef OWN_MALLOC
/* A program with an allocator of its own. */
void *malloc(size_t n)
{
    static char arena[1 << 20];
    static size_t at;
    at = (at + n + 31) & ~(size_t)15;
    return at < sizeof arena ? arena + at - ((n + 15) & ~(size_t)15) : NULL;
}
void free(void *p) { (void)p; }
#endif
