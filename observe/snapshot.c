/* snapshot.c - saves a snapshot: the parent's part, around the child that writes it.
 *
 * The child writes the heap to the file itself. Then the parent appends the names of roots, threads
 * and sites. A child can't look these up, as that takes locks of the host. The checksum is passed
 * with the stream from one to the other.
 *
 * Owns nothing. Bound: that of the image; a symbol look-up for each named root. */
#include "snapwrite.h"

#include "cancel.h"
#include "output.h"
#include "rootname.h"
#include "runtime/os.h"
#include "site.h"
#include <errno.h>
#include <oakum/snapshot.h>
#include <stdlib.h>
#include <unistd.h>

#define TIMEOUT_NS (UINT64_C(600) * 1000000000)
#define KEYS_MAX 1000000u

static int write_parent(void *ctx, const char *p, size_t n)
{
    return oaki_write_all(*(int *)ctx, p, n) == 0 ? 0 : errno;
}

/* ---- names ---- */

/* The strings written so far: each is written once, then referred to by its number. */
typedef struct strings {
    char (*item)[160];
    size_t n, cap;
} strings;

static void put_interned(oaki_snapout *o, strings *s, const char *text)
{
    size_t i = s->n;
    /* neighbours are often equal; a string farther back is written again */
    for (size_t back = 0; back < 64 && i > 0; back++)
        if (strcmp(s->item[--i], text) == 0) {
            oaki_snapout_number(o, i + 1);
            return;
        }
    oaki_snapout_number(o, 0);
    oaki_snapout_text(o, text);
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 256;
        void *p = realloc(s->item, cap * sizeof *s->item);
        if (!p) {
            o->error = o->error ? o->error : ENOMEM;
            return;
        }
        s->item = p;
        s->cap = cap;
    }
    strncpy(s->item[s->n], text, sizeof s->item[0] - 1);
    s->item[s->n++][sizeof s->item[0] - 1] = '\0';
}

static void put_names(oaki_snapout *o, const char *data, size_t n)
{
    strings s = { NULL, 0, 0 };
    uint64_t before = 0;
    oaki_snapout_byte(o, OAKI_SNAP_NAMES);
    oaki_snapout_number(o, n);
    for (size_t i = 0; i < n; i++) {
        oaki_snap_named named;
        oak_root_info info;
        memcpy(&named, data + i * sizeof named, sizeof named);
        oaki_root_name(&named.root, &info);
        oaki_snapout_number(o, named.index - before);
        before = named.index;
        oaki_snapout_number(o, info.offset == SIZE_MAX ? 0 : info.offset + 1);
        put_interned(o, &s, info.where);
        put_interned(o, &s, info.file);
    }
    free(s.item);
}

/* ---- threads ---- */

#define THREADS 4096

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* Sorts, and removes duplicates. Returns how many are left. */
static size_t unique(uint32_t *a, size_t n)
{
    size_t kept = 0;
    qsort(a, n, sizeof *a, by_number);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || a[kept - 1] != a[i]) a[kept++] = a[i];
    return kept;
}

static void put_threads(oaki_snapout *o, const char *data, size_t n)
{
    uint32_t *tid = malloc(THREADS * sizeof *tid); /* the stack may be small */
    size_t count = 0;
    if (!tid) o->error = o->error ? o->error : ENOMEM;
    if (!tid) return;
    for (size_t i = 0; i < n; i++) {
        oaki_snap_named named;
        memcpy(&named, data + i * sizeof named, sizeof named);
        if (named.root.thread <= 0) continue;
        if (count == THREADS) count = unique(tid, count);
        if (count < THREADS) tid[count++] = (uint32_t)named.root.thread;
    }
    count = unique(tid, count);
    oaki_snapout_byte(o, OAKI_SNAP_THREADS);
    oaki_snapout_number(o, count);
    for (size_t i = 0; i < count; i++) {
        char name[16];
        oaki_thread_name((int)tid[i], name);
        oaki_snapout_number(o, tid[i]);
        oaki_snapout_text(o, name);
    }
    free(tid);
}

/* ---- sites ---- */

static void put_sites(oaki_snapout *o, const char *data, size_t n)
{
    uint32_t *id = n > 0 ? malloc(n * sizeof *id) : NULL;
    char text[512];
    if (n > 0 && !id) o->error = o->error ? o->error : ENOMEM;
    if (id) memcpy(id, data, n * sizeof *id);
    n = id ? unique(id, n) : 0;
    oaki_snapout_byte(o, OAKI_SNAP_SITES);
    oaki_snapout_number(o, n);
    for (size_t i = 0; i < n; i++) {
        oaki_thread *t = oaki_enter();
        const oaki_site *site = t ? oaki_site_by_id(id[i]) : NULL;
        if (t) oaki_leave(t);
        text[0] = '\0';
        if (site) oaki_site_format(site, 8, text, sizeof text);
        oaki_snapout_number(o, id[i]);
        oaki_snapout_text(o, text);
    }
    free(id);
}

/* ---- the whole snapshot ---- */

/* Completes the file from the child's answer: sites, roots, the tail. 0 or an error number. */
static int finish(int fd, const oaki_image_answer *a, oak_snapshot_cost *cost)
{
    oaki_snap_tail tail;
    if (a->n < sizeof tail) return EIO;
    memcpy(&tail, a->data + a->n - sizeof tail, sizeof tail);
    const char *sites = a->data + tail.inline_bytes, *roots = sites + tail.sites * sizeof(uint32_t);
    if (tail.inline_bytes + tail.sites * sizeof(uint32_t) + tail.named * sizeof(oaki_snap_named) +
            sizeof tail != a->n)
        return EIO;
    oaki_snapout *o = &tail.out;
    o->buf = malloc(OAKI_SNAP_BUFFER);
    o->sink = write_parent;
    o->ctx = &fd;
    o->error = o->buf ? 0 : ENOMEM;
    if (!o->error && tail.inline_bytes > 0)
        o->error = write_parent(&fd, a->data, (size_t)tail.inline_bytes);
    if (!o->error) {
        put_names(o, roots, (size_t)tail.named);
        put_threads(o, roots, (size_t)tail.named);
        put_sites(o, sites, (size_t)tail.sites);
        oaki_snapout_byte(o, OAKI_SNAP_END);
        oaki_snapout_number(o, tail.objects);
        oaki_snapout_number(o, tail.edges);
        oaki_snapout_number(o, tail.roots);
        oaki_snapout_checksum(o);
    }
    free(o->buf);
    cost->bytes = o->bytes;
    cost->objects = tail.objects;
    cost->edges = tail.edges;
    return o->error;
}

static int save(int fd, const char *own_sp, const oak_snapshot_options *options,
                oak_snapshot_cost *cost)
{
    static const oak_snapshot_options usual;
    oak_snapshot_cost unasked;
    oaki_image_answer answer;
    uint64_t from = oaki_os_now_ns();
    if (!options) options = &usual;
    if (!cost) cost = &unasked;
    *cost = (oak_snapshot_cost){ 0 };
    struct {
        oaki_snap_query query;
        oaki_code_map code;
    } *q = malloc(sizeof *q);
    if (!q) return -1;
    oaki_code_map_read(&q->code);
    q->query = (oaki_snap_query){ .fd = fd,
                                  .keys = !options->no_keys,
                                  .max_keys = options->max_keys ? options->max_keys : KEYS_MAX,
                                  .code = &q->code,
                                  .pid = oaki_os_pid(),
                                  .time = oaki_os_wall_ns() / 1000000000 };
    ssize_t n = readlink("/proc/self/exe", q->query.program, sizeof q->query.program - 1);
    q->query.program[n > 0 ? n : 0] = '\0';
    oaki_image_request r = { .work = oaki_snap_work,
                             .arg = &q->query,
                             .timeout_ns = options->timeout_ns ? options->timeout_ns : TIMEOUT_NS,
                             .own_sp = own_sp,
                             .measure = cost != &unasked,
                             .in_stop = options->in_stop_,
                             .keep_fd = fd };
    int error = oaki_image_take(&r, &answer) == 0 ? 0 : errno;
    if (!error) {
        error = finish(fd, &answer, cost);
        cost->pause_ns = answer.pause_ns;
        cost->extra_memory = answer.extra_memory;
        cost->stopped = answer.stopped;
        oaki_image_answer_free(&answer);
    }
    free(q);
    cost->total_ns = oaki_os_now_ns() - from;
    errno = error;
    return error ? -1 : 0;
}

OAKI_NOINLINE int oak_snapshot_write(int fd, const oak_snapshot_options *options,
                                     oak_snapshot_cost *cost)
{
    OAKI_NO_CANCEL;
    return save(fd, OAKI_IMAGE_OWN_SP, options, cost);
}

OAKI_NOINLINE int oak_snapshot_save_with(const char *path, const oak_snapshot_options *options,
                                         oak_snapshot_cost *cost)
{
    OAKI_NO_CANCEL;
    oaki_output o;
    if (oaki_output_open(&o, path) != 0) return -1;
    return oaki_output_close(&o, save(o.fd, OAKI_IMAGE_OWN_SP, options, cost));
}

int oak_snapshot_save(const char *path)
{
    return oak_snapshot_save_with(path, NULL, NULL);
}
