/* retention.c - the memory that each root word alone retains.
 *
 * A word alone retains the objects that no other word reaches: those that it dominates. Only the
 * first level is wanted, so no dominator tree is built. Each word in turn gives its label to the
 * objects that it reaches. An object that already has another label becomes SHARED, and the search
 * stops there. At the end, all objects that shared ones reach become shared. Each object is scanned
 * at most twice; labels and the queue take twelve bytes an object.
 *
 * An ephemeron's value has the label of its key.
 *
 * Owns nothing that outlives the image. Bound: two passes over the words of the live objects; 24
 * bytes a root word. */
#include "graph.h"

#include "cancel.h"
#include "gc/debug/edges.h"
#include "path.h"
#include "rootname.h"
#include "runtime/os.h"
#include <errno.h>
#include <string.h>

#define TIMEOUT_NS (UINT64_C(300) * 1000000000)
#define SHARED UINT32_MAX
#define MOST 4096 /* most suspects */
#define SPARE 64  /* extra places: objects retained without a word take places too, and are left
                   * out */
#define LOOK_EVERY 4096
#define RING 64u
#define NONE UINT32_MAX
#define AHEAD 8

/* The root word with label i + 1, i being its index. */
typedef struct word {
    uint64_t value, bytes;
    uint32_t objects;
    int32_t tid; /* for a word of a stack or registers; else 0 */
} word;

typedef struct suspect {
    uint32_t label, words;
    uint64_t bytes, objects, object, size;
    uint32_t shape, type;
    uint64_t address[OAK_SUSPECT_WORDS];
    oaki_root_found root;
} suspect;

typedef struct query {
    size_t max;
    const oaki_code_map *code;
} query;

typedef struct state {
    oaki_image *im;
    oaki_ranks ranks;
    uint32_t *label; /* by the object's number */
    uint64_t *queue; /* offsets of objects still to be scanned */
    size_t first, last, label_bytes, queue_bytes;
    /* Objects that are about to be labelled, in a ring that hides the latency of memory. Those in
     * [head, middle) have their numbers, and their labels are being prefetched. For those in
     * [middle, tail) the words of the ranks are. */
    struct {
        size_t slot;
        uint32_t number;
    } ring[RING];
    unsigned head, middle, tail;
    word *words;
    size_t nwords, cap;
    size_t place; /* in the second pass: words so far */
    uint32_t now; /* the label being spread */
    bool no_memory, sharing;
    suspect *top;
    size_t ntop, max;
    const oaki_code_map *code;
} state;

/* ---- spreading ---- */

/* The number of the object at this address, if it has one. */
static bool number_of(const state *s, uintptr_t value, uint32_t *n)
{
    size_t slot = oaki_graph_object(s->im, value);
    if (slot == SIZE_MAX || !oaki_ranks_has(&s->ranks, slot)) return false;
    *n = oaki_ranks_of(&s->ranks, slot);
    return true;
}

/* Finds the number of the next object in the ring, if it has one. */
static void find_number(state *s)
{
    unsigned i = s->middle++ % RING;
    bool has = oaki_ranks_has(&s->ranks, s->ring[i].slot);
    s->ring[i].number = has ? oaki_ranks_of(&s->ranks, s->ring[i].slot) : NONE;
    if (has) __builtin_prefetch(&s->label[s->ring[i].number]);
}

/* Labels the first object of the ring. */
static void give_label(state *s)
{
    if (s->head == s->middle) find_number(s);
    unsigned i = s->head++ % RING;
    uint32_t n = s->ring[i].number;
    if (n == NONE) return;
    uint32_t old = s->label[n];
    if (old == s->now || old == SHARED) return;
    s->label[n] = old == 0 ? s->now : SHARED;
    if (old == 0 || s->sharing) s->queue[s->last++] = s->ring[i].slot;
}

/* Puts the object that this value refers to into the ring. */
OAKI_INLINE void look(state *s, uintptr_t value)
{
    size_t to = value - oaki_the_heap.base;
    if (to >= AO_load(&oaki_the_heap.used)) return;
    size_t slot = oaki_slot_offset(to);
    if (slot == SIZE_MAX) return;
    if (s->tail - s->head == RING) give_label(s);
    if (s->tail - s->middle >= RING / 2) find_number(s);
    oaki_ranks_prefetch(&s->ranks, slot);
    s->ring[s->tail++ % RING].slot = slot;
}

static void label_edges(void *ctx, const oaki_edge *edge, size_t n)
{
    for (size_t i = 0; i < n; i++) look(ctx, oaki_the_heap.base + edge[i].to);
}

typedef struct keyed {
    state *s;
    const void *key;
} keyed;

static void label_value(void *ctx, void *handle, void *key, void *value)
{
    const keyed *k = ctx;
    uint32_t n;
    if (key == k->key && number_of(k->s, (uintptr_t)handle, &n)) look(k->s, (uintptr_t)value);
}

static void spread(state *s)
{
    bool pairs = oaki_ephemerons_count() > 0;
    for (;;) {
        if (s->first == s->last) {
            if (s->head == s->tail) return;
            give_label(s);
            continue;
        }
        if (s->first % LOOK_EVERY == 0 && oaki_image_late(s->im)) return;
        if (s->first + AHEAD < s->last)
            __builtin_prefetch((const void *)(oaki_the_heap.base + s->queue[s->first + AHEAD]));
        size_t slot = s->queue[s->first++];
        const void *obj = (const void *)(oaki_the_heap.base + slot);
        oaki_edges_of(slot, false, label_edges, s);
        if (pairs) oaki_ephemerons_of(obj, label_value, &(keyed){ s, obj });
    }
}

/* ---- words ---- */

static word *new_word(state *s)
{
    if (s->nwords == s->cap) {
        size_t cap = OAKI_MAX(s->cap * 2, (size_t)4096);
        word *w = cap < SHARED ? oaki_os_map_scratch(cap * sizeof *w) : NULL;
        if (!w) {
            s->no_memory = true;
            return NULL;
        }
        if (s->words) {
            memcpy(w, s->words, s->nwords * sizeof *w);
            oaki_os_release(s->words, s->cap * sizeof *w);
        }
        s->words = w;
        s->cap = cap;
    }
    return &s->words[s->nwords++];
}

static int owner(const oaki_root_word *w)
{
    return w->past_end && w->thread ? w->thread->tid : 0;
}

/* Has an equal word of the same thread's stack or registers labelled this object already? */
static bool is_twin(const state *s, const oaki_root_word *w)
{
    uint32_t n, label;
    if (!owner(w) || !number_of(s, w->value, &n)) return false;
    label = s->label[n];
    if (label == 0 || label == SHARED) return false;
    return s->words[label - 1].tid == owner(w) && s->words[label - 1].value == w->value;
}

static void label_word(void *ctx, const oaki_root_word *w)
{
    state *s = ctx;
    uint32_t n;
    if (s->no_memory || is_twin(s, w)) return;
    if (!number_of(s, w->value, &n) && !(w->past_end && number_of(s, w->value - 1, &n))) return;
    word *new = new_word(s);
    if (!new) return;
    *new = (word){ .value = w->value, .tid = owner(w) };
    s->now = (uint32_t)s->nwords;
    look(s, w->value);
    if (w->past_end) look(s, w->value - 1);
    spread(s);
}

typedef struct passing {
    state *s;
    size_t n; /* objects so far */
} passing;

static bool queue_shared(void *ctx, size_t slot)
{
    passing *p = ctx;
    if (p->s->label[p->n++] == SHARED) p->s->queue[p->s->last++] = slot;
    return true;
}

static void spread_shared(state *s)
{
    s->first = s->last = 0;
    s->now = SHARED;
    s->sharing = true;
    oaki_ranks_each(&s->ranks, queue_shared, &(passing){ s, 0 });
    spread(s);
}

/* ---- the largest ---- */

static bool add_object(void *ctx, size_t slot)
{
    passing *p = ctx;
    uint32_t label = p->s->label[p->n++];
    if (label == 0 || label == SHARED) return true;
    p->s->words[label - 1].objects++;
    p->s->words[label - 1].bytes += oaki_graph_bytes(slot);
    return true;
}

static void choose(state *s)
{
    for (size_t i = 0; i < s->nwords; i++) {
        uint64_t bytes = s->words[i].bytes;
        if (bytes == 0 || (s->ntop == s->max && bytes <= s->top[s->ntop - 1].bytes)) continue;
        size_t at = s->ntop < s->max ? s->ntop++ : s->ntop - 1;
        for (; at > 0 && s->top[at - 1].bytes < bytes; at--) s->top[at] = s->top[at - 1];
        s->top[at] = (suspect){ .label = (uint32_t)i + 1,
                                .bytes = bytes,
                                .objects = s->words[i].objects };
    }
}

/* The second pass: describes the chosen words. It visits them in the order of the labels. */
static void describe(void *ctx, const oaki_root_word *w)
{
    state *s = ctx;
    uint32_t n;
    if (!number_of(s, w->value, &n) && !(w->past_end && number_of(s, w->value - 1, &n))) return;
    for (size_t i = 0; i < s->ntop; i++) {
        suspect *t = &s->top[i];
        const word *of = &s->words[t->label - 1];
        if (of->value != w->value || of->tid != owner(w) || s->label[n] != t->label) continue;
        if (t->words < OAK_SUSPECT_WORDS) t->address[t->words] = (uintptr_t)w->address;
        if (t->words++ > 0) return;
        size_t slot = oaki_ranks_object(&s->ranks, n);
        oaki_root_flatten(w, s->code, &t->root);
        t->object = oaki_the_heap.base + slot;
        t->size = oaki_object_size(slot);
        t->shape = oaki_shape_of(slot);
        if (t->shape == OAKI_SHAPE_TYPED) t->type = oaki_type_id_at(slot);
        return;
    }
}

/* ---- */

static int answer(state *s)
{
    oaki_root_words(s->im, label_word, s);
    if (s->no_memory) return ENOMEM;
    spread_shared(s);
    oaki_ranks_each(&s->ranks, add_object, &(passing){ s, 0 });
    choose(s);
    oaki_root_words(s->im, describe, s);
    if (oaki_image_late(s->im)) return ETIMEDOUT;
    return oaki_image_put(s->im, s->top, s->ntop * sizeof *s->top) ? 0 : EPIPE;
}

static int work(oaki_image *im, void *arg)
{
    const query *q = arg;
    state s = { .im = im, .max = q->max, .code = q->code };
    oaki_search all;
    if (!oaki_search_begin(&all, im, false)) return ENOMEM;
    oaki_search_all(&all);
    oaki_search_end(&all);
    if (oaki_image_late(im)) return ETIMEDOUT;
    if (!oaki_ranks_make(&s.ranks, im)) return ENOMEM;
    s.label_bytes = OAKI_MAX(s.ranks.n, (size_t)1) * sizeof *s.label;
    s.queue_bytes = OAKI_MAX(s.ranks.n, (size_t)1) * sizeof *s.queue;
    size_t top_bytes = s.max * sizeof *s.top;
    s.label = oaki_os_map_scratch(s.label_bytes);
    s.queue = oaki_os_map_scratch(s.queue_bytes);
    s.top = oaki_os_map_scratch(top_bytes);
    int r = s.label && s.queue && s.top ? answer(&s) : ENOMEM;
    if (s.label) oaki_os_release(s.label, s.label_bytes);
    if (s.queue) oaki_os_release(s.queue, s.queue_bytes);
    if (s.top) oaki_os_release(s.top, top_bytes);
    if (s.words) oaki_os_release(s.words, s.cap * sizeof *s.words);
    oaki_ranks_free(&s.ranks);
    return r;
}

static void make_public(const char *data, oak_suspect *out)
{
    suspect t;
    memcpy(&t, data, sizeof t);
    *out = (oak_suspect){ .bytes = (size_t)t.bytes,
                          .objects = (size_t)t.objects,
                          .object = (const void *)(uintptr_t)t.object,
                          .size = (size_t)t.size,
                          .type = oaki_shape_name(t.shape, t.type),
                          .words = t.words };
    for (size_t i = 0; i < OAK_SUSPECT_WORDS; i++)
        out->address[i] = (const void *)(uintptr_t)t.address[i];
    oaki_root_name(&t.root, &out->root);
}

OAKI_NOINLINE int oak_false_retention(oak_suspect *out, size_t max)
{
    OAKI_NO_CANCEL;
    if (!out && max > 0) return errno = EINVAL, -1;
    oaki_image_answer a;
    oaki_code_map *code = oaki_os_map(sizeof *code);
    if (!code) return -1;
    oaki_code_map_read(code);
    query q = { OAKI_MIN(max, (size_t)MOST) + SPARE, code };
    oaki_image_request r = { .work = work,
                             .arg = &q,
                             .timeout_ns = TIMEOUT_NS,
                             .own_sp = OAKI_IMAGE_OWN_SP,
                             .keep_fd = -1 };
    int taken = oaki_image_take(&r, &a), saved = errno;
    oaki_os_release(code, sizeof *code);
    errno = saved;
    if (taken != 0) return -1;
    size_t n = a.n / sizeof(suspect), stored = 0;
    for (size_t i = 0; i < n && stored < max; i++) {
        make_public(a.data + i * sizeof(suspect), &out[stored]);
        if (out[stored].root.address) stored++;
    }
    oaki_image_answer_free(&a);
    return (int)stored;
}
