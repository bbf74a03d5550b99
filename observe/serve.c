/* serve.c - starts and stops the debug server, also at a fork and at the program's exit.
 *
 * Owns: oaki_the_server, struct run. Lock: run.lock, a mutex of the host's library. It covers
 * starts and stops, and queries about both. */
#include "serve.h"
#include "cancel.h"
#include "foreign.h"
#include "mhd.h"
#include "runtime/heap.h"
#include "runtime/options.h"
#include "runtime/os.h"
#include "runtime/print.h"
#include "runtime/thread.h"
#include <errno.h>
#include <limits.h>
#include <oakum/base.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EXIT_WAIT_S 1 /* at most so long does the server delay the program's exit */

oaki_server oaki_the_server;

static oaki_server *const self = &oaki_the_server;

static struct {
    pthread_mutex_t lock;
    pthread_t loop;
    bool running;
    bool joined;     /* the loop, at the program's exit */
    bool registered; /* with atexit */
    pid_t pid;       /* the process that runs the server */
    char error[OAKI_SERVE_ERROR];
} run = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* ---- failures ---- */

static int fail(int e, const char *why)
{
    if (why != run.error) oaki_format(run.error, sizeof run.error, "%s", why);
    errno = e;
    return -1;
}

static bool is_token(const char *s)
{
    size_t n = strlen(s);
    for (size_t i = 0; i < n; i++)
        if (s[i] <= ' ' || s[i] > '~') return false;
    return n <= OAKI_SERVE_TOKEN_MAX;
}

/* The start of the server's location: an address of TCP, or else the socket's path. */
static const char *scheme(void)
{
    return self->listener.tcp ? "" : "unix:";
}

static const char *place(void)
{
    return self->listener.tcp ? self->listener.url : self->listener.path;
}

/* ---- starting ---- */

static int take_options(const oak_serve_options *o)
{
    const char *token = o && o->token ? o->token : "";
    const char *host = o && o->host ? o->host : "";
    unsigned clients = o && o->max_clients ? o->max_clients : OAKI_SERVE_CLIENTS;
    if (!is_token(token))
        return fail(EINVAL, "a token is 1 to 255 visible characters of ASCII");
    if (strlen(host) > OAKI_SERVE_HOST_MAX) return fail(EINVAL, "host is too long for a name");
    if (clients > OAKI_SERVE_CLIENTS_MAX) return fail(EINVAL, "max_clients is more than 1024");
    memset(self->token, 0, sizeof self->token);
    memset(self->host, 0, sizeof self->host);
    memcpy(self->token, token, strlen(token));
    memcpy(self->host, host, strlen(host));
    self->max_clients = clients;
    self->user = geteuid();
    return 0;
}

static int load(void)
{
    char missing[OAKI_FOREIGN_WHY];
    if (oaki_mhd_load(missing)) return 0;
    oaki_format(run.error, sizeof run.error,
                "libmicrohttpd can't be loaded (%s): install libmicrohttpd12, or what has it",
                missing);
    return fail(ELIBACC, run.error);
}

static void close_all(void)
{
    oaki_socket_remove(&self->listener);
    if (!oaki_wake_is_apart()) oaki_listen_close(&self->listener);
    oaki_wake_close();
    self->listener.n = 0;
    free(self->clients);
    self->clients = NULL;
}

/* Waits until the loop has opened its files, in its own table of descriptors. */
static int start_loop(void)
{
    oaki_loop_start start;
    sem_init(&start.ready, 0, 0);
    AO_int_store(&self->quit, 0);
    int e = oaki_serve_thread_start(&run.loop, oaki_serve_loop, &start);
    while (e == 0 && sem_wait(&start.ready) != 0) continue;
    sem_destroy(&start.ready);
    if (e != 0) return fail(e, "no thread can be started");
    if (start.error == 0) {
        oaki_wake_hand_over(&self->listener);
        return 0;
    }
    pthread_join(run.loop, NULL);
    return fail(start.error, "libmicrohttpd can't be started");
}

/* With an address, the socket may be missing: then run.error says why. */
static int listen_all(const char *address)
{
    memset(&self->listener, 0, sizeof self->listener);
    if (address && oaki_listen(address, &self->listener, run.error) != 0) return -1;
    return oaki_socket_open(&self->listener, run.error) != 0 && !address ? -1 : 0;
}

static int open_all(const char *address)
{
    if (listen_all(address) != 0) return -1;
    if (oaki_wake_open() != 0) return fail(errno, "no descriptor is free");
    int e = oaki_works_start();
    if (e != 0) return fail(e, "no thread can be started");
    if (start_loop() == 0) return 0;
    int saved = errno;
    oaki_works_quit();
    oaki_works_join();
    errno = saved;
    return -1;
}

static void child(void)
{
    pthread_mutex_init(&run.lock, NULL);
    oaki_works_child();
    oaki_serve_loop_child();
    if (!oaki_wake_is_apart()) oaki_listen_close(&self->listener);
    self->listener.n = 0;
    oaki_wake_close();
    self->listener.path[0] = '\0'; /* the name belongs to the parent */
    run.running = run.joined = false;
    run.error[0] = '\0';
}

static void quit_loop(void)
{
    oaki_socket_remove(&self->listener);
    AO_int_store_release(&self->quit, 1);
    oaki_wake();
}

/* Waits for the lock for a limited time. A thread that starts or stops the server holds it, maybe
 * for as long as a worker searches a path. And exit may be called in a handler that interrupted
 * anything, even malloc. After the time is over, the threads are left alone; so is a worker that
 * runs for long. The server counts as running: a later handler of the program may stop it. */
static void at_exit(void)
{
    struct timespec until;
    OAKI_NO_CANCEL; /* the lock would stay held */
    if (run.pid != oaki_os_pid()) return;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += EXIT_WAIT_S;
    if (pthread_mutex_timedlock(&run.lock, &until) != 0) return;
    if (run.running && !run.joined) {
        quit_loop();
        run.joined = pthread_timedjoin_np(run.loop, NULL, &until) == 0;
    }
    pthread_mutex_unlock(&run.lock);
}

/* Chooses the secrets for requests at this address; NULL for the Unix socket alone. */
static int take_secrets(const char *address, bool open)
{
    if (open && self->token[0]) return fail(EINVAL, "'open' asks for no token, but one is given");
    if (open && oaki_listen_is_loopback(address) == 0)
        return fail(EPERM, "an address that others can reach can't be 'open'");
    if (oaki_token_begin(open || !address)) return 0;
    return fail(ENOSYS, "the system has no random numbers for a token");
}

static int start(const char *address, const oak_serve_options *o)
{
    bool open = address && strncmp(address, "open,", 5) == 0;
    run.error[0] = '\0';
    if (run.running) {
        oaki_format(run.error, sizeof run.error, "a server runs already, at %s%s",
                    scheme(), place());
        return fail(EBUSY, run.error);
    }
    if (open) address += 5;
    if (take_options(o) != 0 || take_secrets(address, open) != 0 || load() != 0) return -1;
    oaki_fork_register(child);
    if (!run.registered && atexit(at_exit) != 0) return fail(ENOMEM, "no memory");
    run.registered = true;
    if (open_all(address) != 0) {
        int saved = errno;
        close_all();
        errno = saved;
        return -1;
    }
    run.pid = oaki_os_pid();
    run.running = true;
    return self->listener.port;
}

int oak_debug_serve_with(const char *address, const oak_serve_options *options)
{
    OAKI_NO_CANCEL;
    if (!oaki_heap_ready()) return -1;
    pthread_mutex_lock(&run.lock);
    if (address && strcmp(address, "1") == 0) address = NULL;
    int port = start(address, options);
    pthread_mutex_unlock(&run.lock);
    return port;
}

int oak_debug_serve(const char *address)
{
    return oak_debug_serve_with(address, NULL);
}

/* ---- stopping ---- */

void oak_debug_serve_stop(void)
{
    OAKI_NO_CANCEL;
    pthread_mutex_lock(&run.lock);
    if (run.running) {
        quit_loop();
        oaki_works_quit();
        if (!run.joined) pthread_join(run.loop, NULL);
        oaki_works_join();
        close_all();
        run.running = run.joined = false;
    }
    pthread_mutex_unlock(&run.lock);
}

/* ---- queries ---- */

static size_t tell(const char *s, char *out, size_t n)
{
    size_t len = strlen(s);
    if (out && n > 0) {
        size_t fits = OAKI_MIN(len, n - 1);
        memcpy(out, s, fits);
        out[fits] = '\0';
    }
    return len;
}

size_t oak_debug_serve_url(char *out, size_t n)
{
    char url[256] = "";
    pthread_mutex_lock(&run.lock);
    bool serves = run.running && !run.joined, made = serves && self->listener.tcp && self->made;
    if (serves)
        oaki_format(url, sizeof url, "%s%s%s%s", scheme(), place(), made ? "?token=" : "",
                    made ? (const char *)self->token : "");
    size_t len = tell(url, out, n);
    pthread_mutex_unlock(&run.lock);
    return len;
}

size_t oak_debug_serve_error(char *out, size_t n)
{
    pthread_mutex_lock(&run.lock);
    size_t len = tell(run.error, out, n);
    pthread_mutex_unlock(&run.lock);
    return len;
}

/* ---- the environment ---- */

static void start_from(const char *address)
{
    char line[OAKI_SERVE_ERROR];
    oak_serve_options o = { .token = oaki_options_variable("OAKUM_DEBUG_TOKEN") };
    if (oak_debug_serve_with(address, &o) < 0) {
        oak_debug_serve_error(line, sizeof line);
        oaki_log("oakum: OAKUM_DEBUG_SERVE: no debug server: %s\n", line);
        return;
    }
    oak_debug_serve_url(line, sizeof line);
    oaki_log("oakum: debug server at %s\n", line);
    if (oak_debug_serve_error(line, sizeof line) > 0)
        oaki_log("oakum: OAKUM_DEBUG_SERVE: 'oakum top PID' won't find it: %s\n", line);
}

OAKI_AT_START void oaki_serve_from_environment(void)
{
    int saved = errno;
    const char *address = oaki_options_variable("OAKUM_DEBUG_SERVE");
    if (address && address[0]) start_from(address);
    errno = saved;
}
