/* snapwrite.c - writes a snapshot's heap from the image, during a walk over it.
 *
 * A search finds the live objects. Then objects are written in order of address, each with its
 * edges. Targets are numbers: ranks among the objects found. A rank's look-up misses the cache, so
 * edges of many objects are gathered first, and the data for their ranks is prefetched.
 *
 * Extra memory for 1 GiB of 64-byte objects: 64 MiB for the search's queue, which is freed before
 * the first write. 12 MiB more for ranks, and 8 MiB for mark bits that the child writes.
 *
 * Owns nothing that outlives the image. Bound: two passes over the words of the live objects; four
 * if there are maps whose keys are wanted. */
#include "snapwrite.h"

#include "gc/debug/edges.h"
#include "gc/trace/trace.h"
#include "graph.h"
#include "maplabel.h"
#include "maps/classic.h"
#include "maps/parts.h"
#include "path.h"
#include "runtime/os.h"
#include "runtime/track.h"
#include "runtime/type.h"
#include "site.h"
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#define OBJECTS 256  /* objects gathered, whose edges wait for their ranks */
#define EDGES 4096
#define FEW 14       /* most edges that an object's first byte can count */
#define LOOK_EVERY 4096

typedef struct waiting {
    size_t slot;
    unsigned first, n; /* of its edges */
} waiting;

typedef struct state {
    oaki_image *im;
    const oaki_snap_query *query;
    oaki_snapout out;
    oaki_ranks ranks;
    oaki_snap_tail tail;
    /* objects and edges gathered */
    waiting object[OBJECTS];
    unsigned nobjects, nedges;
    struct {
        size_t slot, at, interior;
        uint32_t rank;
        bool real;
    } edge[EDGES];
    bool listing;   /* the only object gathered is written as a list of edges that ends with a 0 */
    size_t word;    /* of its previous edge */
    uint64_t number; /* of the next object to write */
    size_t end, size;   /* of the previous object, in granules */
    uint64_t type;      /* type << 2 | shape */
    uint64_t address;   /* of the previous root */
    bool counting;      /* roots or keys are only counted, not written */
    uint64_t count;
    const oak_classic_map *classic;
} state;

/* ---- the stream ---- */

static int write_fd(void *ctx, const char *p, size_t n)
{
    const state *s = ctx;
    while (n > 0) {
        ssize_t done = oaki_os_write(s->query->fd, p, n);
        if (done >= 0) {
            p += done;
            n -= (size_t)done;
        } else if (errno == EAGAIN) {
            (void)poll(&(struct pollfd){ .fd = s->query->fd, .events = POLLOUT }, 1, 1000);
        } else if (errno != EINTR) {
            return errno;
        }
        if (oaki_image_late(s->im)) return ETIMEDOUT;
    }
    return 0;
}

/* In a pause, the file may be a pipe that a stopped thread reads. So the stream goes to the parent,
 * which writes it later. */
static int write_answer(void *ctx, const char *p, size_t n)
{
    state *s = ctx;
    s->tail.inline_bytes += n;
    return oaki_image_put(s->im, p, n) ? 0 : ENOMEM;
}

/* ---- info, types ---- */

static void put_info(state *s)
{
    oaki_snapout *o = &s->out;
    const oaki_snap_query *q = s->query;
    for (const char *m = OAKI_SNAP_MAGIC; *m; m++) oaki_snapout_byte(o, (unsigned char)*m);
    oaki_snapout_number(o, OAKI_SNAP_VERSION);
    oaki_snapout_byte(o, OAKI_SNAP_INFO);
    oaki_snapout_text(o, oak_version());
    oaki_snapout_text(o, q->program);
    oaki_snapout_number(o, (uint64_t)q->pid);
    oaki_snapout_number(o, q->time);
    oaki_snapout_number(o, oaki_the_heap.base);
    oaki_snapout_number(o, AO_load(&oaki_the_heap.used));
}

static void put_types(state *s)
{
    uint32_t n = oaki_type_count();
    oaki_snapout_byte(&s->out, OAKI_SNAP_TYPES);
    oaki_snapout_number(&s->out, n);
    for (uint32_t id = 1; id <= n; id++) oaki_snapout_text(&s->out, oaki_type_by_id(id)->name);
}

/* ---- objects ---- */

static void put_head(state *s, size_t slot, unsigned edges)
{
    oaki_snapout *o = &s->out;
    size_t at = slot >> OAKI_GRANULE_SHIFT;
    size_t size = oaki_object_size(slot) >> OAKI_GRANULE_SHIFT;
    oaki_shape shape = oaki_shape_of(slot);
    uint64_t type = shape;
    if (shape == OAKI_SHAPE_TYPED) type |= (uint64_t)oaki_type_id_at(slot) << 2;
    unsigned head = edges << 4;
    if (at != s->end) head |= OAKI_SNAP_GAP;
    if (size != s->size) head |= OAKI_SNAP_SIZE;
    if (type != s->type) head |= OAKI_SNAP_TYPE;
    oaki_snapout_byte(o, head);
    if (at != s->end) oaki_snapout_number(o, at - s->end);
    if (size != s->size) oaki_snapout_number(o, size);
    if (type != s->type) oaki_snapout_number(o, type);
    s->end = at + size;
    s->size = size;
    s->type = type;
    s->word = SIZE_MAX;
}

static void put_edge(state *s, unsigned i)
{
    oaki_snapout *o = &s->out;
    int64_t delta = (int64_t)s->edge[i].rank - (int64_t)s->number;
    size_t word = s->edge[i].at == SIZE_MAX ? SIZE_MAX : s->edge[i].at / sizeof(uintptr_t);
    unsigned flags = s->edge[i].interior ? OAKI_SNAP_INTERIOR : 0;
    if (word == SIZE_MAX || word != s->word + 1) flags |= OAKI_SNAP_WORD;
    oaki_snapout_number(o, 1 + (oaki_snap_fold(delta) << 2 | flags));
    if (flags & OAKI_SNAP_WORD) oaki_snapout_number(o, word == SIZE_MAX ? 0 : word - s->word);
    if (flags & OAKI_SNAP_INTERIOR) oaki_snapout_number(o, s->edge[i].interior);
    if (word != SIZE_MAX) s->word = word;
    s->tail.edges++;
}

/* Finds the ranks of all gathered edges. Their bits are being prefetched. */
static void find_ranks(state *s)
{
    for (unsigned i = 0; i < s->nedges; i++) {
        size_t slot = s->edge[i].slot;
        s->edge[i].real = oaki_ranks_has(&s->ranks, slot);
        if (s->edge[i].real) s->edge[i].rank = oaki_ranks_of(&s->ranks, slot);
    }
}

static unsigned count_real(const state *s, const waiting *w)
{
    unsigned n = 0;
    for (unsigned i = 0; i < w->n; i++) n += s->edge[w->first + i].real;
    return n;
}

static void put_edges(state *s, const waiting *w)
{
    for (unsigned i = 0; i < w->n; i++)
        if (s->edge[w->first + i].real) put_edge(s, w->first + i);
}

/* Writes the first n gathered objects, with all their edges. */
static void put_waiting(state *s, unsigned n)
{
    for (unsigned k = 0; k < n; k++) {
        const waiting *w = &s->object[k];
        unsigned edges = count_real(s, w);
        put_head(s, w->slot, OAKI_MIN(edges, (unsigned)OAKI_SNAP_LIST));
        put_edges(s, w);
        if (edges > FEW) oaki_snapout_number(&s->out, 0);
        s->number++;
    }
}

/* There is no room for more edges of the current object. The objects before it are written. The
 * current one is written as a list. */
static void make_room(state *s)
{
    waiting last = s->object[s->nobjects - 1];
    find_ranks(s);
    put_waiting(s, s->nobjects - 1);
    last.n = s->nedges - last.first;
    if (!s->listing) put_head(s, last.slot, OAKI_SNAP_LIST);
    s->listing = true;
    put_edges(s, &last);
    s->object[0] = (waiting){ .slot = last.slot };
    s->nobjects = 1;
    s->nedges = 0;
}

static void take_edges(void *ctx, const oaki_edge *edge, size_t n)
{
    state *s = ctx;
    for (size_t i = 0; i < n; i++) {
        size_t slot = oaki_slot_offset(edge[i].to);
        if (slot == SIZE_MAX) continue;
        if (s->nedges == EDGES) make_room(s);
        s->edge[s->nedges].slot = slot;
        s->edge[s->nedges].at = edge[i].at;
        s->edge[s->nedges++].interior = edge[i].to - slot;
        oaki_ranks_prefetch(&s->ranks, slot);
    }
}

static void end_list(state *s)
{
    waiting w = { .first = 0, .n = s->nedges };
    find_ranks(s);
    put_edges(s, &w);
    oaki_snapout_number(&s->out, 0);
    s->number++;
    s->listing = false;
    s->nobjects = s->nedges = 0;
}

static bool put_object(void *ctx, size_t slot)
{
    state *s = ctx;
    unsigned first = s->nedges;
    s->object[s->nobjects++] = (waiting){ .slot = slot, .first = first };
    oaki_edges_of(slot, true, take_edges, s);
    if (s->listing) {
        end_list(s);
    } else {
        s->object[s->nobjects - 1].n = s->nedges - s->object[s->nobjects - 1].first;
        if (s->nobjects < OBJECTS && s->nedges < EDGES / 2) return true;
        find_ranks(s);
        put_waiting(s, s->nobjects);
        s->nobjects = s->nedges = 0;
    }
    return !s->out.error && !(s->number % LOOK_EVERY < OBJECTS && oaki_image_late(s->im));
}

static void put_objects(state *s)
{
    oaki_snapout_byte(&s->out, OAKI_SNAP_OBJECTS);
    oaki_snapout_number(&s->out, s->ranks.n);
    s->size = SIZE_MAX;
    s->type = UINT64_MAX;
    if (!oaki_ranks_each(&s->ranks, put_object, s)) return;
    find_ranks(s);
    put_waiting(s, s->nobjects);
}

/* ---- keys of map entries ---- */

#define CHAIN 4096 /* most overflow buckets in a chain that are followed */

typedef struct keyed {
    state *s;
    size_t slot;
    const oak_classic_map *classic;
} keyed;

static void put_key(state *s, size_t slot, size_t at, const char *key, size_t n)
{
    if (s->count++ >= s->query->max_keys || s->counting) return;
    oaki_snapout_number(&s->out, oaki_ranks_of(&s->ranks, slot));
    oaki_snapout_number(&s->out, at / sizeof(uintptr_t));
    oaki_snapout_string(&s->out, key, n);
}

static void take_keys(void *ctx, const oaki_edge *edge, size_t n)
{
    keyed *k = ctx;
    char text[OAKI_LABEL];
    for (size_t i = 0; i < n && k->s->count < k->s->query->max_keys; i++) {
        size_t slot = oaki_slot_offset(edge[i].to);
        if (edge[i].at == SIZE_MAX || slot == SIZE_MAX || !oaki_ranks_has(&k->s->ranks, slot))
            continue;
        const void *obj = (const void *)(oaki_the_heap.base + k->slot);
        size_t len = k->classic ? oaki_classic_key_at(k->classic, obj, edge[i].at, text,
                                                      sizeof text)
                                : oaki_map_key_at(obj, edge[i].at, text, sizeof text);
        if (len > 0) put_key(k->s, k->slot, edge[i].at, text, len);
    }
}

/* The object that this bucket's last word refers to, if it can be an overflow bucket. */
static size_t overflow_of(const state *s, const char *bucket, size_t size)
{
    const char *next;
    memcpy(&next, bucket + size - sizeof next, sizeof next);
    size_t slot = next ? oaki_graph_object(s->im, (uintptr_t)next) : SIZE_MAX;
    bool fits = slot != SIZE_MAX && (const char *)oaki_the_heap.base + slot == next &&
                oaki_ranks_has(&s->ranks, slot) && oaki_object_size(slot) >= size;
    return fits ? slot : SIZE_MAX;
}

/* Takes overflow buckets that are objects of their own. The array's spare buckets are part of the
 * array. */
static void take_overflow(state *s, const oak_classic_map *m, size_t array)
{
    size_t size = oaki_classic_bucket_size(m->type), n = oaki_object_size(array) / size;
    const char *first = (const char *)oaki_the_heap.base + array;
    for (size_t i = 0; i < n && s->count < s->query->max_keys; i++) {
        size_t slot = overflow_of(s, first + i * size, size);
        for (unsigned k = 0; slot != SIZE_MAX && slot != array && k < CHAIN; k++) {
            oaki_edges_of(slot, true, take_keys, &(keyed){ s, slot, m });
            slot = overflow_of(s, (const char *)oaki_the_heap.base + slot, size);
        }
    }
}

/* Takes the buckets of a classic map's array, if that is in the snapshot. */
static void take_buckets(state *s, const oak_classic_map *m, const void *array)
{
    size_t slot = array ? oaki_graph_object(s->im, (uintptr_t)array) : SIZE_MAX;
    if (slot == SIZE_MAX || !oaki_ranks_has(&s->ranks, slot)) return;
    oaki_edges_of(slot, true, take_keys, &(keyed){ s, slot, m });
    if (oaki_classic_scanned(m->type)) take_overflow(s, m, slot);
}

static bool take_map(void *ctx, size_t slot)
{
    state *s = ctx;
    const oaki_map_layout *l;
    if (oaki_shape_of(slot) != OAKI_SHAPE_TYPED) return true;
    const void *obj = (const void *)(oaki_the_heap.base + slot);
    if (oaki_map_part_of(oaki_type_by_id(oaki_type_id_at(slot)), &l) == OAKI_MAP_ENTRIES) {
        oaki_edges_of(slot, true, take_keys, &(keyed){ s, slot, NULL });
    } else {
        const oak_classic_map *m = oaki_classic_seen(s->im, obj);
        if (m) take_buckets(s, m, m->buckets);
        if (m) take_buckets(s, m, m->oldbuckets);
    }
    return s->count < s->query->max_keys && !s->out.error && !oaki_image_late(s->im);
}

/* Two passes: the first one counts, as the count precedes the keys. */
static void put_keys(state *s)
{
    s->count = 0;
    s->counting = true;
    if (s->query->keys) oaki_ranks_each(&s->ranks, take_map, s);
    s->tail.keys = OAKI_MIN(s->count, s->query->max_keys);
    bool cut = s->query->keys && s->count >= s->query->max_keys;
    s->counting = false;
    s->count = 0;
    oaki_snapout_byte(&s->out, OAKI_SNAP_KEYS);
    oaki_snapout_number(&s->out, s->tail.keys << 1 | cut);
    if (s->query->keys) oaki_ranks_each(&s->ranks, take_map, s);
}

/* ---- ephemerons ---- */

static bool number_of(const state *s, const void *p, uint32_t *n)
{
    size_t slot = oaki_graph_object(s->im, (uintptr_t)p);
    if (slot == SIZE_MAX || !oaki_ranks_has(&s->ranks, slot)) return false;
    *n = oaki_ranks_of(&s->ranks, slot);
    return true;
}

static void put_pair(void *ctx, void *handle, void *key, void *value)
{
    state *s = ctx;
    uint32_t h, k, v;
    if (!number_of(s, handle, &h) || !number_of(s, key, &k) || !number_of(s, value, &v)) return;
    s->count++;
    if (s->counting) return;
    oaki_snapout_number(&s->out, h);
    oaki_snapout_number(&s->out, k);
    oaki_snapout_number(&s->out, v);
}

static void put_pairs(state *s)
{
    s->count = 0;
    s->counting = true;
    oaki_ephemerons_each(put_pair, s);
    oaki_snapout_byte(&s->out, OAKI_SNAP_PAIRS);
    oaki_snapout_number(&s->out, s->count);
    s->counting = false;
    oaki_ephemerons_each(put_pair, s);
}

/* ---- sampled objects ---- */

static void put_sample(void *obj, size_t bytes, double weight, const oaki_site *site, void *ctx)
{
    state *s = ctx;
    uint32_t n;
    (void)bytes;
    (void)weight;
    if (!number_of(s, obj, &n)) return;
    s->count++;
    if (s->counting) return;
    oaki_snapout_number(&s->out, n);
    oaki_snapout_number(&s->out, site->id);
}

static void put_samples(state *s)
{
    s->count = 0;
    s->counting = true;
    oaki_samples_visit(put_sample, s);
    oaki_snapout_byte(&s->out, OAKI_SNAP_SAMPLES);
    oaki_snapout_number(&s->out, s->count);
    s->counting = false;
    oaki_samples_visit(put_sample, s);
}

/* ---- roots ---- */

static void put_target(state *s, const oaki_root_word *w, uintptr_t value)
{
    uint32_t n;
    if (!number_of(s, (const void *)value, &n)) return;
    s->count++;
    if (s->counting) return;
    size_t slot = oaki_graph_object(s->im, value);
    oaki_snapout_byte(&s->out, (unsigned)w->kind | (w->caller ? 0x80u : 0));
    oaki_snapout_number(&s->out, w->thread ? (uint64_t)w->thread->tid : 0);
    oaki_snapout_signed(&s->out, (int64_t)((uintptr_t)w->address - s->address));
    oaki_snapout_number(&s->out, n);
    oaki_snapout_number(&s->out, w->value - oaki_the_heap.base - slot);
    s->address = (uintptr_t)w->address;
}

static void put_root(void *ctx, const oaki_root_word *w)
{
    state *s = ctx;
    put_target(s, w, w->value);
    if (w->past_end &&
        oaki_graph_object(s->im, w->value) != oaki_graph_object(s->im, w->value - 1))
        put_target(s, w, w->value - 1);
}

static void put_roots(state *s)
{
    s->count = 0;
    s->counting = true;
    oaki_root_words(s->im, put_root, s);
    s->tail.roots = s->count;
    oaki_snapout_byte(&s->out, OAKI_SNAP_ROOTS);
    oaki_snapout_number(&s->out, s->count);
    s->counting = false;
    oaki_root_words(s->im, put_root, s);
}

/* Passes the roots that need a name to the parent, with their numbers in the file. */
static void ask_name(void *ctx, const oaki_root_word *w)
{
    state *s = ctx;
    uint64_t before = s->count;
    s->counting = true;
    put_root(s, w);
    if (s->count == before || s->tail.named >= OAKI_SNAP_NAMED || w->kind == OAK_ROOT_PINNED)
        return;
    oaki_snap_named named = { .index = before };
    oaki_root_flatten(w, s->query->code, &named.root);
    for (; named.index < s->count; named.index++) {
        s->tail.named++;
        if (!oaki_image_put(s->im, &named, sizeof named)) s->out.error = EPIPE;
    }
}

static void ask_site(void *obj, size_t bytes, double weight, const oaki_site *site, void *ctx)
{
    state *s = ctx;
    uint32_t n;
    (void)bytes;
    (void)weight;
    if (!number_of(s, obj, &n)) return;
    s->tail.sites++;
    if (!oaki_image_put(s->im, &site->id, sizeof site->id)) s->out.error = EPIPE;
}

/* ---- */

static int write_all(state *s)
{
    put_info(s);
    put_types(s);
    put_objects(s);
    if (!s->out.error && oaki_image_late(s->im)) s->out.error = ETIMEDOUT;
    if (s->out.error) return s->out.error;
    put_keys(s);
    put_pairs(s);
    put_samples(s);
    put_roots(s);
    oaki_snapout_flush(&s->out);
    if (s->out.error) return s->out.error;
    s->tail.objects = s->ranks.n;
    oaki_samples_visit(ask_site, s);
    s->count = 0;
    oaki_root_words(s->im, ask_name, s);
    s->tail.out = s->out;
    if (s->out.error || !oaki_image_put(s->im, &s->tail, sizeof s->tail)) return EPIPE;
    return 0;
}

int oaki_snap_work(oaki_image *im, void *arg)
{
    oaki_search search;
    if (!oaki_search_begin(&search, im, false)) return ENOMEM;
    oaki_search_all(&search);
    oaki_image_measure(im);
    oaki_search_end(&search);
    if (oaki_image_late(im)) return ETIMEDOUT;
    state *s = oaki_os_map_scratch(sizeof *s);
    char *buf = oaki_os_map_scratch(OAKI_SNAP_BUFFER);
    int r = ENOMEM;
    if (s && buf) {
        s->im = im;
        s->query = arg;
        oaki_snapout_begin(&s->out, buf, oaki_image_in_stop(im) ? write_answer : write_fd, s);
        if (oaki_ranks_make(&s->ranks, im)) r = write_all(s);
        oaki_ranks_free(&s->ranks);
    }
    oaki_edges_trim();
    if (buf) oaki_os_release(buf, OAKI_SNAP_BUFFER);
    if (s) oaki_os_release(s, sizeof *s);
    return r;
}
