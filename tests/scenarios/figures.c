/* figures.c - what the log of collections and the metrics of the debug server say.
 *
 * Owns: what was logged last, and a scrape; static, one scenario's. */
#include "scenario.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- the log ---- */

static char log_text[64 << 10];
static const char *log_line; /* the last */
static int log_fd = -1;

void scn_log_begin(void)
{
    log_fd = memfd_create("gclog", MFD_CLOEXEC);
    if (log_fd < 0 || oak_gclog_start_fd(log_fd) != 0) scn_die("no log of collections");
}

void scn_log_end(void)
{
    ssize_t n;

    if (oak_gclog_stop() != 0) scn_die("a line of the log was lost");
    n = pread(log_fd, log_text, sizeof(log_text) - 1, 0);
    if (n < 2 || log_text[n - 1] != '\n') scn_die("the log of collections is empty, or too long");
    log_text[n - 1] = '\0';
    log_line = strrchr(log_text, '\n');
    log_line = log_line != NULL ? log_line + 1 : log_text;
    close(log_fd);
}

void scn_log_collection(void)
{
    scn_log_begin();
    oak_collect();
    oak_collect(); /* whose line tells of the sweep before */
    scn_log_end();
}

/* The next figure of this name from here on, and past it; NULL: there is none. */
static const char *next_figure(const char *from, const char *member, double *figure)
{
    char name[48], *end;

    snprintf(name, sizeof(name), "\"%s\":", member);
    from = strstr(from, name);
    if (from == NULL) return NULL;
    *figure = strtod(from + strlen(name), &end);
    return end;
}

double scn_log_figure(const char *member)
{
    double figure;

    if (next_figure(log_line, member, &figure) == NULL) scn_die("the log has no %s", member);
    return figure;
}

double scn_log_sum(const char *member)
{
    double figure, sum = 0;

    for (const char *at = log_text; (at = next_figure(at, member, &figure)) != NULL;) sum += figure;
    return sum;
}

/* ---- the metrics ---- */

typedef struct scrape {
    int port;
    size_t n;
    char text[256 << 10];
} scrape;

static scrape metrics;

static void *fetch(void *arg)
{
    static const char request[] = "GET /metrics HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n";
    scrape *m = arg;
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)m->port) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ssize_t n;

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    m->n = 0;
    if (fd < 0 || connect(fd, (const struct sockaddr *)&at, sizeof(at)) != 0 ||
        write(fd, request, sizeof(request) - 1) != (ssize_t)(sizeof(request) - 1))
        scn_die("the debug server does not answer");
    while ((n = read(fd, m->text + m->n, sizeof(m->text) - 1 - m->n)) > 0) m->n += (size_t)n;
    m->text[m->n] = '\0';
    close(fd);
    return NULL;
}

bool scn_metrics_read(void)
{
    metrics.port = oak_debug_serve("open,127.0.0.1:0");
    if (metrics.port < 0) return false;
    oak_blocking_call(fetch, &metrics);
    oak_debug_serve_stop();
    return true;
}

double scn_metric(const char *name)
{
    size_t n = strlen(name);

    for (const char *at = metrics.text; (at = strstr(at, name)) != NULL; at += n)
        if (at > metrics.text && at[-1] == '\n' && at[n] == ' ') return strtod(at + n, NULL);
    scn_die("the metrics have no %s", name);
}
