/* pprof.c - writing a reading in pprof's format (<oakum/profile.h>, pprof.proto).
 *
 * Messages of one kind may be written one after the other, and what reads them joins them. So
 * strings, functions and places are written when they are first met, a sample at a time, and
 * nothing but numbers is kept of what was written. All of it goes through zlib to the file.
 *
 * Owns: nothing beyond a call; memory is the host's malloc's. Bound: O(sites * frames) in time, 24
 * bytes for each string, function and place, and what zlib wants: 300 KB. */
#include "cancel.h"
#include "object.h"
#include "output.h"
#include "packing.h"
#include "observe/pprof.pb-c.h"
#include "profile.h"
#include "runtime/os.h"
#include "symbol.h"
#include "utf8.h"
#include "runtime/xxh.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef Oaki__Pprof__Profile message;

/* Numbers of what was written, by what names it. */
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
    bool used, nameless; /* has places without a name */
} mapping;

typedef struct writer {
    int fd;
    int error; /* of the first failure; then nothing more is written */
    z_stream z;
    unsigned char *packed;
    size_t room;
    uint64_t seed;
    ids strings, functions, places;
    oaki_objects objects;
    mapping *mappings;
    size_t nmappings;
    unsigned char out[32768];
} writer;

static void fail(writer *w, int error)
{
    if (!w->error) w->error = error;
}

/* ---- bytes ---- */

static void compress_more(writer *w, int flush)
{
    int r;
    do {
        w->z.next_out = w->out;
        w->z.avail_out = sizeof w->out;
        r = oaki_packing_deflate(&w->z, flush);
        size_t n = sizeof w->out - w->z.avail_out;
        if (n > 0 && !w->error && oaki_write_all(w->fd, w->out, n) != 0) fail(w, errno);
    } while (!w->error && (w->z.avail_in > 0 || (flush == Z_FINISH && r != Z_STREAM_END)));
}

static void put(writer *w, const message *m)
{
    if (w->error) return;
    size_t n = oaki__pprof__profile__get_packed_size(m);
    if (n > w->room) {
        unsigned char *more = realloc(w->packed, n * 2);
        if (!more) {
            fail(w, ENOMEM);
            return;
        }
        w->packed = more;
        w->room = n * 2;
    }
    (void)oaki__pprof__profile__pack(m, w->packed);
    w->z.next_in = w->packed;
    w->z.avail_in = (uInt)n;
    compress_more(w, Z_NO_FLUSH);
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

/* Its number, from 1; *fresh when it has just got it. 0 without memory. */
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

/* The table's first string is the empty one. */
static int64_t string(writer *w, const char *s, size_t n)
{
    bool fresh;
    XXH128_hash_t h = XXH3_128bits_withSeed(s, n, w->seed);
    uint64_t id = number(w, &w->strings, (key){ h.low64, h.high64 }, &fresh);
    if (!fresh) return (int64_t)id - 1;
    char *clean = oaki_utf8_escape(s, n, &n);
    if (!clean) {
        fail(w, ENOMEM);
        return 0;
    }
    message m = OAKI__PPROF__PROFILE__INIT;
    ProtobufCBinaryData data = { .len = n, .data = (uint8_t *)clean };
    m.n_string_table = 1;
    m.string_table = &data;
    put(w, &m);
    free(clean);
    return (int64_t)id - 1;
}

static int64_t text(writer *w, const char *s)
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

/* From 1; 0 when the address lies in none. */
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
    Oaki__Pprof__Function fn = OAKI__PPROF__FUNCTION__INIT, *list = &fn;
    fn.name = fn.system_name = text(w, f->function);
    fn.filename = text(w, f->file);
    key k = { (uint64_t)fn.name, (uint64_t)fn.filename };
    fn.id = number(w, &w->functions, k, &fresh);
    if (!fresh) return fn.id;
    message m = OAKI__PPROF__PROFILE__INIT;
    m.n_function = 1;
    m.function = &list;
    put(w, &m);
    return fn.id;
}

static uint64_t place(writer *w, uintptr_t pc)
{
    bool fresh;
    oak_frame frame[OAKI_SYMBOL_INLINED];
    Oaki__Pprof__Line line[OAKI_SYMBOL_INLINED], *lines[OAKI_SYMBOL_INLINED];
    Oaki__Pprof__Location l = OAKI__PPROF__LOCATION__INIT, *list = &l;
    l.id = number(w, &w->places, (key){ pc, 0 }, &fresh);
    if (!fresh) return l.id;
    size_t n = oaki_symbol_of_code(pc, frame);
    bool named = frame[n - 1].function != NULL;
    for (size_t i = 0; i < n; i++) {
        oaki__pprof__line__init(&line[i]);
        lines[i] = &line[i];
        if (!named) continue;
        line[i].function_id = function(w, &frame[i]);
        line[i].line = frame[i].line;
    }
    l.address = pc;
    l.mapping_id = mapping_of(w, pc, named);
    l.n_line = named ? n : 0;
    l.line = lines;
    message m = OAKI__PPROF__PROFILE__INIT;
    m.n_location = 1;
    m.location = &list;
    put(w, &m);
    return l.id;
}

/* ---- samples ---- */

static void label(writer *w, const oak_label *l, Oaki__Pprof__Label *out)
{
    oaki__pprof__label__init(out);
    out->key = string(w, l->key, l->key_len);
    if (l->value) {
        out->str = string(w, l->value, l->value_len);
    } else {
        out->num = l->number;
        out->num_unit = string(w, l->unit ? l->unit : "", l->unit_len);
    }
}

static void sample(writer *w, const oaki_profile_row *r)
{
    oak_profile_site shown = oaki_profile_shown(r);
    if (oaki_profile_is_empty(&shown)) return;
    const oaki_site *s = r->site;
    int64_t value[] = { shown.alloc_objects, shown.alloc_bytes, shown.inuse_objects,
                        shown.inuse_bytes };
    uint64_t at[OAKI_STACK_FRAMES];
    Oaki__Pprof__Label labels[OAKI_LABELS_MAX], *label_list[OAKI_LABELS_MAX];
    Oaki__Pprof__Sample out = OAKI__PPROF__SAMPLE__INIT, *list = &out;
    for (size_t i = 0; i < s->nframes; i++) at[i] = place(w, s->frame[i] - 1);
    for (size_t i = 0; i < s->nlabels; i++) {
        oak_label l = oaki_label_public(oaki_site_labels(s), i);
        label(w, &l, &labels[i]);
        label_list[i] = &labels[i];
    }
    out.n_value = OAKI_COUNT(value);
    out.value = value;
    out.n_location_id = s->nframes;
    out.location_id = at;
    out.n_label = s->nlabels;
    out.label = label_list;
    message m = OAKI__PPROF__PROFILE__INIT;
    m.n_sample = 1;
    m.sample = &list;
    put(w, &m);
}

/* ---- the whole ---- */

static void head(writer *w, const oak_profile *p)
{
    static const char *const name[][2] = { { "alloc_objects", "count" },
                                           { "alloc_space", "bytes" },
                                           { "inuse_objects", "count" },
                                           { "inuse_space", "bytes" } };
    Oaki__Pprof__ValueType type[OAKI_COUNT(name)], *list[OAKI_COUNT(name)];
    Oaki__Pprof__ValueType period = OAKI__PPROF__VALUE_TYPE__INIT;
    (void)text(w, "");
    for (size_t i = 0; i < OAKI_COUNT(name); i++) {
        oaki__pprof__value_type__init(&type[i]);
        type[i].type = text(w, name[i][0]);
        type[i].unit = text(w, name[i][1]);
        list[i] = &type[i];
    }
    period.type = text(w, "space");
    period.unit = text(w, "bytes");
    message m = OAKI__PPROF__PROFILE__INIT;
    m.n_sample_type = OAKI_COUNT(name);
    m.sample_type = list;
    m.period_type = &period;
    m.period = (int64_t)p->rate;
    m.time_nanos = p->time_ns;
    m.duration_nanos = p->span_ns;
    m.default_sample_type = text(w, p->flags & OAK_PROFILE_ALLOCS ? "alloc_space" : "inuse_space");
    put(w, &m);
}

/* When all places are known. The program's comes first and always: that is what readers name the
 * profile after. */
static void mapping_out(writer *w, size_t i)
{
    const mapping *from = &w->mappings[i];
    char hex[2 * OAKI_BUILD_ID_MAX];
    const oaki_object *o = from->object;
    for (size_t k = 0; k < o->build_id_len; k++) {
        hex[2 * k] = "0123456789abcdef"[o->build_id[k] >> 4];
        hex[2 * k + 1] = "0123456789abcdef"[o->build_id[k] & 15];
    }
    Oaki__Pprof__Mapping m = OAKI__PPROF__MAPPING__INIT, *list = &m;
    size_t page = oaki_os_page_size();
    m.id = i + 1;
    m.memory_start = OAKI_ALIGN_DOWN(from->segment->lo, page);
    m.memory_limit = OAKI_ALIGN_UP(from->segment->hi, page);
    m.file_offset = OAKI_ALIGN_DOWN(from->segment->offset, page);
    m.filename = text(w, o->path);
    m.build_id = string(w, hex, 2 * o->build_id_len);
    m.has_functions = m.has_filenames = m.has_line_numbers = m.has_inline_frames = !from->nameless;
    message p = OAKI__PPROF__PROFILE__INIT;
    p.n_mapping = 1;
    p.mapping = &list;
    put(w, &p);
}

static int write_profile(writer *w, const oak_profile *p)
{
    oaki_os_random(&w->seed, sizeof w->seed);
    if (oaki_packing_deflate_begin(&w->z) != Z_OK) return ENOMEM;
    if (list_mappings(w) == 0) {
        head(w, p);
        for (size_t i = 0; i < p->n && !w->error; i++) sample(w, &p->row[i]);
        for (size_t i = 0; i < w->nmappings; i++)
            if (i == 0 || w->mappings[i].used) mapping_out(w, i);
        if (!w->error) compress_more(w, Z_FINISH);
    } else {
        fail(w, ENOMEM);
    }
    (void)oaki_packing_deflate_end(&w->z);
    return w->error;
}

int oak_profile_write(const oak_profile *p, int fd)
{
    OAKI_NO_CANCEL;
    if (oaki_packing_load() != 0) return -1;
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
        free(w->packed);
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
