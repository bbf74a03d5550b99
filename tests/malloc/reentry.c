/* reentry - a thread's first malloc comes from inside libc, which may hold any lock of its own:
 * reentry [forks [WHICH]]. Each function that allocates is called by a fresh thread; with
 * `forks` again and again, while the first thread forks. What hangs is killed by SIGALRM. */
#include <aio.h>
#include <argz.h>
#include <arpa/inet.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <fts.h>
#include <glob.h>
#include <grp.h>
#include <iconv.h>
#include <ifaddrs.h>
#include <libintl.h>
#include <link.h>
#include <locale.h>
#include <mntent.h>
#include <net/if.h>
#include <netdb.h>
#include <pthread.h>
#include <pwd.h>
#include <regex.h>
#include <sched.h>
#include <search.h>
#include <semaphore.h>
#include <shadow.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <syslog.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

#define WATCHDOG 100 /* seconds */
#define FORKS 80 /* beside each part */

static int wrong(const char *what)
{
    fprintf(stderr, "%s\n", what);
    return 1;
}

/* ---- of threads ---- */

static int own_attributes(void)
{
    pthread_attr_t a;
    void *lo;
    size_t n;
    if (pthread_getattr_np(pthread_self(), &a) != 0) return wrong("pthread_getattr_np");
    pthread_attr_getstack(&a, &lo, &n);
    pthread_attr_destroy(&a);
    return n == 0;
}

static int attribute_affinity(void)
{
    pthread_attr_t a;
    cpu_set_t cpus;
    sched_getaffinity(0, sizeof cpus, &cpus);
    pthread_attr_init(&a);
    int e = pthread_attr_setaffinity_np(&a, sizeof cpus, &cpus);
    pthread_attr_destroy(&a);
    return e;
}

static void *nothing(void *arg)
{
    return arg;
}
static int nothing_c11(void *arg)
{
    return arg != NULL;
}

static int another_thread(void)
{
    pthread_t id;
    return pthread_create(&id, NULL, nothing, NULL) != 0 || pthread_join(id, NULL) != 0;
}

static int another_c11_thread(void)
{
    thrd_t id;
    return thrd_create(&id, nothing_c11, NULL) != thrd_success ||
           thrd_join(id, NULL) != thrd_success;
}

static int late_key(void)
{
    pthread_key_t key[40];
    int n = 0, e = 0;
    while (n < 40 && pthread_key_create(&key[n], NULL) == 0) n++;
    for (int i = 0; i < n; i++) e |= pthread_setspecific(key[i], "");
    for (int i = 0; i < n; i++) pthread_key_delete(key[i]);
    return e;
}

static void none(void) {}

static int fork_handlers(void)
{
    int e = 0;
    for (int i = 0; i < 60; i++) e |= pthread_atfork(none, NULL, NULL); /* under its lock */
    return e;
}

static int a_fork(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        free(malloc(10));
        _exit(3);
    }
    int status;
    return waitpid(pid, &status, 0) != pid || WEXITSTATUS(status) != 3;
}

/* ---- at the end ---- */

static int exit_functions(void)
{
    int e = 0;
    for (int i = 0; i < 40; i++) e |= atexit(none); /* the 33rd needs memory, under the lock */
    return e;
}

static void of_object(void *arg)
{
    (void)arg;
}
extern int __cxa_thread_atexit_impl(void (*fn)(void *), void *arg, void *object);
extern void *__dso_handle;

static int thread_exit_function(void)
{
    return __cxa_thread_atexit_impl(of_object, NULL, &__dso_handle);
}

/* ---- the loader ---- */

static int a_library(void)
{
    void *l = dlopen("libm.so.6", RTLD_NOW);
    if (!l) return wrong(dlerror());
    return dlclose(l);
}

static int no_library(void)
{
    return dlopen("/nonexistent/lib.so", RTLD_NOW) != NULL || dlerror() == NULL;
}

static int no_name(void)
{
    return dlsym(RTLD_DEFAULT, "there_is_no_such_name") != NULL || dlerror() == NULL;
}

static int see(struct dl_phdr_info *info, size_t n, void *ctx)
{
    (void)info, (void)n;
    free(malloc(1000)); /* under the loader's lock */
    ++*(int *)ctx;
    return 0;
}

static int each_object(void)
{
    int n = 0;
    dl_iterate_phdr(see, &n);
    return n == 0;
}

static int a_namespace(void)
{
    void *l = dlmopen(LM_ID_NEWLM, "libm.so.6", RTLD_NOW);
    return l && dlclose(l);
}

static int a_backtrace(void)
{
    void *frame[10];
    int n = backtrace(frame, 10); /* loads libgcc the first time */
    char **name = backtrace_symbols(frame, n);
    free(name);
    return n <= 0 || !name;
}

/* ---- files ---- */

static int wide_file(void)
{
    FILE *f = fopen("/etc/passwd", "r,ccs=UTF-8");
    if (!f) return wrong("fopen with ccs");
    wint_t c = fgetwc(f);
    return fclose(f) != 0 || c == WEOF;
}

static int a_file(void)
{
    char *line = NULL;
    size_t n = 0;
    FILE *f = fopen("/etc/passwd", "r");
    ssize_t got = f ? getline(&line, &n, f) : -1;
    free(line);
    return !f || fclose(f) != 0 || got <= 0;
}

static int memory_stream(void)
{
    char *p = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&p, &n);
    for (int i = 0; f && i < 500; i++) {
        fprintf(f, "%050d", i);
        if (i % 50 == 0) fflush(NULL); /* under the lock of all files */
    }
    int e = !f || fclose(f) != 0 || n != 25000;
    free(p);
    return e;
}

static ssize_t cook(void *cookie, const char *p, size_t n)
{
    (void)cookie, (void)p;
    for (int i = 0; i < 100; i++) free(malloc(40000)); /* no cache has these */
    return (ssize_t)n;
}

static int cookie_stream(void)
{
    FILE *f = fopencookie(NULL, "w", (cookie_io_functions_t){ .write = cook });
    return !f || fputs("text", f) < 0 || fflush(NULL) != 0 || fclose(f) != 0;
}

static int a_pipe(void)
{
    FILE *f = popen("exit 7", "r");
    return !f || WEXITSTATUS(pclose(f)) != 7;
}

static int a_program(void)
{
    char *argv[] = { "sh", "-c", "exit 6", NULL };
    pid_t pid;
    int status;
    if (posix_spawnp(&pid, "sh", NULL, NULL, argv, (char *[]){ NULL }) != 0) return 1;
    return waitpid(pid, &status, 0) != pid || WEXITSTATUS(status) != 6;
}

static int a_folder(void)
{
    DIR *d = opendir("/");
    return !d || !readdir(d) || closedir(d) != 0;
}

static int sorted_folder(void)
{
    struct dirent **list;
    int n = scandir("/", &list, NULL, alphasort);
    for (int i = 0; i < n; i++) free(list[i]);
    if (n > 0) free(list);
    return n <= 0;
}

static int a_tree(void)
{
    char *path[] = { "/dev/shm", NULL };
    FTS *f = fts_open(path, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    return !f || !fts_read(f) || fts_close(f) != 0;
}

static int a_pattern(void)
{
    glob_t g;
    int e = glob("/etc/pass*", 0, NULL, &g);
    if (e == 0) globfree(&g);
    return e;
}

static int a_path(void)
{
    char *here = getcwd(NULL, 0), *real = realpath("/etc/../etc/passwd", NULL);
    int e = !here || !real;
    free(here);
    free(real);
    return e;
}

static int mounts(void)
{
    FILE *f = setmntent("/proc/self/mounts", "r");
    return f && (getmntent(f), endmntent(f) != 1);
}

/* ---- names and words ---- */

static int a_host(void)
{
    struct addrinfo hints = { .ai_family = AF_INET, .ai_flags = AI_NUMERICHOST }, *found;
    if (getaddrinfo("127.0.0.1", "80", &hints, &found) != 0) return wrong("getaddrinfo");
    freeaddrinfo(found);
    hints.ai_flags = 0;
    if (getaddrinfo("localhost", "http", &hints, &found) == 0) freeaddrinfo(found);
    return 0;
}

static int old_host(void)
{
    (void)gethostbyname("localhost");
    (void)getservbyname("http", "tcp");
    return 0;
}

static int a_user(void)
{
    (void)getgrnam("root");
    (void)getspnam("root");
    return getpwnam("root") == NULL;
}

static int interfaces(void)
{
    struct ifaddrs *a = NULL;
    if (getifaddrs(&a) == 0) freeifaddrs(a);
    struct if_nameindex *i = if_nameindex();
    if (i) if_freenameindex(i);
    return 0;
}

static int a_locale(void)
{
    locale_t l = newlocale(LC_ALL_MASK, "C.UTF-8", NULL);
    if (l) freelocale(l);
    return !setlocale(LC_ALL, "C.UTF-8") || !setlocale(LC_ALL, "C");
}

static int a_zone(void)
{
    static atomic_int n;
    time_t now = time(NULL);
    struct tm tm;
    setenv("TZ", atomic_fetch_add(&n, 1) % 2 ? ":Europe/Berlin" : "UTC", 1); /* both have locks */
    tzset();
    return !localtime_r(&now, &tm) || mktime(&tm) == -1;
}

static int a_variable(void)
{
    return setenv("OAKUM_TEST", "a value", 1) || unsetenv("OAKUM_TEST");
}

static int a_message(void)
{
    bindtextdomain("oakum-test", "/nonexistent");
    return !dcgettext("oakum-test", "a message", LC_MESSAGES);
}

static int a_log_line(void)
{
    openlog("oakum-test", LOG_NDELAY, LOG_USER);
    syslog(LOG_DEBUG, "%0500d", 1);
    closelog();
    return 0;
}

static int converted(void)
{
    iconv_t c = iconv_open("UTF-16", "ISO-8859-1");
    return c == (iconv_t)-1 || iconv_close(c) != 0;
}

static int an_expression(void)
{
    regex_t r;
    if (regcomp(&r, "(a|b)*c", REG_EXTENDED) != 0) return 1;
    int e = regexec(&r, "ababc", 0, NULL, 0);
    regfree(&r);
    return e;
}

static int compare(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static int sorted(void)
{
    static int numbers[4096]; /* more than qsort has on the stack */
    for (int i = 0; i < 4096; i++) numbers[i] = i * 7919 % 4096;
    qsort(numbers, 4096, sizeof *numbers, compare);
    return 0;
}

static int searched(void)
{
    void *root = NULL;
    int key = 1;
    void *p = tsearch(&key, &root, compare);
    return !p || !tdelete(&key, &root, compare);
}

static int printed(void)
{
    char *p = NULL, out[64];
    int e = asprintf(&p, "%d %ls", 1, L"wide") < 0;
    free(p);
    return e || snprintf(out, sizeof out, "%.400Lf", 1.5L) < 0;
}

static int arguments(void)
{
    char *argz = NULL;
    size_t n = 0;
    int e = argz_create_sep("a:b:c", ':', &argz, &n);
    free(argz);
    return e;
}

/* ---- helpers of libc's ---- */

static void on_time(union sigval v)
{
    sem_post(v.sival_ptr);
}

static int a_timer(void)
{
    static sem_t due;
    sem_init(&due, 0, 0);
    struct sigevent e = { .sigev_notify = SIGEV_THREAD,
                          .sigev_notify_function = on_time,
                          .sigev_value.sival_ptr = &due };
    struct itimerspec soon = { .it_value.tv_nsec = 1 };
    timer_t t;
    if (timer_create(CLOCK_MONOTONIC, &e, &t) != 0) return 1;
    timer_settime(t, 0, &soon, NULL);
    while (sem_wait(&due) != 0) {
    }
    return timer_delete(t);
}

static int asynchronous(void)
{
    char in[10];
    struct aiocb a = { .aio_fildes = open("/etc/passwd", O_RDONLY),
                       .aio_buf = in,
                       .aio_nbytes = 10 };
    const struct aiocb *list[] = { &a };
    int e = aio_read(&a);
    while (e == 0 && aio_error(&a) == EINPROGRESS) aio_suspend(list, 1, NULL);
    e = e != 0 || aio_return(&a) != 10;
    close(a.aio_fildes);
    return e;
}

/* ---- all of them ---- */

#define CASE(name)     \
    {                  \
#name, name, 0 \
    }
#define ALONE(name)    \
    {                  \
#name, name, 1 \
    } /* what it changes is the process's, or piles up */

static const struct part {
    const char *name;
    int (*fn)(void);
    int alone;
} parts[] = {
    CASE(own_attributes),
    CASE(attribute_affinity),
    CASE(another_thread),
    CASE(another_c11_thread),
    ALONE(late_key),
    ALONE(fork_handlers),
    CASE(a_fork),
    ALONE(exit_functions),
    CASE(thread_exit_function),
    CASE(a_library),
    CASE(no_library),
    CASE(no_name),
    CASE(each_object),
    ALONE(a_namespace),
    CASE(a_backtrace),
    CASE(wide_file),
    CASE(a_file),
    CASE(memory_stream),
    CASE(cookie_stream),
    CASE(a_pipe),
    CASE(a_program),
    CASE(a_folder),
    CASE(sorted_folder),
    CASE(a_tree),
    CASE(a_pattern),
    CASE(a_path),
    CASE(mounts),
    CASE(a_host),
    ALONE(old_host),
    CASE(a_user),
    CASE(interfaces),
    ALONE(a_locale),
    ALONE(a_zone),
    ALONE(a_variable),
    CASE(a_message),
    ALONE(a_log_line),
    CASE(converted),
    CASE(an_expression),
    ALONE(sorted),
    CASE(searched),
    CASE(printed),
    CASE(arguments),
    ALONE(a_timer),
    CASE(asynchronous),
};

enum { PARTS = sizeof parts / sizeof parts[0] };

static void *run(void *arg)
{
    const struct part *p = arg;
    return p->fn() == 0 ? NULL : arg;
}

static int in_fresh_threads(void)
{
    int failed = 0;
    for (int i = 0; i < PARTS; i++) {
        pthread_t id;
        void *bad;
        if (pthread_create(&id, NULL, run, (void *)&parts[i]) != 0) return wrong("pthread_create");
        pthread_join(id, &bad);
        if (bad) failed = wrong(parts[i].name);
    }
    return failed;
}

static atomic_int quit;

static void *run_on(void *arg)
{
    const struct part *p = arg;
    while (!atomic_load(&quit)) {
        pthread_t id;
        void *bad;
        if (pthread_create(&id, NULL, run, (void *)p) != 0) continue;
        pthread_join(id, &bad);
        if (bad) return bad;
    }
    return NULL;
}

/* One thread for each of a few parts at a time forks beside it: what libc locks for a fork may be
 * locked by one that calls malloc. */
static int beside_forks(int first, int n)
{
    pthread_t id[PARTS];
    int failed = 0;
    alarm(WATCHDOG); /* anew for each part */
    atomic_store(&quit, 0);
    for (int i = first; i < first + n; i++)
        if (pthread_create(&id[i], NULL, run_on, (void *)&parts[i]) != 0)
            return wrong("pthread_create");
    for (int i = 0; i < FORKS; i++) failed |= a_fork();
    atomic_store(&quit, 1);
    for (int i = first; i < first + n; i++) {
        void *bad;
        pthread_join(id[i], &bad);
        if (bad) failed = wrong(parts[i].name);
    }
    return failed;
}

static int forks(const char *only)
{
    int failed = 0;
    for (int i = 0; i < PARTS; i++)
        if (!parts[i].alone && (!only || strcmp(parts[i].name, only) == 0))
            failed |= beside_forks(i, 1);
    return failed;
}

int main(int argc, char **argv)
{
    alarm(WATCHDOG);
    if (argc > 1 && strcmp(argv[1], "forks") == 0) return forks(argc > 2 ? argv[2] : NULL);
    return in_fresh_threads();
}
