/* snapread.c - reads a snapshot, and checks everything in it.
 *
 * A count in the file is believed only as far as the file goes. Every item takes at least one byte,
 * and tables grow as items arrive. So a count that is too large ends in the end of the file, not in
 * a table of that size. Every reference is checked against the number of its possible targets. So
 * users of a loaded snapshot may follow references without a check.
 *
 * Owns the snapshot until it is closed. Bound: linear in the file. At most 32 bytes of memory for
 * each byte of it, as for an object that refers to nothing; and half of that once more, as tables
 * grow by half. */
#include "snapread.h"
#include "cancel.h"
#include "runtime/xxh.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUFFER ((size_t)256 << 10)

typedef struct reader {
    oak_snapshot *s;
    int fd;
    unsigned char *buf;
    size_t at, n;
    uint64_t offset; /* of buf[0] in the file */
    size_t hashed;   /* bytes of buf included in the checksum */
    XXH64_state_t hash;
    bool failed;
    int error;
    char *text;
    size_t text_n;
} reader;

/* ---- errors ---- */

static void fail(reader *r, int error, const char *format, ...) OAK_PRINTF(3, 4);
static void fail(reader *r, int error, const char *format, ...)
{
    va_list ap;
    if (r->failed) return;
    r->failed = true;
    r->error = error;
    if (r->text_n == 0) return;
    va_start(ap, format);
    int n = vsnprintf(r->text, r->text_n, format, ap);
    va_end(ap);
    if (error == EBADMSG && n >= 0 && (size_t)n < r->text_n)
        snprintf(r->text + n, r->text_n - (size_t)n, " at byte %llu",
                 (unsigned long long)(r->offset + r->at));
}

/* Adds a zeroed item; NULL without memory. */
static void *push(reader *r, oaki_snaptable *t, size_t item)
{
    if (t->n == t->cap) {
        size_t cap = t->cap ? t->cap + t->cap / 2 : 64;
        void *p = realloc(t->item, cap * item);
        if (!p) {
            fail(r, ENOMEM, "out of memory");
            return NULL;
        }
        t->item = p;
        t->cap = cap;
    }
    return memset((char *)t->item + t->n++ * item, 0, item);
}

/* ---- bytes ---- */

static void hash_up_to(reader *r, size_t at)
{
    XXH64_update(&r->hash, r->buf + r->hashed, at - r->hashed);
    r->hashed = at;
}

static bool fill(reader *r)
{
    ssize_t n;
    if (r->failed) return false;
    hash_up_to(r, r->n);
    r->offset += r->n;
    r->at = r->n = r->hashed = 0;
    while ((n = read(r->fd, r->buf, BUFFER)) < 0 && errno == EINTR) continue;
    if (n < 0) fail(r, errno, "cannot read it: %s", strerror(errno));
    r->n = n > 0 ? (size_t)n : 0;
    return n > 0;
}

static unsigned byte(reader *r)
{
    if (r->at == r->n && !fill(r)) {
        fail(r, EBADMSG, "it is not whole: it ends");
        return 0;
    }
    return r->buf[r->at++];
}

static uint64_t number(reader *r)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        unsigned c = byte(r);
        v |= (uint64_t)(c & 0x7f) << shift;
        if (shift == 63 && c > 1) break;
        if (!(c & 0x80)) return v;
    }
    fail(r, EBADMSG, "a number that is too long");
    return 0;
}

static uint64_t number_below(reader *r, uint64_t limit, const char *what)
{
    uint64_t v = number(r);
    if (v < limit) return v;
    fail(r, EBADMSG, "%s %llu is out of range", what, (unsigned long long)v);
    return 0;
}

/* The string's offset in the strings. Zero bytes in it become question marks. */
static uint64_t string(reader *r)
{
    uint64_t n = number_below(r, OAKI_SNAP_STRING + 1, "a string's length");
    uint64_t at = r->s->strings.n;
    if (n == 0) return 0;
    for (uint64_t i = 0; i <= n && !r->failed; i++) {
        char *p = push(r, &r->s->strings, 1);
        unsigned c = i < n ? byte(r) : 0;
        if (p) *p = (char)(i < n && c == 0 ? '?' : (int)c);
    }
    if (!r->failed) return at;
    r->s->strings.n = at;
    return 0;
}

static void section(reader *r, unsigned letter)
{
    unsigned c = byte(r);
    if (!r->failed && c != letter) fail(r, EBADMSG, "section '%c' is missing", (int)letter);
}

/* ---- sections ---- */

static void read_info(reader *r)
{
    oak_snapshot_info *i = &r->s->info;
    char magic[sizeof OAKI_SNAP_MAGIC - 1];
    for (size_t k = 0; k < sizeof magic; k++) magic[k] = (char)byte(r);
    if (r->failed && r->error != EBADMSG) return;
    if (r->failed || memcmp(magic, OAKI_SNAP_MAGIC, sizeof magic) != 0) {
        r->failed = false;
        fail(r, EBADMSG, "it is no snapshot: another beginning");
        return;
    }
    i->version = (uint32_t)number_below(r, UINT32_MAX, "the version");
    if (!r->failed && i->version != OAKI_SNAP_VERSION)
        fail(r, EBADMSG, "format version %u is not known here", i->version);
    section(r, OAKI_SNAP_INFO);
    uint64_t oakum = string(r), program = string(r);
    i->pid = number(r);
    i->time = number(r);
    i->heap_base = number(r);
    i->heap_used = number(r);
    if (i->heap_used > UINT64_C(1) << 48 || i->heap_base > UINT64_MAX - i->heap_used)
        fail(r, EBADMSG, "the heap is out of range");
    i->oakum = (const char *)(uintptr_t)oakum; /* an offset, until the strings no longer move */
    i->program = (const char *)(uintptr_t)program;
}

static void read_types(reader *r)
{
    section(r, OAKI_SNAP_TYPES);
    for (uint64_t n = number(r); n > 0 && !r->failed; n--) {
        uint64_t *t = push(r, &r->s->types, sizeof *t);
        if (t) *t = string(r);
    }
}

/* Returns whether an edge was read: a 0 ends a list. */
static bool read_edge(reader *r, uint64_t self, uint64_t objects, int64_t words, int64_t *word)
{
    uint64_t v = number(r);
    if (v == 0 || r->failed) return false;
    v--;
    int64_t delta = oaki_snap_unfold(v >> 2);
    uint64_t target = self + (uint64_t)delta;
    if (target >= objects) {
        fail(r, EBADMSG, "an edge of object %llu leads nowhere", (unsigned long long)self);
        return false;
    }
    oaki_snapedge *e = push(r, &r->s->edges, sizeof *e);
    if (!e) return false;
    uint64_t at = 1;
    if (v & OAKI_SNAP_WORD) at = number_below(r, UINT32_MAX, "a word");
    if (at > 0 && (*word += (int64_t)at) >= words) fail(r, EBADMSG, "a word behind its object");
    e->target = (uint32_t)target;
    e->word = at > 0 ? (uint32_t)*word : OAKI_SNAP_NOWHERE;
    if (v & OAKI_SNAP_INTERIOR) {
        uint64_t bytes = number(r);
        oaki_snapinterior *in = push(r, &r->s->interiors, sizeof *in);
        if (in) *in = (oaki_snapinterior){ r->s->edges.n - 1, bytes };
    }
    return !r->failed;
}

static void read_edges(reader *r, oaki_snapobject *o, unsigned count, uint64_t self,
                       uint64_t objects)
{
    int64_t word = -1, words = OAKI_MIN((int64_t)o->granules * 2, (int64_t)OAKI_SNAP_NOWHERE);
    oak_snapshot *s = r->s;
    uint64_t first = s->edges.n;
    if (count == OAKI_SNAP_LIST) {
        while (read_edge(r, self, objects, words, &word)) {}
    } else {
        for (unsigned i = 0; i < count; i++)
            if (!read_edge(r, self, objects, words, &word)) fail(r, EBADMSG, "an edge is missing");
    }
    if (s->edges.n - first > UINT32_MAX) fail(r, EBADMSG, "too many edges");
    o->edge = first;
    o->nedges = (uint32_t)(s->edges.n - first);
}

static void read_objects(reader *r)
{
    oak_snapshot *s = r->s;
    section(r, OAKI_SNAP_OBJECTS);
    uint64_t n = number_below(r, OAKI_SNAP_NONE, "the number of objects");
    uint64_t end = 0, size = 0, type = 0, limit = s->info.heap_used >> 4;
    for (uint64_t i = 0; i < n && !r->failed; i++) {
        unsigned head = byte(r);
        uint64_t gap = head & OAKI_SNAP_GAP ? number(r) : 0;
        if (head & OAKI_SNAP_SIZE) size = number_below(r, UINT32_MAX, "a size");
        if (head & OAKI_SNAP_TYPE) type = number_below(r, (s->types.n + 1) << 2, "a type");
        if (size == 0 || gap > limit - end || size > limit - end - gap)
            fail(r, EBADMSG, "object %llu is outside of the heap", (unsigned long long)i);
        oaki_snapobject o = { .address = end + gap, .type = type, .granules = (uint32_t)size };
        end += gap + size;
        if (!r->failed) read_edges(r, &o, head >> 4, i, n);
        oaki_snapobject *p = r->failed ? NULL : push(r, &s->objects, sizeof *p);
        if (p) *p = o;
        s->info.object_bytes += oaki_snapbytes(&o);
    }
}

static uint32_t object(reader *r)
{
    return (uint32_t)number_below(r, r->s->objects.n, "object");
}

static void read_keys(reader *r)
{
    oak_snapshot *s = r->s;
    section(r, OAKI_SNAP_KEYS);
    uint64_t n = number(r);
    s->info.keys_cut = n & 1;
    for (n >>= 1; n > 0 && !r->failed; n--) {
        oaki_snapkey *k = push(r, &s->keys, sizeof *k);
        if (!k) return;
        k->object = object(r);
        k->word = (uint32_t)number_below(r, UINT32_MAX, "a word");
        k->text = string(r);
    }
}

static void read_pairs(reader *r)
{
    section(r, OAKI_SNAP_PAIRS);
    for (uint64_t n = number(r); n > 0 && !r->failed; n--) {
        oaki_snappair *p = push(r, &r->s->pairs, sizeof *p);
        if (!p) return;
        p->handle = object(r);
        p->key = object(r);
        p->value = object(r);
    }
}

static void read_samples(reader *r)
{
    section(r, OAKI_SNAP_SAMPLES);
    for (uint64_t n = number(r); n > 0 && !r->failed; n--) {
        oaki_snapedge *p = push(r, &r->s->samples, sizeof *p); /* object and site */
        if (!p) return;
        p->target = object(r);
        p->word = (uint32_t)number_below(r, UINT32_MAX, "a site");
    }
}

static void read_roots(reader *r)
{
    uint64_t address = 0;
    section(r, OAKI_SNAP_ROOTS);
    for (uint64_t n = number(r); n > 0 && !r->failed; n--) {
        oaki_snaproot *p = push(r, &r->s->roots, sizeof *p);
        if (!p) return;
        unsigned kind = byte(r);
        p->caller = kind >> 7;
        p->kind = kind & 0x7f;
        if (p->kind == OAK_ROOT_NONE || p->kind > OAK_ROOT_RUNTIME)
            fail(r, EBADMSG, "a root of kind %u", kind);
        p->thread = (int32_t)number_below(r, INT32_MAX, "a thread");
        address += (uint64_t)oaki_snap_unfold(number(r));
        p->address = address;
        p->target = object(r);
        p->interior = number(r);
        p->offset = UINT64_MAX;
    }
}

/* A string: by the number of an earlier one, or a new one. */
static uint64_t interned(reader *r, oaki_snaptable *told)
{
    uint64_t i = number_below(r, told->n + 1, "a string");
    if (i > 0) return r->failed ? 0 : ((uint64_t *)told->item)[i - 1];
    uint64_t at = string(r), *p = push(r, told, sizeof *p);
    if (p) *p = at;
    return at;
}

static void read_names(reader *r)
{
    oaki_snaptable told = { NULL, 0, 0 };
    uint64_t at = 0, unused = UINT64_MAX;
    section(r, OAKI_SNAP_NAMES);
    for (uint64_t n = number(r); n > 0 && !r->failed; n--) {
        uint64_t step = number(r);
        if (step >= r->s->roots.n - at || (unused != UINT64_MAX && step == 0)) {
            fail(r, EBADMSG, "the name of a root that is not there");
            break;
        }
        at += step;
        unused = at;
        oaki_snaproot *root = (oaki_snaproot *)r->s->roots.item + at;
        root->offset = number(r) - 1;
        root->where = interned(r, &told);
        root->file = interned(r, &told);
    }
    free(told.item);
}

static void read_threads(reader *r)
{
    section(r, OAKI_SNAP_THREADS);
    for (uint64_t n = number(r); n > 0 && !r->failed; n--) {
        oaki_snapthread *t = push(r, &r->s->threads, sizeof *t);
        if (!t) return;
        t->tid = (int32_t)number_below(r, INT32_MAX, "a thread");
        t->name = string(r);
    }
}

static void read_sites(reader *r)
{
    section(r, OAKI_SNAP_SITES);
    for (uint64_t n = number(r); n > 0 && !r->failed; n--) {
        oaki_snapthread *t = push(r, &r->s->sites, sizeof *t); /* id and name */
        if (!t) return;
        t->tid = (int32_t)number_below(r, INT32_MAX, "a site");
        t->name = string(r);
    }
}

static void read_end(reader *r)
{
    oak_snapshot *s = r->s;
    section(r, OAKI_SNAP_END);
    uint64_t objects = number(r), edges = number(r), roots = number(r);
    if (!r->failed && (objects != s->objects.n || edges != s->edges.n || roots != s->roots.n))
        fail(r, EBADMSG, "other numbers of things than it says");
    if (r->failed) return;
    hash_up_to(r, r->at);
    uint64_t sum = XXH64_digest(&r->hash), told = 0;
    for (unsigned i = 0; i < 8; i++) told |= (uint64_t)byte(r) << 8 * i;
    if (!r->failed && sum != told) fail(r, EBADMSG, "the checksum is wrong: it is damaged");
    if (r->failed) return;
    s->info.bytes = r->offset + r->at;
    if (r->at < r->n || fill(r)) fail(r, EBADMSG, "something follows its end");
}

/* ---- sorting ---- */

static int by_object(const void *a, const void *b)
{
    const oaki_snapkey *x = a, *y = b;
    if (x->object != y->object) return x->object < y->object ? -1 : 1;
    return x->word < y->word ? -1 : x->word > y->word;
}

static int by_key(const void *a, const void *b)
{
    const oaki_snappair *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return x->handle < y->handle ? -1 : x->handle > y->handle;
}

static void settle(oak_snapshot *s)
{
    oak_snapshot_info *i = &s->info;
    i->oakum = oaki_snapstring(s, (uintptr_t)i->oakum);
    i->program = oaki_snapstring(s, (uintptr_t)i->program);
    i->objects = s->objects.n;
    i->edges = s->edges.n;
    i->roots = s->roots.n;
    i->threads = s->threads.n;
    i->types = s->types.n;
    i->keys = s->keys.n;
    if (s->keys.n) qsort(s->keys.item, s->keys.n, sizeof(oaki_snapkey), by_object);
    if (s->pairs.n) qsort(s->pairs.item, s->pairs.n, sizeof(oaki_snappair), by_key);
}

static void read_all(reader *r)
{
    static void (*const sections[])(reader *) = { read_info,  read_types,   read_objects,
                                                  read_keys,  read_pairs,   read_samples,
                                                  read_roots, read_names,   read_threads,
                                                  read_sites, read_end };
    push(r, &r->s->strings, 1); /* "" */
    for (size_t i = 0; i < OAKI_COUNT(sections) && !r->failed; i++) sections[i](r);
    if (!r->failed) settle(r->s);
}

/* ---- the public side ---- */

void oak_snapshot_close(oak_snapshot *s)
{
    if (!s) return;
    oaki_snaptable *t[] = { &s->strings, &s->types, &s->objects, &s->edges,   &s->interiors,
                            &s->keys,    &s->pairs, &s->roots,   &s->threads, &s->samples,
                            &s->sites };
    for (size_t i = 0; i < OAKI_COUNT(t); i++) free(t[i]->item);
    free(s->idom);
    free(s->retained);
    free(s);
}

static oak_snapshot *refused(int number, const char *why, char *error, size_t n)
{
    if (n > 0) snprintf(error, n, "%s", why);
    errno = number;
    return NULL;
}

oak_snapshot *oak_snapshot_open(const char *path, char *error, size_t n)
{
    OAKI_NO_CANCEL;
    if (!error) n = 0;
    if (n > 0) error[0] = '\0';
    if (!path) return refused(EINVAL, "no name of a file", error, n);
    bool is_stdin = strcmp(path, "-") == 0;
    reader *r = calloc(1, sizeof *r);
    if (!r) return refused(ENOMEM, "out of memory", error, n);
    r->text = error;
    r->text_n = n;
    r->s = calloc(1, sizeof *r->s);
    r->buf = malloc(BUFFER);
    r->fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    XXH64_reset(&r->hash, 0);
    if (r->fd < 0)
        fail(r, errno, "%s", strerror(errno));
    else if (!r->s || !r->buf)
        fail(r, ENOMEM, "out of memory");
    else
        read_all(r);
    if (r->fd >= 0 && !is_stdin) close(r->fd);
    oak_snapshot *s = r->s;
    int failed = r->failed ? r->error : 0;
    free(r->buf);
    free(r);
    if (!failed) return s;
    oak_snapshot_close(s);
    errno = failed;
    return NULL;
}
