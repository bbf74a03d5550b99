/* host.c - a program that shows its heap in each way for which Oakum loads libraries of its own.
 *
 * `host DIRECTORY` writes a profile, a snapshot and names with their lines there, runs the debug
 * server, asks it, and writes the answers. tests/libraries/check compares what it writes with what
 * the same program writes that exports functions by the names of all those libraries' own. Linked
 * with LINKED, it has two of the libraries itself, and uses them. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <oakum/oakum.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TOKEN "a-token"

static const char *folder;
static void *held[64];

static void die(const char *what)
{
    fprintf(stderr, "host: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* What the functions do that have the names of the libraries'. */
void host_was_called(const char *name);
void host_was_called(const char *name)
{
    fprintf(stderr, "host: its %s was called\n", name);
    abort();
}

#ifdef LINKED
const char *MHD_get_version(void);
const char *zlibVersion(void);
/* Of its own, in front of the library's. */
unsigned crc32(const void *p, unsigned long n, unsigned long m);
unsigned crc32(const void *p, unsigned long n, unsigned long m)
{
    (void)p, (void)n, (void)m;
    return 1;
}
#endif

static void path_of(char out[256], const char *name)
{
    snprintf(out, 256, "%s/%s", folder, name);
}

/* ---- what it holds ---- */

static inline __attribute__((always_inline)) void *make_page(void)
{
    return oak_alloc_noscan(4096);
}

static __attribute__((noinline)) void hold_pages(size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) held[i] = make_page();
    __asm__("" : : : "memory");
}

static __attribute__((noinline)) void hold_words(size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) held[i] = oak_alloc(16);
    __asm__("" : : : "memory");
}

/* ---- asking ---- */

static void put_request(int fd, const char *what)
{
    char text[512];
    int n = snprintf(text, sizeof text,
                     "GET %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " TOKEN
                     "\r\nConnection: close\r\n\r\n",
                     what);
    if (write(fd, text, (size_t)n) != n) die("write");
}

/* All that comes, behind the empty line that ends the headers. */
static void get(int port, const char *what, const char *name)
{
    static char answer[4 << 20];
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((in_port_t)port) };
    char path[256];
    size_t n = 0;
    ssize_t got;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) != 0) die("connect");
    put_request(fd, what);
    while ((got = read(fd, answer + n, sizeof answer - 1 - n)) > 0) n += (size_t)got;
    close(fd);
    answer[n] = '\0';
    const char *body = strstr(answer, "\r\n\r\n");
    if (!body || strncmp(answer, "HTTP/1.1 200 ", 13) != 0) {
        fprintf(stderr, "host: %s: %.80s\n", what, answer);
        exit(1);
    }
    path_of(path, name);
    FILE *out = fopen(path, "w");
    if (!out) die(path);
    fwrite(body + 4, 1, n - (size_t)(body + 4 - answer), out);
    if (fclose(out) != 0) die(path);
}

static void serve(void)
{
    char error[256], why[64];
    oak_serve_options options = { .token = TOKEN };
    int port = oak_debug_serve_with("127.0.0.1:0", &options);
    if (port < 0) {
        oak_debug_serve_error(error, sizeof error);
        fprintf(stderr, "host: no server: %s\n", error);
        exit(1);
    }
    snprintf(why, sizeof why, "/debug/why?text=1&addr=%p", held[0]);
    get(port, "/", "page");
    get(port, "/metrics", "metrics");
    get(port, "/debug/state", "state");
    get(port, "/debug/threads", "threads");
    get(port, "/debug/pprof/heap", "served.pb.gz");
    get(port, "/debug/pprof/heap?debug=1", "served.txt");
    get(port, why, "why");
    oak_debug_serve_stop();
}

/* ---- the whole ---- */

static void copy_maps(void)
{
    static char text[1 << 20];
    char path[256];
    path_of(path, "maps");
    FILE *in = fopen("/proc/self/maps", "r"), *out = fopen(path, "w");
    if (!in || !out) die(path);
    fwrite(text, 1, fread(text, 1, sizeof text, in), out);
    fclose(in);
    if (fclose(out) != 0) die(path);
}

static void print_sites(void)
{
    char path[256];
    path_of(path, "sites");
    FILE *out = fopen(path, "w");
    if (!out || oak_profile_print(NULL, fileno(out), OAK_PROFILE_INUSE_BYTES, 10) != 0) die(path);
    fclose(out);
}

int main(int argc, char **argv)
{
    char path[256];
    if (argc != 2) return 2;
    folder = argv[1];
    if (oak_profile_set_rate(1) != 0) die("no profile");
    hold_pages(0, 32);
    hold_words(32, 64);
    oak_collect();
    path_of(path, "saved.pb.gz");
    if (oak_profile_save(NULL, path) != 0) die(path);
    path_of(path, "snapshot");
    if (oak_snapshot_save(path) != 0) die(path);
    print_sites();
    serve();
    copy_maps();
#ifdef LINKED
    printf("%s %s\n", MHD_get_version(), zlibVersion());
#endif
    return held[63] ? 0 : 1;
}
