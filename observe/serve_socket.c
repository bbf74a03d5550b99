/* serve_socket.c - every server's Unix socket: PID.sock, in a folder of its user's alone.
 *
 * The folder has mode 0700 and the socket 0600, so the system refuses other users before they
 * connect. The folder is $XDG_RUNTIME_DIR/oakum, else /tmp/oakum-UID. A folder with wrong
 * attributes is refused and never corrected, as another user may have made it. Abstract sockets are
 * not used: they have no owner and no mode, so any user could take the name first.
 *
 * Process ids repeat: a process may be dead, or in another PID namespace that shares the folder. A
 * name is taken over only if nothing listens on it. If something does, the socket is PID.1.sock or
 * the next. Clients identify the server by the kernel's SO_PEERCRED.
 *
 * Owns: nothing; names are in the listener. Lock: serve.c's. Forks are held while a socket is made.
 * Invariants: a socket has its mode before it listens. A name is unlinked only while it is the
 * socket bound to it, or a socket on which nothing listens. */
#include "runtime/os.h"
#include "runtime/print.h"
#include "runtime/thread.h"
#include "serve.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 128
#define NAMES 4         /* names for one process id in a folder; cmd/find.c tries as many */
#define PATH_ROOM 256   /* of a folder */
#define STALE_MOST 64   /* most names checked for a dead process per start */
#define LOCK_TRIES 100  /* for the lock of another start in this folder */
#define LOCK_NS 5000000 /* between them */

typedef struct place {
    char folder[PATH_ROOM];
    int fd; /* the folder's; -1: none */
    char *error;
} place;

static int refuse(const place *p, const char *why)
{
    oaki_format(p->error, OAKI_SERVE_ERROR, "%.100s: %s", p->folder, why);
    return -1;
}

static int fail(const place *p)
{
    int saved = errno;
    (void)refuse(p, oaki_error_text(saved));
    errno = saved;
    return -1;
}

/* ---- the folder ---- */

/* The fault of the folder; NULL: it is a folder that only this user can read. */
static const char *fault_of(const struct stat *s)
{
    if (S_ISLNK(s->st_mode)) return "is a symbolic link, which another user may have put there";
    if (!S_ISDIR(s->st_mode)) return "is not a folder";
    if (s->st_uid != geteuid()) return "belongs to another user";
    if ((s->st_mode & 0777) != 0700) return "has another mode than 0700";
    return NULL;
}

/* Checks the name first, for a precise message; then the opened folder, as the name may change in
 * between. Sets the mode of a new folder, as a umask may have removed bits. */
static int open_folder(place *p)
{
    struct stat s;
    bool made = mkdir(p->folder, 0700) == 0;
    if (!made && errno != EEXIST) return fail(p);
    if (lstat(p->folder, &s) != 0) return fail(p);
    const char *fault = made ? NULL : fault_of(&s);
    if (fault) return errno = EPERM, refuse(p, fault);
    p->fd = open(p->folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (p->fd < 0) return fail(p);
    if ((made && fchmod(p->fd, 0700) != 0) || fstat(p->fd, &s) != 0) return fail(p);
    fault = fault_of(&s);
    return fault ? errno = EPERM, refuse(p, fault) : 0;
}

/* Excludes another start, which may be about to take a name that it found dead. A start is short.
 * If locking is refused, or the holder was stopped, the start goes on without the lock. */
static void lock_folder(const place *p)
{
    for (int i = 0; i < LOCK_TRIES && flock(p->fd, LOCK_EX | LOCK_NB) != 0; i++) {
        if (errno != EWOULDBLOCK) return;
        oaki_os_sleep_ns(LOCK_NS);
    }
}

/* The folder of the session, if it belongs to this user alone. */
static bool session_folder(char out[PATH_ROOM])
{
    struct stat s;
    const char *own = secure_getenv("XDG_RUNTIME_DIR");
    if (!own || own[0] != '/' || strlen(own) + sizeof "/oakum" > PATH_ROOM) return false;
    if (stat(own, &s) != 0 || !S_ISDIR(s.st_mode)) return false;
    oaki_format(out, PATH_ROOM, "%s/oakum", own);
    return s.st_uid == geteuid() && (s.st_mode & 077) == 0;
}

/* ---- names ---- */

static bool set_address(struct sockaddr_un *a, const char *folder, const char *name)
{
    *a = (struct sockaddr_un){ .sun_family = AF_UNIX };
    return oaki_format(a->sun_path, sizeof a->sun_path, "%s/%s", folder, name) < sizeof a->sun_path;
}

/* Is it certain that nothing listens there? */
static bool is_dead(const struct sockaddr_un *a)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool dead =
        fd >= 0 && connect(fd, (const struct sockaddr *)a, sizeof *a) != 0 && errno == ECONNREFUSED;
    if (fd >= 0) close(fd);
    return dead;
}

/* The process id in such a name, PID.sock or PID.1.sock; 0: the name has another form. */
static pid_t owner_of(const char *name)
{
    unsigned long n = 0;
    const char *s = name;
    for (; *s >= '0' && *s <= '9' && n < INT32_MAX; s++) n = 10 * n + (unsigned long)(*s - '0');
    if (s[0] == '.' && s[1] >= '1' && s[1] < '0' + NAMES) s += 2;
    return strcmp(s, ".sock") == 0 && n <= INT32_MAX ? (pid_t)n : 0;
}

/* The kernel's directory entry. opendir would call malloc, which may block while forks are held. */
struct entry {
    uint64_t inode;
    int64_t next;
    unsigned short length;
    unsigned char type;
    char name[];
};

/* Removes the name of a process that ended without an exit. A process in another namespace may have
 * the same number, so the socket is tested too. */
static void remove_if_stale(const place *p, const char *name)
{
    struct sockaddr_un a;
    if (set_address(&a, p->folder, name) && is_dead(&a)) (void)unlinkat(p->fd, name, 0);
}

static void remove_stale(const place *p)
{
    _Alignas(struct entry) char buf[2048];
    int asked = 0;
    for (long n; (n = syscall(SYS_getdents64, p->fd, buf, sizeof buf)) > 0;) {
        for (long at = 0; at < n && asked < STALE_MOST;) {
            const struct entry *e = (const struct entry *)(buf + at);
            pid_t pid = owner_of(e->name);
            at += e->length;
            if (pid == 0 || kill(pid, 0) == 0 || errno != ESRCH) continue;
            remove_if_stale(p, e->name);
            asked++;
        }
    }
}

/* ---- the socket ---- */

/* 0, or -1 with errno: EADDRINUSE if something listens there. */
static int bind_name(int fd, const place *p, const char *name, const struct sockaddr_un *a)
{
    if (bind(fd, (const struct sockaddr *)a, sizeof *a) == 0) return 0;
    if (errno != EADDRINUSE) return -1;
    if (!is_dead(a) || unlinkat(p->fd, name, 0) != 0) return errno = EADDRINUSE, -1;
    return bind(fd, (const struct sockaddr *)a, sizeof *a);
}

/* Checks that the bound name is in the folder that was checked. */
static int take_name(int fd, const place *p, const char *name, oaki_listener *out)
{
    struct stat s;
    if (fstatat(p->fd, name, &s, AT_SYMLINK_NOFOLLOW) != 0) return -1;
    if (!S_ISSOCK(s.st_mode) || s.st_uid != geteuid()) return errno = EPERM, -1;
    out->name = (oaki_fd_file){ s.st_dev, s.st_ino };
    oaki_format(out->path, sizeof out->path, "%s/%s", p->folder, name);
    if (fchmodat(p->fd, name, 0600, 0) != 0 || listen(fd, BACKLOG) != 0 ||
        !oaki_fd_note(fd, &out->file[out->n])) {
        int saved = errno;
        oaki_socket_remove(out);
        errno = saved;
        return -1;
    }
    return 0;
}

static int open_name(int fd, const place *p, oaki_listener *out)
{
    char name[32];
    struct sockaddr_un a;
    for (int i = 0; i < NAMES; i++) {
        if (i == 0)
            oaki_format(name, sizeof name, "%d.sock", oaki_os_pid());
        else
            oaki_format(name, sizeof name, "%d.%d.sock", oaki_os_pid(), i);
        if (!set_address(&a, p->folder, name))
            return errno = ENAMETOOLONG, refuse(p, "the name is longer than a socket's may be");
        if (bind_name(fd, p, name, &a) == 0) return take_name(fd, p, name, out) == 0 ? 0 : fail(p);
        if (errno != EADDRINUSE) break;
    }
    return fail(p);
}

static int open_in(place *p, oaki_listener *out)
{
    if (open_folder(p) != 0) return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return fail(p);
    lock_folder(p);
    remove_stale(p);
    if (open_name(fd, p, out) == 0) {
        out->fd[out->n++] = fd;
        return 0;
    }
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static int open_place(place *p, oaki_listener *out)
{
    p->fd = -1;
    int result = open_in(p, out), saved = errno;
    if (p->fd >= 0) close(p->fd); /* which releases the lock */
    errno = saved;
    return result;
}

int oaki_socket_open(oaki_listener *out, char error[OAKI_SERVE_ERROR])
{
    char first[OAKI_SERVE_ERROR] = "";
    place p = { .error = first };
    oaki_fork_hold();
    int result = session_folder(p.folder) ? open_place(&p, out) : -1;
    if (result != 0) {
        p.error = error;
        oaki_format(p.folder, sizeof p.folder, "/tmp/oakum-%u", (unsigned)geteuid());
        result = open_place(&p, out);
    }
    int saved = errno;
    oaki_fork_release();
    size_t n = result != 0 && first[0] ? strlen(error) : 0;
    if (n > 0) oaki_format(error + n, OAKI_SERVE_ERROR - n, "; %s", first);
    errno = saved;
    return result;
}

void oaki_socket_remove(oaki_listener *l)
{
    struct stat s;
    if (l->path[0] && lstat(l->path, &s) == 0 && s.st_dev == l->name.dev && s.st_ino == l->name.ino)
        (void)unlink(l->path);
    l->path[0] = '\0';
}

bool oaki_socket_peer(int fd, uid_t *uid)
{
    struct ucred peer;
    socklen_t n = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) != 0) return false;
    *uid = peer.uid;
    return true;
}
