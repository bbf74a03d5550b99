/* shutdown_open.c - oak_shutdown with zones, maps, a mark or a server; with forks and signals. */
#include "shutdown.h"

#include <arpa/inet.h>
#include <atomic_ops.h>
#include <oakum/serve.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>

/* ---- with something open ---- */

static void with_zone(void)
{
    oak_zone *z = oak_zone_new(NULL);
    CHECK(z && oak_zone_enter(z) == 0);
    for (int i = 0; i < 1000; i++) CHECK(oak_alloc(100));
    renew();
    CHECK(oak_zone_of(kept) == NULL);
    oak_zone *again = oak_zone_new(NULL);
    CHECK(again && oak_zone_enter(again) == 0 && oak_alloc(100));
    oak_zone_leave(again);
    renew();
}

static void with_maps(void)
{
    oak_map_type t = { .key = OAK_KEY_U64, .key_size = 8, .value_size = 8 };
    for (int round = 0; round < 3; round++) {
        oak_map *m = oak_map_new(&t, 0);
        oak_weakkey *w = oak_weakkey_new(0, 0);
        CHECK(m && w);
        for (uint64_t i = 0; i < 100000 + (uint64_t)round; i++) {
            uint64_t *v = oak_map_put(m, &i);
            CHECK(v && *v == 0);
            *v = i;
        }
        CHECK(oak_map_len(m) == 100000 + (size_t)round);
        renew();
    }
}

static void with_mark(void)
{
    bool tells = oak_heap_tells_writes(NULL);
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 10; i++) {
            use();
            for (size_t k = 0; k < 100000; k++) {
                node *p = oak_alloc(120);
                CHECK(p);
                p->next = kept;
                kept = p;
            }
        }
        for (int i = 0; i < 1 + round * 3 && oak_collect_step(50); i++) continue;
        renew();
    }
    CHECK(oak_heap_tells_writes(NULL) == tells);
}

/* ---- fork ---- */

static void child_ended_well(pid_t pid)
{
    int status;
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void in_child(void)
{
    use();
    pid_t pid = fork();
    if (pid == 0) {
        renew();
        _exit(0);
    }
    child_ended_well(pid);
    use();
    CHECK(ended() == 0);
    pid = fork();
    if (pid == 0) {
        use();
        renew();
        _exit(0);
    }
    child_ended_well(pid);
    use();
}

/* ---- signals ---- */

static void on_fault(int sig)
{
    (void)sig;
    _exit(0);
}

static bool handled(int sig)
{
    struct sigaction now;
    return sigaction(sig, NULL, &now) == 0 && now.sa_handler != SIG_DFL;
}

static void start_with_faults(void)
{
    oak_config c;
    oak_config_default(&c);
    c.tracking = OAK_TRACKING_FAULTS;
    CHECK(oak_init(&c) == 0);
    CHECK(oak_heap_tells_writes(NULL));
    use();
}

static void signals(void)
{
    start_with_faults();
    CHECK(handled(SIGSEGV));
    CHECK(ended() == 0);
    for (int s = 1; s < 65; s++) CHECK(!handled(s));
    start_with_faults();
    CHECK(handled(SIGSEGV));
    CHECK(ended() == 0);
}

static struct sigaction oakums;

static void goes_on(int sig, siginfo_t *info, void *context)
{
    oakums.sa_sigaction(sig, info, context);
}

static __attribute__((noinline)) void write_to(int *p)
{
    *p = 1;
}

/* The program's handler on top goes on to Oakum's, which goes on to the one before. */
static void handler_on_top(void)
{
    struct sigaction first, top;
    memset(&first, 0, sizeof first);
    memset(&top, 0, sizeof top);
    first.sa_handler = on_fault;
    top.sa_sigaction = goes_on;
    top.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &first, NULL);
    start_with_faults();
    sigaction(SIGSEGV, &top, &oakums);
    use();
    CHECK(ended() == 0);
    int *null = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    write_to(null);
    CHECK(!"reached");
}

/* ---- the debug server ---- */

static int port;
static AO_t asked_enough, answers;

static void *ask(void *arg)
{
    const struct sockaddr_in to = { .sin_family = AF_INET,
                                    .sin_port = htons((uint16_t)port),
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    const char text[] = "GET /debug/oakum/memstats HTTP/1.1\r\nHost: localhost\r\n\r\n";
    char in[512];
    while (!AO_load(&asked_enough)) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(fd, (const void *)&to, sizeof to) == 0 &&
            send(fd, text, sizeof text - 1, MSG_NOSIGNAL) > 0 && recv(fd, in, sizeof in, 0) > 0)
            AO_fetch_and_add1(&answers);
        close(fd);
    }
    return arg;
}

static void with_server(void)
{
    pthread_t client[3];
    use();
    port = oak_debug_serve("open,127.0.0.1:0");
    if (port < 0 && errno == ELIBACC) return; /* no libmicrohttpd */
    CHECK(port > 0);
    for (int i = 0; i < 3; i++) CHECK(pthread_create(&client[i], NULL, ask, NULL) == 0);
    while (AO_load(&answers) < 20) usleep(1000);
    kept = NULL;
    CHECK(ended() == 0);
    AO_store(&asked_enough, 1);
    for (int i = 0; i < 3; i++) pthread_join(client[i], NULL);
    for (int i = 0; i < 20; i++) { /* more often than there are namespaces of the loader's */
        use();
        CHECK(oak_debug_serve("open,127.0.0.1:0") > 0);
        CHECK(ended() == 0);
    }
}

static void with_detector(void)
{
    for (int i = 0; i < 3; i++) {
        use();
        CHECK(oak_detector_start(NULL) == 0);
        oak_collect();
        CHECK(ended() == 0);
    }
}

/* ---- all ---- */

int main(int argc, char **argv)
{
    static const test_case cases[] = {
        CASE(with_zone), CASE(with_maps),      CASE(with_mark),   CASE(in_child),
        CASE(signals),   CASE(handler_on_top), CASE(with_server), CASE(with_detector),
    };
    return run_cases(cases, sizeof cases / sizeof cases[0], argc, argv);
}
