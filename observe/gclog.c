/* gclog.c - a log of collections in JSON (oakum/gclog.h).
 *
 * A line is formatted by the listener and goes out in one write. So the lines of several processes
 * that share a file stay whole. If a full disk cuts a line, its beginning stays in the file, as
 * other processes may have written after it. Then the next line begins with a newline.
 *
 * Owns:  the descriptor and the counts of lines.
 * Lock:  the turn, for start and stop. Only the listener writes lines. It is called by one thread
 *   at a time, and not after its removal.
 * Bound: a line has at most LINE bytes. A full pipe is not waited for: the line is lost. */
#include "gclog.h"

#include "cancel.h"
#include "turn.h"
#include "output.h"
#include "runtime/fd.h"
#include "runtime/heap.h"
#include "runtime/options.h"
#include "runtime/os.h"
#include "runtime/print.h"
#include "runtime/thread.h"
#include "target.h"
#include <errno.h>
#include <fcntl.h>
#include <oakum/gclog.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE 2048

static struct {
    AO_t turn;
    bool on, own;  /* a log is under way; the descriptor was opened here */
    bool file;     /* a regular file: a write never waits for a reader */
    int fd, error; /* error: errno of the first failed line, or 0 */
    oaki_fd_file opened; /* the file behind fd when the log began */
    bool torn;     /* the last bytes written are an incomplete line */
    uint64_t lost; /* lines lost since the last one written */
} self;

/* ---- a line ---- */

static void put_parts(oaki_json *j, const oaki_cycle *c)
{
    static const char *const names[OAKI_PARTS] = { "stop",   "prepare", "roots", "drain",
                                                    "finish", "pace",    "start" };
    oaki_json_key(j, "phases_ns");
    oaki_json_object(j);
    for (unsigned p = 0; p < OAKI_PARTS; p++) oaki_json_put_u64(j, names[p], c->part[p]);
    if (c->verify) oaki_json_put_u64(j, "verify", c->verify);
    oaki_json_object_end(j);
}

static void put_cpu(oaki_json *j, const oaki_cycle *c)
{
    oaki_json_key(j, "cpu_ns");
    oaki_json_object(j);
    oaki_json_put_u64(j, "all", c->cpu);
    oaki_json_put_u64(j, "stop", c->stop_cpu);
    oaki_json_put_u64(j, "mark", c->line.mark_cpu);
    oaki_json_object_end(j);
    oaki_json_put_double(j, "gc_cpu_fraction", c->line.cpu_fraction);
}

static void put_heap(oaki_json *j, const oaki_cycle *c)
{
    oaki_json_key(j, "heap");
    oaki_json_object(j);
    oaki_json_put_u64(j, "start", c->line.heap_start);
    oaki_json_put_u64(j, "end", c->line.heap_end);
    oaki_json_put_u64(j, "live", c->line.heap_live);
    oaki_json_put_u64(j, "goal", c->line.goal);
    oaki_json_put_u64(j, "next", c->trigger);
    oaki_json_put_u64(j, "allocated", c->allocated);
    oaki_json_put_u64(j, "freed", c->freed);
    oaki_json_put_u64(j, "inuse", c->heap_inuse);
    oaki_json_put_u64(j, "idle", c->heap_idle);
    oaki_json_put_u64(j, "released", c->heap_released);
    oaki_json_object_end(j);
    oaki_json_key(j, "roots");
    oaki_json_object(j);
    oaki_json_put_u64(j, "stacks", c->line.stacks);
    oaki_json_put_u64(j, "globals", c->line.globals);
    oaki_json_object_end(j);
}

static void put_work(oaki_json *j, const oaki_cycle *c)
{
    oaki_json_key(j, "work");
    oaki_json_object(j);
    oaki_json_put_u64(j, "marked", c->marked);
    oaki_json_put_u64(j, "rescanned", c->rescanned);
    oaki_json_put_u64(j, "pages_asked", c->tracking.asked);
    oaki_json_put_u64(j, "pages_dirty", c->tracking.found);
    oaki_json_put_u64(j, "tracking_faults", c->tracking.faults);
    oaki_json_object_end(j);
}

/* Writes the previous cycle's sweep, as this cycle's is still to come. */
static void put_sweep(oaki_json *j, const oaki_cycle *c)
{
    oaki_json_key(j, "swept_before");
    oaki_json_object(j);
    oaki_json_put_u64(j, "rest_ns", c->sweep_rest);
    if (c->sweep_end) oaki_json_put_u64(j, "end_ns", c->sweep_end);
    oaki_json_put_u64(j, "scan", c->kept[OAKI_SCAN] + c->kept[OAKI_PINNED]);
    oaki_json_put_u64(j, "typed", c->kept[OAKI_TYPED]);
    oaki_json_put_u64(j, "noscan", c->kept[OAKI_NOSCAN]);
    oaki_json_object_end(j);
}

static void put_rounds(oaki_json *j, const oaki_cycle *c)
{
    oaki_json_key(j, "rounds");
    oaki_json_object(j);
    oaki_json_put_u64(j, "running", c->rounds);
    oaki_json_put_u64(j, "stopped", c->stopped);
    oaki_json_object_end(j);
}

static void put_beside(oaki_json *j, const oaki_cycle *c)
{
    oaki_json_key(j, "beside_ns");
    oaki_json_object(j);
    oaki_json_put_u64(j, "first_stop", c->first - c->between);
    oaki_json_put_u64(j, "short_stops", c->between);
    oaki_json_put_u64(j, "mark", c->first_begin ? c->begin - c->first_begin - c->first : 0);
    oaki_json_put_u64(j, "cpu", c->concurrent_cpu);
    oaki_json_object_end(j);
}

void oaki_gclog_cycle(oaki_json *j, const oaki_cycle *c, uint64_t lost)
{
    static const char *const why[] = { "due", "needed", "asked" };
    oaki_json_object(j);
    oaki_json_put_u64(j, "gc", c->line.cycle);
    oaki_json_put_i64(j, "pid", oaki_os_pid());
    oaki_json_put_i64(j, "tid", c->tid);
    oaki_json_put_string(j, "why", why[c->why]);
    oaki_json_put_bool(j, "forced", c->line.forced);
    oaki_json_put_u64(j, "end_unix_ns", c->wall);
    oaki_json_put_u64(j, "begin_ns", c->begin);
    oaki_json_put_u64(j, "since_start_ns", c->line.since_start);
    oaki_json_put_u64(j, "pause_ns", oaki_cycle_pause(c));
    oaki_json_put_u64(j, "longest_stop_ns", oaki_cycle_longest(c));
    put_parts(j, c);
    oaki_json_put_bool(j, "minor", c->minor);
    put_beside(j, c);
    put_rounds(j, c);
    put_cpu(j, c);
    put_heap(j, c);
    put_work(j, c);
    oaki_json_put_u64(j, "threads", c->threads);
    oaki_json_put_u64(j, "stopped", c->threads ? c->threads - 1 : 0);
    oaki_json_put_u64(j, "markers", c->markers);
    oaki_json_put_u64(j, "processors", c->line.processors);
    put_sweep(j, c);
    oaki_json_put_u64(j, "lost", lost);
    oaki_json_object_end(j);
}

/* ---- the listener ---- */

/* Programs close descriptors that they don't know, and the number may then be a file of theirs. */
static bool is_lost(void)
{
    return self.own && !oaki_fd_is(self.fd, &self.opened);
}

static bool has_room(void)
{
    struct pollfd f = { .fd = self.fd, .events = POLLOUT };
    if (is_lost()) {
        errno = EBADF;
        return false;
    }
    if (self.file) return true;
    if (poll(&f, 1, 0) == 1 && (f.revents & (POLLOUT | POLLERR | POLLHUP | POLLNVAL))) return true;
    errno = EAGAIN;
    return false;
}

static int put_line(const char *p, size_t n)
{
    size_t done;
    int r = oaki_write_counted(self.fd, p, n, &done);
    if (done > 0) self.torn = p[done - 1] != '\n';
    return r;
}

/* Listeners are called one at a time, so the line's buffer is static. */
static void write_line(const oaki_cycle *c, void *ctx)
{
    static char line[LINE + 1] = "\n"; /* the newline is written after a torn line */
    oaki_json_text text = { .p = line + 1, .size = LINE };
    oaki_json j;
    (void)ctx;
    oaki_json_init(&j, oaki_json_to_text, &text);
    oaki_gclog_cycle(&j, c, self.lost + c->lost);
    OAKI_INVARIANT(oaki_json_finish(&j), "a line of the log is longer than LINE");
    if (has_room() && put_line(line + !self.torn, text.len + self.torn) == 0) {
        self.lost = 0;
        return;
    }
    self.lost += c->lost + 1;
    if (!self.error) self.error = errno;
}

/* ---- start and stop ---- */

static void fork_child(void);

static void take_turn(void)
{
    oaki_turn_take(&self.turn, fork_child);
}

static void give_turn(void)
{
    oaki_turn_give(&self.turn);
}

/* A fork's child continues the log; its lines have its own pid. */
static void fork_child(void)
{
    AO_store(&self.turn, 0);
}

static int stop(void)
{
    if (!self.on) return 0;
    oaki_gc_flush_events();
    oaki_gc_off_cycle(write_line, NULL);
    self.on = false;
    if (self.own && !is_lost() && close(self.fd) != 0 && !self.error) self.error = errno;
    if (!self.error) return 0;
    errno = self.error;
    return -1;
}

/* Does the file end in the middle of a line, left by an earlier writer? */
static bool ends_torn(const char *path)
{
    char last = '\n';
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return false;
    if (lseek(fd, -1, SEEK_END) >= 0) (void)!read(fd, &last, 1);
    close(fd);
    return last != '\n';
}

static int start(int fd, bool own, const char *path)
{
    struct stat st;
    (void)stop();
    if (fstat(fd, &st) != 0) return -1;
    self.fd = fd;
    self.opened = (oaki_fd_file){ st.st_dev, st.st_ino };
    self.own = own;
    self.file = S_ISREG(st.st_mode);
    self.error = 0;
    self.lost = 0;
    self.torn = path && self.file && ends_torn(path);
    self.on = oaki_gc_on_cycle(write_line, NULL) == 0;
    return self.on ? 0 : -1;
}

int oak_gclog_start_fd(int fd)
{
    OAKI_NO_CANCEL;
    if (!oaki_heap_ready()) return -1;
    take_turn();
    int r = start(fd, false, NULL), saved = errno;
    give_turn();
    errno = saved;
    return r;
}

int oak_gclog_start(const char *path)
{
    OAKI_NO_CANCEL;
    if (!path) return errno = EINVAL, -1;
    if (!oaki_heap_ready()) return -1;
    take_turn();
    (void)stop();
    int fd = oaki_target_open(path, O_CREAT | O_APPEND);
    if (fd >= 0) fd = oaki_fd_move_high(fd);
    int r = fd >= 0 ? start(fd, true, path) : -1, saved = errno;
    if (r != 0 && fd >= 0) close(fd);
    give_turn();
    errno = saved;
    return r;
}

int oak_gclog_stop(void)
{
    OAKI_NO_CANCEL;
    take_turn();
    int r = stop(), saved = errno;
    self.error = 0;
    give_turn();
    errno = saved;
    return r;
}

OAKI_AT_START void oaki_gclog_from_environment(void)
{
    const char *path = oaki_options_variable("OAKUM_GC_LOG");
    if (!path || !*path || oak_gclog_start(path) == 0) return;
    oaki_log("oakum: OAKUM_GC_LOG=%.200s: can't be opened (errno %d): there is no log\n", path,
             errno);
}
