/* find.c - finds a program's debug server: parses its address, or finds the Unix socket of a
 * process.
 *
 * The socket is PID.sock in a folder of the process's user (observe/serve_socket.c). The process
 * may have another environment and other namespaces than this command. So several folders are
 * tried, both in the process's root and in this command's.
 *
 * No folder is trusted: the kernel says which process listens at a socket. A socket of another
 * process is skipped. So a reused process id is harmless, and a socket that another user has
 * planted is, too. */
#include "live.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define NAMES 4      /* names of a socket in a folder, as in observe/serve_socket.c */
#define FIND_MS 5000 /* the longest time for all sockets together */
#define TELL_MS 500  /* a person is told what is waited for */
#define RETRY_MS 10  /* between two tries while the socket's queue is full */
#define ENVIRONMENT_MOST ((size_t)1 << 20)

/* ---- addresses ---- */

static bool is_number(const char *s)
{
    return s[0] != '\0' && s[strspn(s, "0123456789")] == '\0' && strlen(s) < 10;
}

bool cmd_is_server(const char *word)
{
    return strncmp(word, "http://", 7) == 0 || strncmp(word, "unix:", 5) == 0 ||
           (is_number(word) && access(word, F_OK) != 0);
}

static bool parse_url(const char *url, cmd_server *out)
{
    const char *host = url + 7, *end, *port;
    size_t n;

    if (strncmp(url, "http://", 7) != 0) return false;
    end = host + strcspn(host, "/?#\n");
    if (host[0] == '[') {
        const char *close = memchr(host, ']', (size_t)(end - host));

        if (close == NULL) return false;
        host++;
        n = (size_t)(close - host);
        port = close + 1;
    } else {
        n = strcspn(host, ":/?#\n");
        port = host + n;
    }
    if (n == 0 || n >= sizeof(out->host)) return false;
    snprintf(out->host, sizeof(out->host), "%.*s", (int)n, host);
    snprintf(out->port, sizeof(out->port), "80");
    if (port == end) return true;
    snprintf(out->port, sizeof(out->port), "%.*s", (int)(end - port - 1), port + 1);
    return port[0] == ':' && is_number(out->port) && end - port - 1 == (long)strlen(out->port) &&
           atoi(out->port) <= 65535;
}

/* ---- sockets ---- */

/* Connect through the folder's descriptor, as a socket's path in sun_path has to be short. */
static int try_socket(const char *path, int *error)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
    char folder[CMD_PATH] = ".";
    int fd, at, n;

    if (slash != NULL) snprintf(folder, sizeof(folder), "%.*s/", (int)(slash - path), path);
    at = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    *error = errno;
    if (at < 0) return -1;
    n = snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/%s", at, name);
    *error = ENAMETOOLONG;
    fd = n < (int)sizeof(a.sun_path)
             ? socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)
             : -1;
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&a, sizeof(a)) != 0) {
        *error = errno;
        close(fd);
        fd = -1;
    }
    close(at);
    return fd;
}

/* Whether this process listens at the other end. The kernel's answer is 0 for a process outside of
 * this command's pid namespace. */
static bool listens(int fd, pid_t pid)
{
    struct ucred peer;
    socklen_t n = sizeof(peer);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0 && peer.pid == pid;
}

int cmd_socket_connect(const char *path, pid_t pid, int64_t deadline)
{
    int error, fd = try_socket(path, &error);

    while (fd < 0 && error == EAGAIN && cmd_now_ms() < deadline) {
        poll(NULL, 0, RETRY_MS);
        fd = try_socket(path, &error);
    }
    if (fd >= 0 && pid != 0 && !listens(fd, pid)) {
        close(fd);
        fd = -1;
        error = ECONNREFUSED;
    }
    errno = error;
    return fd;
}

/* ---- processes ---- */

enum { REAL, EFFECTIVE, SAVED, IDS };

typedef struct process {
    pid_t pid, inner; /* its id here, and in its own pid namespace */
    unsigned uid[IDS];
    unsigned inner_uid; /* its effective user in its own user namespace */
    char runtime[256];  /* its XDG_RUNTIME_DIR, or empty */
} process;

/* Read the first bytes of a file in /proc/PID, with a NUL. Returns their number, or -1. */
static ssize_t read_file(pid_t pid, const char *name, char *text, size_t room)
{
    char path[64];
    size_t n = 0;
    ssize_t got = -1;
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && n < room - 1 && (got = read(fd, text + n, room - 1 - n)) > 0)
        n += (size_t)got;
    if (fd >= 0) close(fd);
    text[n] = '\0';
    return got < 0 ? -1 : (ssize_t)n;
}

/* Read the user ids and the inner pid, which is the last number in the line NSpid. */
static bool read_status(process *p)
{
    char text[8192];
    const char *line;

    if (read_file(p->pid, "status", text, sizeof(text)) <= 0) return false;
    line = strstr(text, "\nUid:");
    if (line == NULL ||
        sscanf(line, "\nUid: %u %u %u", &p->uid[REAL], &p->uid[EFFECTIVE], &p->uid[SAVED]) != 3)
        return false;
    p->inner = p->pid;
    p->inner_uid = p->uid[EFFECTIVE];
    line = strstr(text, "\nNSpid:");
    if (line != NULL) {
        line += 7;
        for (char *end; strcspn(line, "\n") > 0; line = end) {
            long n = strtol(line, &end, 10);

            if (end == line) break;
            p->inner = (pid_t)n;
        }
    }
    return true;
}

/* Map the effective user id into the process's user namespace. */
static void read_user_map(process *p)
{
    char text[4096];
    unsigned inner, outer, n;

    if (read_file(p->pid, "uid_map", text, sizeof(text)) <= 0) return;
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (sscanf(line, "%u %u %u", &inner, &outer, &n) == 3 && p->uid[EFFECTIVE] >= outer &&
            p->uid[EFFECTIVE] - outer < n)
            p->inner_uid = inner + (p->uid[EFFECTIVE] - outer);
    }
}

static void read_environment(process *p)
{
    static const char name[] = "XDG_RUNTIME_DIR=";
    char *text = malloc(ENVIRONMENT_MOST);
    ssize_t n = text != NULL ? read_file(p->pid, "environ", text, ENVIRONMENT_MOST) : -1;

    for (ssize_t at = 0; at < n; at += (ssize_t)strlen(text + at) + 1)
        if (strncmp(text + at, name, sizeof(name) - 1) == 0)
            snprintf(p->runtime, sizeof(p->runtime), "%s", text + at + sizeof(name) - 1);
    free(text);
}

static bool is_mine(const process *p)
{
    unsigned me = (unsigned)geteuid();

    return me == 0 || me == p->uid[REAL] || me == p->uid[EFFECTIVE] || me == p->uid[SAVED];
}

/* ---- a process's socket ---- */

typedef struct search {
    const process *p;
    bool busy;             /* a socket's queue is full: whose it is can't be told yet */
    char path[CMD_PATH];   /* the socket that was found */
    char closed[CMD_PATH]; /* a folder of the list that can't be read, or empty */
} search;

/* An unreadable folder is noted only in this command's root: access to the root of the process
 * needs rights that some users lack. */
static bool try_folder(search *s, const char *root, const char *folder)
{
    for (int i = 0; i < NAMES; i++) {
        char more[16] = "";
        int fd;

        if (i > 0) snprintf(more, sizeof(more), ".%d", i);
        snprintf(s->path, sizeof(s->path), "%s%s/%d%s.sock", root, folder, (int)s->p->inner, more);
        fd = cmd_socket_connect(s->path, s->p->pid, 0);
        if (fd >= 0) {
            close(fd);
            return true;
        }
        s->busy = s->busy || errno == EAGAIN;
        if (root[0] == '\0' && (errno == EACCES || errno == EPERM))
            snprintf(s->closed, sizeof(s->closed), "%s", folder);
    }
    return false;
}

static bool try_root(search *s, const char *root)
{
    const process *p = s->p;
    const char *runtime[] = { p->runtime, getenv("XDG_RUNTIME_DIR") };
    unsigned user[] = { p->inner_uid, p->uid[EFFECTIVE], p->uid[REAL], p->uid[SAVED],
                        (unsigned)geteuid() };
    char folder[CMD_PATH / 2];

    for (size_t i = 0; i < sizeof(runtime) / sizeof(runtime[0]); i++) {
        if (runtime[i] == NULL || runtime[i][0] != '/') continue;
        snprintf(folder, sizeof(folder), "%s/oakum", runtime[i]);
        if (try_folder(s, root, folder)) return true;
    }
    for (size_t i = 0; i < sizeof(user) / sizeof(user[0]); i++) {
        bool again = false; /* each try takes a place in the listener's queue */

        for (size_t k = 0; k < i; k++) again = again || user[k] == user[i];
        if (again) continue;
        snprintf(folder, sizeof(folder), "/run/user/%u/oakum", user[i]);
        if (try_folder(s, root, folder)) return true;
        snprintf(folder, sizeof(folder), "/tmp/oakum-%u", user[i]);
        if (try_folder(s, root, folder)) return true;
    }
    return false;
}

static bool fail_to_find(const char *command, const search *s)
{
    int pid = (int)s->p->pid;

    if (command == NULL) return false;
    if (s->closed[0] != '\0')
        cmd_say(stderr,
                "%s: you may not look at process %d: its socket would be in %s, which is "
                "another user's; be that user or root\n",
                command, pid, s->closed);
    else if (s->busy)
        fprintf(stderr,
                "%s: process %d's debug server accepts no connection: is the program stopped?\n",
                command, pid);
    else
        fprintf(stderr,
                "%s: process %d has no debug server: OAKUM_DEBUG_SERVE=1 starts one with "
                "the program\n",
                command, pid);
    return false;
}

/* Check that the process exists and may be read. kill finds it even if /proc hides it. */
static bool look_at(const char *command, process *p)
{
    bool gone = p->pid <= 0 || (kill(p->pid, 0) != 0 && errno != EPERM);

    if (command == NULL) return !gone && read_status(p) && is_mine(p);
    if (gone)
        fprintf(stderr, "%s: there is no process %d; 'ps -e' lists them\n", command, (int)p->pid);
    else if (!read_status(p))
        fprintf(stderr, "%s: you may not look at process %d, which is another user's; be root\n",
                command, (int)p->pid);
    else if (!is_mine(p))
        fprintf(stderr,
                "%s: you may not look at process %d: it is user %u's; be that user or root\n",
                command, (int)p->pid, p->uid[EFFECTIVE]);
    else
        return true;
    return false;
}

/* Try all sockets in turn, so that a full queue holds none of the others up. */
static bool search_all(const char *command, search *s)
{
    int64_t begun = cmd_now_ms();
    bool told = command == NULL || !isatty(STDERR_FILENO);
    char root[32];

    snprintf(root, sizeof(root), "/proc/%d/root", (int)s->p->pid);
    for (;;) {
        s->busy = false;
        if (try_root(s, "") || try_root(s, root)) return true;
        if (!s->busy || cmd_now_ms() - begun >= FIND_MS) return fail_to_find(command, s);
        if (!told && cmd_now_ms() - begun >= TELL_MS) {
            told = true;
            fprintf(stderr, "%s: waiting for process %d to accept a connection\n", command,
                    (int)s->p->pid);
        }
        poll(NULL, 0, RETRY_MS);
    }
}

static bool find_process(const char *command, const char *word, cmd_server *out)
{
    process p = { .pid = (pid_t)atoi(word) };
    search s = { .p = &p };

    if (!look_at(command, &p)) return false;
    read_user_map(&p);
    read_environment(&p);
    if (!search_all(command, &s)) return false;
    out->pid = p.pid;
    snprintf(out->path, sizeof(out->path), "%s", s.path);
    return true;
}

/* The environment's token is sent only to a TCP address that the user has given. */
bool cmd_server_find(const char *command, const char *where, cmd_server *out)
{
    const char *token = getenv("OAKUM_DEBUG_TOKEN");

    memset(out, 0, sizeof(*out));
    snprintf(out->host, sizeof(out->host), "localhost");
    if (is_number(where)) return find_process(command, where, out);
    if (strncmp(where, "unix:", 5) == 0 && where[5] != '\0') {
        snprintf(out->path, sizeof(out->path), "%s", where + 5);
        return true;
    }
    if (token != NULL) snprintf(out->token, sizeof(out->token), "%s", token);
    if (parse_url(where, out)) return true;
    cmd_say(stderr,
            "%s: '%s' is neither a process id nor as http://127.0.0.1:8080/; 'pgrep NAME' finds "
            "one\n",
            command, where);
    return false;
}
