/* doctor.c - `oakum doctor`: what this machine and a process allow, what Oakum decided by it, and
 * what to change.
 *
 * Without a process, Oakum is started in this command, and asked. A process with a debug server is
 * asked there; of others only what /proc tells is known, and the findings say so.
 *
 * Exit status: 1 if a finding is bad, or there is no such process. */
#include "doctor.h"

#include "live.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define ASK_S 10 /* the longest time for a server's answer */

enum { OPTION_JSON, OPTION_HELP };

static const cmd_option options[] = {
    [OPTION_JSON] = { "json", 0, NULL, "print JSON" },
    [OPTION_HELP] = { "help", 'h', NULL, "print this" },
    { NULL, 0, NULL, NULL },
};

typedef struct request {
    bool json, help;
} request;

static const char command[] = "oakum doctor";

/* ---- what the kernel can tell of written pages ---- */

/* The arguments of PAGEMAP_SCAN (linux/fs.h, from 6.7 on). */
typedef struct scan {
    uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
    uint64_t inverted, mask, anyof, return_mask;
} scan;

static bool has_scan(int pagemap, const char *page, size_t size)
{
    uint64_t region[3];
    scan s = { .size = sizeof(s), .start = (uintptr_t)page, .end = (uintptr_t)page + size,
               .vec = (uintptr_t)region, .vec_len = 1, .return_mask = 1 << 3 /* present */,
               .mask = 1 << 3 };

    return ioctl(pagemap, _IOWR('f', 16, scan), &s) >= 0;
}

static bool has_soft_dirty(int pagemap, char *page, size_t size)
{
    int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    off_t at = (off_t)((uintptr_t)page / size * sizeof(uint64_t));
    uint64_t clean = 0, dirty = 0;
    bool can = fd >= 0 && write(fd, "4", 1) == 1 &&
               pread(pagemap, &clean, sizeof(clean), at) == sizeof(clean);

    if (fd >= 0) close(fd);
    *page = 2;
    can = can && pread(pagemap, &dirty, sizeof(dirty), at) == sizeof(dirty);
    return can && (clean >> 55 & 1) == 0 && (dirty >> 55 & 1) == 1;
}

static void kernel_ways(cmd_findings *to)
{
    static const char why[] = "Tracking by userfaultfd needs PAGEMAP_SCAN; soft-dirty is not used.";
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    char *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool scans = false, soft = false;

    if (page != MAP_FAILED) {
        page[0] = 1;
        scans = pagemap >= 0 && has_scan(pagemap, page, size);
        soft = pagemap >= 0 && has_soft_dirty(pagemap, page, size);
        munmap(page, size);
    }
    if (pagemap >= 0) close(pagemap);
    cmd_find(to, CMD_FINE, "kernel", why, NULL, "The kernel has %s, and %s.",
             scans ? "PAGEMAP_SCAN" : "no PAGEMAP_SCAN", soft ? "soft-dirty" : "no soft-dirty");
}

/* ---- what Oakum decides here ---- */

/* What to change where a way is refused. by: the way that is used instead, or NULL. */
static const char *advice(const char *by, const char *refused, int error)
{
    if (strncmp(refused, "page faults", 11) == 0)
        return "docs/tracking.md, Faults, has what they need.";
    switch (error) {
    case EPERM:
    case EACCES:
        return by != NULL ? "Allow userfaultfd in the seccomp filter, often a container's."
                          : "Allow userfaultfd in the seccomp filter, often a container's, or set "
                            "OAKUM_TRACKING=any.";
    case ENOSYS:
    case EINVAL:
    case ENOTTY:
        return by != NULL ? "Use Linux 6.7 or later."
                          : "Use Linux 6.7 or later, or set OAKUM_TRACKING=any.";
    case EMFILE:
    case ENFILE:
        return "Raise ulimit -n: two more descriptors are needed.";
    case EBUSY:
        return "Map nothing shared over the heap, and register no part of it with userfaultfd.";
    default:
        return "docs/tracking.md tells what each way needs.";
    }
}

/* by, refused: NULL for neither. */
static void tracking(cmd_findings *to, const char *by, const char *refused, int error)
{
    static const char why[] = "With it marking is concurrent; without it each cycle is one pause.";
    const char *reason = error != 0 ? strerror(error) : "the program handles SIGSEGV itself";

    if (by == NULL && refused == NULL)
        cmd_find(to, CMD_WARN, "tracking", why, "Unset OAKUM_TRACKING and OAKUM_CONCURRENT.",
                 "Options say that dirty pages are not tracked.");
    else if (by == NULL)
        cmd_find(to, CMD_BAD, "tracking", why, advice(by, refused, error),
                 "Dirty pages are not tracked: %s: %s.", refused, reason);
    else if (refused != NULL)
        cmd_find(to, CMD_WARN, "tracking", why, advice(by, refused, error),
                 "Dirty pages: by %s; %s is refused: %s.", by, refused, reason);
    else
        cmd_find(to, CMD_FINE, "tracking", why, NULL, "Dirty pages are tracked by %s.", by);
}

typedef struct decisions {
    bool concurrent;
    const char *why;
    unsigned workers, processors, pause_goal_us;
} decisions;

static void decided(cmd_findings *to, const decisions *d)
{
    cmd_find(to, CMD_FINE, "decided", "So the pauses and the threads that mark are chosen.", NULL,
             "Marking: %s (%s); %u of %u processors; pauses of up to %u us.",
             d->concurrent ? "concurrent" : "in a pause", d->why, d->workers, d->processors,
             d->pause_goal_us);
}

static void own(cmd_findings *to)
{
    oak_writes_told told = { 0 };
    oak_host h;
    bool tracked = oak_heap_tells_writes(&told);

    tracking(to, tracked ? told.by : NULL, told.refused, told.error);
    oak_host_read(&h);
    decided(to, &(decisions){ h.concurrent, h.why != NULL ? h.why : "", h.workers, h.processors,
                              h.pause_goal_us });
}

static bool machine(cmd_findings *to)
{
    if (oak_init(NULL) != 0) {
        cmd_find(to, CMD_BAD, "start", "No program that uses Oakum runs here.",
                 "Raise ulimit -v, or set OAKUM_HEAP_RESERVE to less.",
                 "Oakum does not start: %s.", strerror(errno));
    } else {
        own(to);
    }
    kernel_ways(to);
    cmd_doctor_system(to, "", "self");
    cmd_doctor_environment(to, "", "self");
    return true;
}

/* ---- a process ---- */

/* The JSON of one of the server's addresses, or NULL. */
static cmd_json *get(const cmd_server *s, const char *path)
{
    cmd_reply reply;
    cmd_json *v;

    if (!cmd_server_get(command, s, path, ASK_S, &reply)) return NULL;
    v = cmd_json_read(reply.body);
    free(reply.body);
    return v;
}

/* A string, or NULL where it is null. */
static const char *text_or_null(const cmd_json *v, const char *path)
{
    const cmd_json *at = cmd_json_at(v, path);

    return at != NULL && at->kind == CMD_JSON_STRING ? at->string : NULL;
}

static void their_host(cmd_findings *to, const cmd_json *v)
{
    const cmd_json *concurrent = cmd_json_at(v, "concurrent");

    tracking(to, text_or_null(v, "tracking.by"), text_or_null(v, "tracking.refused"),
             (int)cmd_json_number(v, "tracking.errno"));
    decided(to, &(decisions){ concurrent != NULL && concurrent->number != 0,
                              cmd_json_text(v, "why"), (unsigned)cmd_json_number(v, "workers"),
                              (unsigned)cmd_json_number(v, "processors"),
                              (unsigned)cmd_json_number(v, "pause_goal_us") });
}

static void their_cycles(cmd_findings *to, const cmd_json *v)
{
    double all = cmd_json_number(v, "NumGC"), beside = cmd_json_number(v, "NumConcurrentGC");

    cmd_find(to, CMD_FINE, "cycles", "oakum top shows the rest.", NULL,
             "%.0f of its %.0f collections were concurrent; the longest pause: %.3f ms.", beside,
             all, cmd_json_number(v, "PauseMaxNs") / 1e6);
}

static bool ask(cmd_findings *to, const char *where)
{
    cmd_server s;
    cmd_json *host = NULL, *stats = NULL;
    bool told = cmd_server_find(NULL, where, &s) && (host = get(&s, "/debug/host")) != NULL &&
                (stats = get(&s, "/debug/memstats")) != NULL;

    if (told) {
        their_host(to, host);
        their_cycles(to, stats);
    }
    cmd_json_free(host);
    cmd_json_free(stats);
    return told;
}

static bool process(cmd_findings *to, const char *where)
{
    char path[64];
    long pid = atol(where);

    if (where[strspn(where, "0123456789")] != '\0' || pid < 1 || strlen(where) > 9) {
        cmd_say(stderr, "%s: '%s' is no process id; 'pgrep NAME' finds one\n", command, where);
        return false;
    }
    snprintf(path, sizeof(path), "/proc/%ld/status", pid);
    if (access(path, R_OK) != 0) {
        fprintf(stderr, "%s: there is no process %ld that you may look at; 'ps -e' lists them\n",
                command, pid);
        return false;
    }
    if (!ask(to, where))
        cmd_find(to, CMD_WARN, "server",
                 "What its collector tracks and decided can't be known from outside.",
                 "Start it with OAKUM_DEBUG_SERVE=1; ask as its user or as root.",
                 "Process %ld has no debug server that answers.", pid);
    snprintf(path, sizeof(path), "%ld", pid);
    cmd_doctor_system(to, "", path);
    cmd_doctor_environment(to, "", path);
    return true;
}

/* ---- output ---- */

static const char *level_name(cmd_level level)
{
    static const char *const names[] = { "ok", "warn", "bad" };

    return names[level];
}

/* Print a text in lines of at most 80 columns, each after six. */
static void print_lines(const char *first, const char *text)
{
    const char *before = first;

    for (size_t n; *text != '\0'; before = "") {
        n = strlen(text);
        if (n > 80 - 6)
            for (n = 80 - 6; n > 1 && text[n] != ' ';) n--;
        cmd_say(stdout, "%-5s %.*s\n", before, (int)n, text);
        text += n;
        text += strspn(text, " ");
    }
}

static void print(const cmd_findings *all)
{
    for (size_t i = 0; i < all->n; i++) {
        const cmd_finding *f = &all->list[i];

        print_lines(level_name(f->level), f->what);
        print_lines("", f->why);
        if (f->fix != NULL) print_lines("  ->", f->fix);
    }
}

static void print_json(const cmd_findings *all)
{
    oaki_json j;

    cmd_json_init(&j, stdout);
    oaki_json_array(&j);
    for (size_t i = 0; i < all->n; i++) {
        const cmd_finding *f = &all->list[i];

        oaki_json_line(&j, 2);
        oaki_json_object(&j);
        oaki_json_put_string(&j, "name", f->name);
        oaki_json_put_string(&j, "level", level_name(f->level));
        oaki_json_put_string(&j, "what", f->what);
        oaki_json_put_string(&j, "why", f->why);
        oaki_json_put_string(&j, "fix", f->fix);
        oaki_json_object_end(&j);
    }
    oaki_json_array_end(&j);
    (void)oaki_json_finish(&j);
}

static bool take(void *ctx, int option, const char *value)
{
    request *r = ctx;

    (void)value;
    r->json |= option == OPTION_JSON;
    r->help |= option == OPTION_HELP;
    return true;
}

int cmd_doctor(int argc, char **argv)
{
    cmd_args args = { command, options, argc, 1, argv, false };
    cmd_findings all = { .n = 0 };
    request r = { false, false };
    const char *where = NULL;
    int names = cmd_args_read(&args, take, &r, &where, 1), status = CMD_OK;

    if (names == CMD_ARG_BAD) return CMD_USAGE;
    if (r.help) {
        fputs("usage: oakum doctor [OPTION...] [PID]\nShow what this machine, or a process, allows "
              "Oakum, and what to change.\n\n",
              stdout);
        cmd_options_print(options);
        fputs("\nExit status: 1 when a finding is bad. docs/doctor.md explains them.\n", stdout);
        return CMD_OK;
    }
    if (names > 1) {
        fprintf(stderr, "%s: takes one process id; '%s --help' tells more\n", command, command);
        return CMD_USAGE;
    }
    if (!(where != NULL ? process(&all, where) : machine(&all))) return CMD_FAILED;
    if (r.json)
        print_json(&all);
    else
        print(&all);
    for (size_t i = 0; i < all.n; i++)
        if (all.list[i].level == CMD_BAD) status = CMD_FAILED;
    return status;
}
