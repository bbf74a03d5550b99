/* asker.c - see asker.h.
 *
 * Owns: the questions. The process that asks dies with the one that started it. */
#include "asker.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER (1 << 20) /* the dashboard has 22 KiB */
#define ADDRESS_TRIES 9000
#define ADDRESS_US 10000
#define LATE_S 60 /* more than an answer takes on a busy machine; a run has 100 s */

static const struct {
    const char *path;
    int status;
    const char *text; /* in the body */
} questions[ASKER_QUESTIONS] = {
    { "/", 200, "</html>" },
    { "/metrics", 200, "\noakum_info{" },
    { "/debug/", 200, "/debug/memstats" },
    { "/debug/state", 200, "\"program\":\"native\"" },
    { "/debug/memstats", 200, "\"Mallocs\":30000," },
    { "/debug/pprof/heap", 200, "\x1f\x8b" },
    { "/debug/pprof/heap?debug=1", 200, "heap profile" },
    { "/debug/maps", 200, "\"count\":0" },
    { "/debug/threads", 200, "\"stacks\":[" },
    { "/debug/gc", 200, "\"cycles\":[" },
    { "/debug/leaks", 200, "\"findings\":[" },
    { "/debug/why?site=0", 200, "\"size\":64" },
    { "/nothing", 404, "there is nothing here" },
};

const char *asker_path(int question)
{
    return questions[question].path;
}

static int connect_to(const char *path)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    struct timeval limit = { .tv_sec = LATE_S };
    if (snprintf(to.sun_path, sizeof to.sun_path, "%s", path) >= (int)sizeof to.sun_path) return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0) return fd;
    close(fd);
    return -1;
}

/* All answers have a length. */
static asker_answer judge(int question, const char *text, size_t n)
{
    int status;
    size_t length;
    const char *body = memmem(text, n, "\r\n\r\n", 4), *want = questions[question].text;
    const char *at = body ? strcasestr(text, "\r\nContent-Length: ") : NULL;
    if (!at || at > body || sscanf(text, "HTTP/1.%*d %d", &status) != 1) return ASKER_REFUSED;
    body += 4;
    if (sscanf(at + 18, "%zu", &length) != 1 || n - (size_t)(body - text) < length)
        return ASKER_REFUSED;
    if (status != questions[question].status)
        return status >= 400 && length > 0 ? ASKER_REFUSED : ASKER_WRONG;
    return memmem(body, length, want, strlen(want)) ? ASKER_RIGHT : ASKER_WRONG;
}

static asker_answer ask(const char *socket_path, int question)
{
    static char text[ANSWER];
    char line[256];
    size_t got = 0;
    ssize_t r = 0;
    int fd = connect_to(socket_path);
    if (fd < 0) return ASKER_REFUSED;
    int n = snprintf(line, sizeof line,
                     "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                     questions[question].path);
    if (send(fd, line, (size_t)n, MSG_NOSIGNAL) == n)
        while ((r = recv(fd, text + got, sizeof text - 1 - got, 0)) > 0) got += (size_t)r;
    bool late = r < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
    close(fd);
    text[got] = '\0';
    return late ? ASKER_LATE : judge(question, text, got);
}

/* Asks for everything, whatever the answers are, and ends the program. */
static void be_asker(const asker *a, pid_t program)
{
    char path[PATH_MAX], url[256] = "", socket_path[256];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(path, sizeof path, "%s/address", a->folder);
    for (int i = 0; i < ADDRESS_TRIES && !*url && kill(program, 0) == 0; i++) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0 && read(fd, url, sizeof url - 1) < 0) break;
        if (fd >= 0) close(fd);
        usleep(ADDRESS_US);
    }
    if (sscanf(url, "unix:%255[^\n]", socket_path) == 1)
        for (int i = 0; i < ASKER_QUESTIONS; i++) {
            a->answers[i] = (unsigned char)ask(socket_path, i);
            if (a->answers[i] == ASKER_LATE) break;
        }
    close(a->input);
    _exit(0);
}

bool asker_begin(asker *a)
{
    a->answers =
        mmap(NULL, ASKER_QUESTIONS, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return a->answers != MAP_FAILED;
}

void asker_start(int pid, void *ctx)
{
    asker *a = ctx;
    a->pid = fork();
    if (a->pid == 0) be_asker(a, pid);
    close(a->input);
}
