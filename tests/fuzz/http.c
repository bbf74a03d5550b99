/* http.c - fuzz target: bytes sent to a debug server, which must answer a good request afterwards.
 *
 * The first bytes of the input are not sent: they say by which socket the rest goes (TCP asks for
 * a token), where it is cut into pieces, and how it ends. What runs in the server's threads counts
 * as the input's. Token, cookie and port are the same in each run, so that inputs can have them;
 * "{object}" is sent as the address of an object. */
#include "fuzz.h"
#include "observe/serve.h"
#include "runtime/os.h"

#include <errno.h>
#include <oakum/oakum.h>
#include <poll.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define TOKEN "sesame"
#define COOKIE "0123456789abcdef0123456789abcdef"
#define PORT 7 /* in the cookie's name */

enum {
    BY_TCP = 1,
    STAY_OPEN = 2,
    DONT_READ = 4,
    ONE_PIECE = 8,
    WAIT = 16,
    PATIENT = 32
}; /* bits */

#define CHOICES 4      /* bytes: the bits, and three places of cuts */
#define SILENCE_MS 10  /* an answer that is being made is not waited for any longer */
#define SECOND_MS 1500 /* that is waited for an answer which takes a second */
#define RARELY 64      /* one of so many inputs that ask for it has this patience */
#define GOOD_MS 40000  /* less than the limit in tests/fuzz/run; a machine may be busy */
#define ROOM ((size_t)4 << 20)

static int port;
static char reply[ROOM + 1];
static void *objects[100];
static oak_map *map;

/* What there is to tell of: samples with labels, objects of a type, a map in the middle of a
 * resize, a leak detector. */
static void make_things(void)
{
    const uint64_t bitmap = 1;
    const oak_type *type = oak_type_bitmap("a \"type\"\n\xff", 32, &bitmap);
    FUZZ_REQUIRE(type && oak_profile_set_rate(1) == 0);
    FUZZ_REQUIRE(oak_label_push("a \"key\"", "\xff<\n") >= 0);
    for (size_t i = 0; i < OAKI_COUNT(objects); i++)
        objects[i] = i % 2 ? oak_alloc(64) : oak_alloc_typed(type, 1);
    FUZZ_REQUIRE(objects[0] && objects[1] && (map = oak_map_new(&oak_map_u64_ptr, 0)));
    for (uint64_t i = 0; i < 1800; i++) FUZZ_REQUIRE(oak_map_put(map, &i));
    oak_collect();
    FUZZ_REQUIRE(oak_detector_start(NULL) == 0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    oaki_serve_patiences = (oaki_serve_patience){ 15000000000, 30000000000, 100000000, 100000000 };
    port = oak_debug_serve_with("127.0.0.1:0", &(oak_serve_options){ .token = TOKEN });
    FUZZ_REQUIRE(port > 0 && oaki_the_server.listener.path[0]);
    memcpy(oaki_the_server.session, COOKIE, sizeof COOKIE); /* nobody has asked yet */
    oaki_the_server.listener.port = PORT;
    make_things();
    return 0;
}

/* ---- sockets ---- */

static int connect_to(bool tcp)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    memcpy(un.sun_path, oaki_the_server.listener.path, sizeof un.sun_path);
    int fd = socket(tcp ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    FUZZ_REQUIRE(fd >= 0);
    int result = tcp ? connect(fd, (struct sockaddr *)&in, sizeof in)
                     : connect(fd, (struct sockaddr *)&un, sizeof un);
    FUZZ_REQUIRE(result == 0);
    if (tcp) { /* or closed ports are kept by the thousand */
        struct linger at_once = { 1, 0 };
        FUZZ_REQUIRE(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0);
    }
    return fd;
}

/* A collection's signal interrupts it. */
static bool wait_for(int fd, short events, int ms)
{
    struct pollfd p = { .fd = fd, .events = events };
    int n;
    do n = poll(&p, 1, ms);
    while (n < 0 && errno == EINTR);
    return n > 0;
}

/* Is an answer being made? The server's loop writes this, so it is a guess; it says how long is
 * waited, and nothing else. */
static bool is_working(void)
{
    const oaki_server *s = &oaki_the_server;
    for (unsigned i = 0; i < s->max_clients; i++)
        if (s->clients[i].fd >= 0 && s->clients[i].phase == OAKI_CLIENT_WORKING) return true;
    return false;
}

/* Up to the end, or until nothing came for so long; with `hope` only while an answer is being made.
 * Returns how much; it ends by a NUL. */
static size_t receive(int fd, int ms, bool hope)
{
    size_t n = 0;
    while (n < ROOM && wait_for(fd, POLLIN, hope && !is_working() ? 0 : ms)) {
        ssize_t got = recv(fd, reply + n, ROOM - n, MSG_DONTWAIT);
        if (got <= 0) break;
        n += (size_t)got;
    }
    reply[n] = '\0';
    return n;
}

/* The server may have cut it off, and needs not read what nobody takes the answer of. */
static bool send_all(int fd, const uint8_t *p, size_t n)
{
    while (n > 0) {
        if (!wait_for(fd, POLLOUT, SILENCE_MS)) return false;
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent <= 0) return false;
        p += sent;
        n -= (size_t)sent;
    }
    return true;
}

/* ---- what must hold ---- */

static bool has(const void *text, size_t n, const char *what)
{
    return memmem(text, n, what, strlen(what)) != NULL;
}

/* Nothing of the program is told by TCP without a secret: in these bytes, or maybe in others that
 * stand for them. And nothing that was sent comes back as a header. */
static void check_reply(size_t n, bool tcp, const uint8_t *sent, size_t sent_n)
{
    static const char *const secrets[] = { TOKEN, COOKIE, "%" };
    bool knows = !tcp;
    if (n == 0) return;
    FUZZ_REQUIRE(n < 8 || memcmp(reply, "HTTP/1.", 7) == 0);
    FUZZ_REQUIRE(n < 12 || memcmp(reply + 9, "500", 3) != 0);
    FUZZ_REQUIRE(!has(reply, n, "X-Sent"));
    for (size_t i = 0; i < OAKI_COUNT(secrets); i++) knows |= has(sent, sent_n, secrets[i]);
    if (knows) return;
    FUZZ_REQUIRE(!has(reply, n, "Content-Type: application/"));
    FUZZ_REQUIRE(!has(reply, n, "oakum_heap_alloc_bytes"));
    FUZZ_REQUIRE(!has(reply, n, COOKIE));
}

/* The loop has seen what was sent before it answers this. */
static void assert_answers(const char *path, const char *word)
{
    char request[128];
    int fd = connect_to(false);
    int n = snprintf(request, sizeof request,
                     "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path);
    FUZZ_REQUIRE(send_all(fd, (const uint8_t *)request, (size_t)n));
    size_t got = receive(fd, GOOD_MS, false);
    bool good = got > 13 && memcmp(reply, "HTTP/1.1 200 ", 13) == 0;
    if (!good) fprintf(stderr, "a good request is answered: %.1000s\n", reply);
    FUZZ_REQUIRE(good);
    FUZZ_REQUIRE(has(reply, got, word));
    close(fd);
}

/* ---- one input ---- */

/* In pieces that begin at the three places, of 256 each. */
static void send_pieces(int fd, const uint8_t *choice, const uint8_t *p, size_t n)
{
    size_t at = 0;
    for (int i = 1; i < CHOICES && !(choice[0] & ONE_PIECE); i++) {
        size_t to = choice[i] * n / 256;
        if (to <= at) continue;
        if (!send_all(fd, p + at, to - at)) return;
        at = to;
        if (choice[0] & WAIT) oaki_os_sleep_ns(1000000); /* it is read alone, as a rule */
    }
    if (!send_all(fd, p + at, n - at)) return;
    if (!(choice[0] & STAY_OPEN)) (void)shutdown(fd, SHUT_WR);
}

/* A copy in which each "{object}" is an address. */
static char *fill_in(const uint8_t *data, size_t size, size_t *n)
{
    static const char word[] = "{object}";
    char address[32], *out = malloc(size * 3 + 1), *to = out;
    const char *p = (const char *)data, *end = p + size, *at;
    FUZZ_REQUIRE(out);
    int len = snprintf(address, sizeof address, "%p", objects[0]);
    while ((at = memmem(p, (size_t)(end - p), word, sizeof word - 1)) != NULL) {
        to = mempcpy(to, p, (size_t)(at - p));
        to = mempcpy(to, address, (size_t)len);
        p = at + sizeof word - 1;
    }
    to = mempcpy(to, p, (size_t)(end - p));
    *n = (size_t)(to - out);
    return out;
}

/* A hash (FNV-1a) decides, so that what comes from a patient input is mostly not. A seed's cuts are
 * chosen to be patient. */
static int patience(const uint8_t *data, size_t size)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < size; i++) h = (h ^ data[i]) * 16777619u;
    return data[0] & PATIENT && h % RARELY == 0 ? SECOND_MS : SILENCE_MS;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < CHOICES || size > 32768) return -1;
    size_t n;
    char *text = fill_in(data + CHOICES, size - CHOICES, &n);
    bool tcp = data[0] & BY_TCP;
    int fd = connect_to(tcp);
    send_pieces(fd, data, (const uint8_t *)text, n);
    if (!(data[0] & DONT_READ)) {
        assert_answers("/debug/", "/metrics");
        check_reply(receive(fd, patience(data, size), true), tcp, (const uint8_t *)text, n);
    }
    close(fd);
    free(text);
    assert_answers("/metrics", "oakum_heap_alloc_bytes");
    return 0;
}
