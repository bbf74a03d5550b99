/* pprof.c - writes a reading in pprof's format (<oakum/profile.h>).
 *
 * Messages of one kind may be written one after the other; readers join them. So strings, functions
 * and places are written at first use, a sample at a time. Only their numbers stay in memory. All
 * output passes through gzip.c to the file.
 *
 * Owns: nothing beyond a call; memory is the host's malloc's. Bound: O(sites * frames) time; 24
 * bytes for each string, function and place, and 220 KB for gzip.c. */
#include "cancel.h"
#include "gzip.h"
#include "object.h"
#include "output.h"
#include "profile.h"
#include "runtime/os.h"
#include "symbol.h"
#include "utf8.h"
#include "runtime/xxh.h"
#include "wire.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The fields of pprof's profile.proto that are written here, by message.
 * (https://github.com/google/pprof/blob/main/proto/profile.proto) */
enum {
    PROFILE_SAMPLE_TYPE = 1,
    PROFILE_SAMPLE = 2,
    PROFILE_MAPPING = 3,
    PROFILE_LOCATION = 4,
    PROFILE_FUNCTION = 5,
    PROFILE_STRING_TABLE = 6,
    PROFILE_TIME_NANOS = 9,
    PROFILE_DURATION_NANOS = 10,
    PROFILE_PERIOD_TYPE = 11,
    PROFILE_PERIOD = 12,
    PROFILE_DEFAULT_SAMPLE_TYPE = 14
};
enum { VALUE_TYPE = 1, VALUE_UNIT = 2 };
enum { SAMPLE_LOCATION_ID = 1, SAMPLE_VALUE = 2, SAMPLE_LABEL = 3 };
enum { LABEL_KEY = 1, LABEL_STR = 2, LABEL_NUM = 3, LABEL_NUM_UNIT = 4 };
enum {
    MAPPING_ID = 1,
    MAPPING_START = 2,
    MAPPING_LIMIT = 3,
    MAPPING_OFFSET = 4,
    MAPPING_FILENAME = 5,
    MAPPING_BUILD_ID = 6,
    MAPPING_HAS_FUNCTIONS = 7,
    MAPPING_HAS_FILENAMES = 8,
    MAPPING_HAS_LINE_NUMBERS = 9,
    MAPPING_HAS_INLINE_FRAMES = 10
};
enum { LOCATION_ID = 1, LOCATION_MAPPING = 2, LOCATION_ADDRESS = 3, LOCATION_LINE = 4 };
enum { LINE_FUNCTION = 1, LINE_LINE = 2 };
enum { FUNCTION_ID = 1, FUNCTION_NAME = 2, FUNCTION_SYSTEM_NAME = 3, FUNCTION_FILENAME = 4 };

/* Maps the identity of an item to its number in the output. */
typedef struct key {
    uint64_t a, b;
} key;

typedef struct ids {
    struct {
        key k;
        uint64_t id; /* 0: free */
    } *slot;
    size_t n, room; /* room is a power of two, or 0 */
} ids;

/* One code segment. */
typedef struct mapping {
    const oaki_object *object;
    const oaki_segment *segment;
    bool used, nameless; /* in use; some places in it have no name */
} mapping;

typedef struct writer {
    int fd;
    int error; /* the first failure; nothing is written after it */
    oaki_gzip *z;
    /* The message under construction. Messages that it refers to are written before it begins. */
    oaki_wire wire;
    uint64_t seed;
    ids strings, functions, places;
    oaki_objects objects;
    mapping *mappings;
    size_t nmappings;
} writer;

static void fail(writer *w, int error)
{
    if (!w->error) w->error = error;
}

/* ---- bytes ---- */

static void write_out(void *ctx, const void *p, size_t n)
{
    writer *w = ctx;
    if (!w->error && oaki_write_all(w->fd, p, n) != 0) fail(w, errno);
}

/* The message is complete: writes it. */
static void put(writer *w)
{
    if (w->wire.failed) fail(w, ENOMEM);
    if (!w->error) oaki_gzip_put(w->z, w->wire.p, w->wire.n);
    oaki_wire_clear(&w->wire);
}

/* ---- numbers ---- */

static uint64_t *slot_of(ids *t, key k)
{
    size_t i = (size_t)((k.a ^ k.b * 0x9e3779b97f4a7c15u) * 0xff51afd7ed558ccdu >> 20);
    for (;; i++) {
        i &= t->room - 1;
        if (t->slot[i].id == 0) t->slot[i].k = k;
        if (t->slot[i].k.a == k.a && t->slot[i].k.b == k.b) return &t->slot[i].id;
    }
}

static bool grow(ids *t)
{
    ids more = { .n = t->n, .room = t->room ? t->room * 2 : 256 };
    more.slot = calloc(more.room, sizeof *more.slot);
    if (!more.slot) return false;
    for (size_t i = 0; i < t->room; i++)
        if (t->slot[i].id) *slot_of(&more, t->slot[i].k) = t->slot[i].id;
    free(t->slot);
    *t = more;
    return true;
}

/* The key's number, from 1; *fresh if the number is new. 0 without memory. */
static uint64_t number(writer *w, ids *t, key k, bool *fresh)
{
    *fresh = false;
    if ((t->n + 1) * 2 > t->room && !grow(t)) {
        fail(w, ENOMEM);
        return 0;
    }
    uint64_t *id = slot_of(t, k);
    if (*id == 0) {
        *id = ++t->n;
        *fresh = true;
    }
    return *id;
}

/* ---- strings ---- */

/* The number of a string; the table's first string is the empty one. Not while a message is under
 * construction, as a new string is a message too. */
static uint64_t string(writer *w, const char *s, size_t n)
{
    bool fresh;
    XXH128_hash_t h = XXH3_128bits_withSeed(s, n, w->seed);
    uint64_t id = number(w, &w->strings, (key){ h.low64, h.high64 }, &fresh);
    OAKI_ASSERT(w->wire.n == 0);
    if (!fresh || id == 0) return id ? id - 1 : 0;
    char *clean = oaki_utf8_escape(s, n, &n);
    if (!clean) {
        fail(w, ENOMEM);
        return 0;
    }
    oaki_wire_bytes(&w->wire, PROFILE_STRING_TABLE, clean, n);
    put(w);
    free(clean);
    return id - 1;
}

static uint64_t text(writer *w, const char *s)
{
    return string(w, s ? s : "", s ? strlen(s) : 0);
}

/* ---- places ---- */

static int list_mappings(writer *w)
{
    oaki_fork_hold();
    int r = oaki_objects_read(&w->objects);
    oaki_fork_release();
    if (r != 0) return -1;
    w->mappings = calloc(w->objects.n * OAKI_OBJECT_SEGMENTS + 1, sizeof *w->mappings);
    if (!w->mappings) return -1;
    for (size_t i = 0; i < w->objects.n; i++)
        for (size_t k = 0; k < w->objects.item[i].nsegments; k++)
            if (w->objects.item[i].segment[k].code)
                w->mappings[w->nmappings++] = (mapping){
                    .object = &w->objects.item[i],
                    .segment = &w->objects.item[i].segment[k],
                };
    return 0;
}

/* The number of the address's mapping, from 1; 0 if there is none. */
static uint64_t mapping_of(writer *w, uintptr_t pc, bool named)
{
    for (size_t i = 0; i < w->nmappings; i++) {
        mapping *m = &w->mappings[i];
        if (pc < m->segment->lo || pc >= m->segment->hi) continue;
        m->used = true;
        m->nameless |= !named;
        return i + 1;
    }
    return 0;
}

static uint64_t function(writer *w, const oak_frame *f)
{
    bool fresh;
    uint64_t name = text(w, f->function), file = text(w, f->file);
    uint64_t id = number(w, &w->functions, (key){ name, file }, &fresh);
    if (!fresh) return id;
    size_t begun = oaki_wire_begin(&w->wire, PROFILE_FUNCTION);
    oaki_wire_number(&w->wire, FUNCTION_ID, id);
    oaki_wire_number(&w->wire, FUNCTION_NAME, name);
    oaki_wire_number(&w->wire, FUNCTION_SYSTEM_NAME, name);
    oaki_wire_number(&w->wire, FUNCTION_FILENAME, file);
    oaki_wire_end(&w->wire, begun);
    put(w);
    return id;
}

static void put_line(writer *w, uint64_t fn, int line)
{
    size_t begun = oaki_wire_begin(&w->wire, LOCATION_LINE);
    oaki_wire_number(&w->wire, LINE_FUNCTION, fn);
    oaki_wire_number(&w->wire, LINE_LINE, (uint64_t)line);
    oaki_wire_end(&w->wire, begun);
}

static uint64_t place(writer *w, uintptr_t pc)
{
    bool fresh;
    oak_frame frame[OAKI_SYMBOL_INLINED];
    uint64_t fn[OAKI_SYMBOL_INLINED];
    uint64_t id = number(w, &w->places, (key){ pc, 0 }, &fresh);
    if (!fresh) return id;
    size_t n = oaki_symbol_of_code(pc, frame);
    bool named = frame[n - 1].function != NULL;
    for (size_t i = 0; named && i < n; i++) fn[i] = function(w, &frame[i]);
    size_t begun = oaki_wire_begin(&w->wire, PROFILE_LOCATION);
    oaki_wire_number(&w->wire, LOCATION_ID, id);
    oaki_wire_number(&w->wire, LOCATION_MAPPING, mapping_of(w, pc, named));
    oaki_wire_number(&w->wire, LOCATION_ADDRESS, oaki_symbol_address(pc));
    for (size_t i = 0; named && i < n; i++) put_line(w, fn[i], frame[i].line);
    oaki_wire_end(&w->wire, begun);
    put(w);
    return id;
}

/* ---- samples ---- */

typedef struct label {
    uint64_t key, str, num, unit;
} label;

static label read_label(writer *w, const oak_label *l)
{
    label out = { .key = string(w, l->key, l->key_len) };
    if (l->value) {
        out.str = string(w, l->value, l->value_len);
    } else {
        out.num = (uint64_t)l->number;
        out.unit = string(w, l->unit ? l->unit : "", l->unit_len);
    }
    return out;
}

static void put_label(writer *w, const label *l)
{
    size_t begun = oaki_wire_begin(&w->wire, SAMPLE_LABEL);
    oaki_wire_number(&w->wire, LABEL_KEY, l->key);
    oaki_wire_number(&w->wire, LABEL_STR, l->str);
    oaki_wire_number(&w->wire, LABEL_NUM, l->num);
    oaki_wire_number(&w->wire, LABEL_NUM_UNIT, l->unit);
    oaki_wire_end(&w->wire, begun);
}

static void sample(writer *w, const oaki_profile_row *r)
{
    oak_profile_site shown = oaki_profile_shown(r);
    if (oaki_profile_is_empty(&shown)) return;
    const oaki_site *s = r->site;
    uint64_t value[] = { (uint64_t)shown.alloc_objects, (uint64_t)shown.alloc_bytes,
                         (uint64_t)shown.inuse_objects, (uint64_t)shown.inuse_bytes };
    uint64_t at[OAKI_STACK_FRAMES];
    label labels[OAKI_LABELS_MAX];
    for (size_t i = 0; i < s->nframes; i++) at[i] = place(w, oaki_site_code(s, i));
    for (size_t i = 0; i < s->nlabels; i++) {
        oak_label l = oaki_label_public(oaki_site_labels(s), i);
        labels[i] = read_label(w, &l);
    }
    size_t begun = oaki_wire_begin(&w->wire, PROFILE_SAMPLE);
    oaki_wire_numbers(&w->wire, SAMPLE_LOCATION_ID, at, s->nframes);
    oaki_wire_numbers(&w->wire, SAMPLE_VALUE, value, OAKI_COUNT(value));
    for (size_t i = 0; i < s->nlabels; i++) put_label(w, &labels[i]);
    oaki_wire_end(&w->wire, begun);
    put(w);
}

/* ---- the whole profile ---- */

static void put_type(writer *w, unsigned field, uint64_t type, uint64_t unit)
{
    size_t begun = oaki_wire_begin(&w->wire, field);
    oaki_wire_number(&w->wire, VALUE_TYPE, type);
    oaki_wire_number(&w->wire, VALUE_UNIT, unit);
    oaki_wire_end(&w->wire, begun);
}

static void head(writer *w, const oak_profile *p)
{
    static const char *const name[][2] = { { "alloc_objects", "count" },
                                           { "alloc_space", "bytes" },
                                           { "inuse_objects", "count" },
                                           { "inuse_space", "bytes" } };
    uint64_t type[OAKI_COUNT(name)][2];
    (void)text(w, "");
    for (size_t i = 0; i < OAKI_COUNT(name); i++)
        for (int k = 0; k < 2; k++) type[i][k] = text(w, name[i][k]);
    uint64_t space = text(w, "space"), bytes = text(w, "bytes");
    uint64_t usual = text(w, p->flags & OAK_PROFILE_ALLOCS ? "alloc_space" : "inuse_space");
    for (size_t i = 0; i < OAKI_COUNT(name); i++)
        put_type(w, PROFILE_SAMPLE_TYPE, type[i][0], type[i][1]);
    oaki_wire_number(&w->wire, PROFILE_TIME_NANOS, (uint64_t)p->time_ns);
    oaki_wire_number(&w->wire, PROFILE_DURATION_NANOS, (uint64_t)p->span_ns);
    put_type(w, PROFILE_PERIOD_TYPE, space, bytes);
    oaki_wire_number(&w->wire, PROFILE_PERIOD, p->rate);
    oaki_wire_number(&w->wire, PROFILE_DEFAULT_SAMPLE_TYPE, usual);
    put(w);
}

/* Writes a mapping, once all places are known. The program's is always written, and first, as
 * readers name the profile after it. */
static void mapping_out(writer *w, size_t i)
{
    const mapping *from = &w->mappings[i];
    char hex[2 * OAKI_BUILD_ID_MAX];
    const oaki_object *o = from->object;
    for (size_t k = 0; k < o->build_id_len; k++) {
        hex[2 * k] = "0123456789abcdef"[o->build_id[k] >> 4];
        hex[2 * k + 1] = "0123456789abcdef"[o->build_id[k] & 15];
    }
    uint64_t file = text(w, o->path), build = string(w, hex, 2 * o->build_id_len);
    size_t page = oaki_os_page_size();
    size_t begun = oaki_wire_begin(&w->wire, PROFILE_MAPPING);
    oaki_wire_number(&w->wire, MAPPING_ID, i + 1);
    oaki_wire_number(&w->wire, MAPPING_START, OAKI_ALIGN_DOWN(from->segment->lo, page));
    oaki_wire_number(&w->wire, MAPPING_LIMIT, OAKI_ALIGN_UP(from->segment->hi, page));
    oaki_wire_number(&w->wire, MAPPING_OFFSET, OAKI_ALIGN_DOWN(from->segment->offset, page));
    oaki_wire_number(&w->wire, MAPPING_FILENAME, file);
    oaki_wire_number(&w->wire, MAPPING_BUILD_ID, build);
    for (unsigned has = MAPPING_HAS_FUNCTIONS; has <= MAPPING_HAS_INLINE_FRAMES; has++)
        oaki_wire_number(&w->wire, has, !from->nameless);
    oaki_wire_end(&w->wire, begun);
    put(w);
}

static int write_profile(writer *w, const oak_profile *p)
{
    oaki_os_seed(&w->seed, sizeof w->seed);
    w->z = oaki_gzip_new(write_out, w);
    if (!w->z) return ENOMEM;
    if (list_mappings(w) == 0) {
        head(w, p);
        for (size_t i = 0; i < p->n && !w->error; i++) sample(w, &p->row[i]);
        for (size_t i = 0; i < w->nmappings; i++)
            if (i == 0 || w->mappings[i].used) mapping_out(w, i);
        if (!w->error) oaki_gzip_end(w->z);
    } else {
        fail(w, ENOMEM);
    }
    oaki_gzip_free(w->z);
    oaki_wire_free(&w->wire);
    return w->error;
}

int oak_profile_write(const oak_profile *p, int fd)
{
    OAKI_NO_CANCEL;
    const oak_profile *r = oaki_profile_borrow(p);
    writer *w = r ? calloc(1, sizeof *w) : NULL;
    int error = ENOMEM;
    if (w) {
        w->fd = fd;
        error = write_profile(w, r);
        oaki_symbols_release();
        oaki_objects_free(&w->objects);
        free(w->mappings);
        free(w->strings.slot);
        free(w->functions.slot);
        free(w->places.slot);
        free(w);
    }
    if (r) oaki_profile_return(r, p);
    if (error == 0) return 0;
    errno = error;
    return -1;
}

int oak_profile_save(const oak_profile *p, const char *path)
{
    OAKI_NO_CANCEL;
    oaki_output out;
    if (oaki_output_open(&out, path) != 0) return -1;
    return oaki_output_close(&out, oak_profile_write(p, out.fd));
}
