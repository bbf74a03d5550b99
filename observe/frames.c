/* frames.c - names of frames, and their merge into stacks (frames.h).
 *
 * Owns: the table of names, which only grows; oaki_thread.frames, which only its thread accesses.
 * Lock: observe_lock, for the table.
 * Bound: OAKI_FRAMES names. A known name is found in O(1). A merge is O(frames * hidden ranges). */
#include "frames.h"
#include "runtime/contain.h"
#include "runtime/contract.h"
#include "runtime/heap.h"
#include "runtime/meta.h"
#include "runtime/thread.h"
#include "stack.h"
#include "runtime/xxh.h"
#include <oakum/gc.h>
#include <string.h>

#define MIN_BUCKETS 256

typedef struct name {
    struct name *same_hash;
    uint64_t hash;
    uint32_t id;   /* index in the table */
    uint32_t file; /* offset of the file's name in text; 0: none */
    int line;
    char text[];   /* the function, a zero byte, the file, a zero byte */
} name;

static struct {
    oaki_vec names; /* name *, by id */
    name **bucket;
    size_t nbuckets; /* a power of two, or 0 */
    bool ready;
} self;

/* ---- names ---- */

static void more_buckets(void)
{
    size_t n = self.nbuckets ? self.nbuckets * 2 : MIN_BUCKETS;
    name **bucket = oaki_meta_zalloc(n * sizeof *bucket, OAKI_META_BUCKHASH);
    if (!bucket) return;
    for (size_t i = 0; i < self.names.len; i++) {
        name *f = ((name **)self.names.items)[i];
        f->same_hash = bucket[f->hash & (n - 1)];
        bucket[f->hash & (n - 1)] = f;
    }
    oaki_meta_free(self.bucket, self.nbuckets * sizeof *bucket, OAKI_META_BUCKHASH);
    self.bucket = bucket;
    self.nbuckets = n;
}

static bool is_named(const name *f, const char *function, const char *file, int line)
{
    if (f->line != line || strcmp(f->text, function) != 0) return false;
    return file ? f->file && strcmp(f->text + f->file, file) == 0 : !f->file;
}

static name *find(uint64_t hash, const char *function, const char *file, int line)
{
    name *f = self.nbuckets ? self.bucket[hash & (self.nbuckets - 1)] : NULL;
    while (f && !(f->hash == hash && is_named(f, function, file, line))) f = f->same_hash;
    return f;
}

static name *make(uint64_t hash, const char *function, const char *file, int line)
{
    size_t n = strlen(function) + 1, nfile = file ? strlen(file) + 1 : 0;
    if (self.names.len >= OAKI_FRAMES) return NULL;
    if (self.names.len >= self.nbuckets) more_buckets();
    if (self.nbuckets == 0) return NULL;
    name *f = oaki_meta_alloc(sizeof *f + n + nfile, OAKI_META_BUCKHASH);
    name **place = f ? oaki_vec_push(&self.names) : NULL;
    if (!place) {
        oaki_meta_free(f, sizeof *f + n + nfile, OAKI_META_BUCKHASH);
        return NULL;
    }
    *f = (name){ self.bucket[hash & (self.nbuckets - 1)], hash, (uint32_t)self.names.len - 1,
                 file ? (uint32_t)n : 0, line };
    memcpy(f->text, function, n);
    if (file) memcpy(f->text + n, file, nfile);
    *place = self.bucket[hash & (self.nbuckets - 1)] = f;
    return f;
}

uintptr_t oak_frame_number(const char *function, const char *file, int line)
{
    if (!function) return 0;
    uint64_t hash = XXH3_64bits_withSeed(function, strlen(function), (uint64_t)(int64_t)line);
    if (file) hash ^= XXH3_64bits(file, strlen(file)) * 0x9e3779b97f4a7c15u;
    oaki_thread *t = oaki_enter();
    if (!t) return 0;
    oaki_lock_acquire(&oaki_the_heap.observe_lock);
    if (!self.ready) oaki_vec_init(&self.names, sizeof(name *), OAKI_META_BUCKHASH);
    self.ready = true;
    const name *f = find(hash, function, file, line);
    if (!f) f = make(hash, function, file, line);
    oaki_lock_release(&oaki_the_heap.observe_lock);
    oaki_leave(t);
    return f ? (uintptr_t)OAKI_FRAMES_TAG << 56 | (uintptr_t)f->id << 4 | 1 : 0;
}

oak_frame oaki_frames_name(uintptr_t pc)
{
    size_t id = (pc & ~((uintptr_t)OAKI_FRAMES_TAG << 56)) >> 4;
    oak_frame out = { .address = pc };
    oaki_thread *t = oaki_enter();
    if (!t) return out;
    oaki_lock_acquire(&oaki_the_heap.observe_lock);
    const name *f = id < self.names.len ? ((name **)self.names.items)[id] : NULL;
    oaki_lock_release(&oaki_the_heap.observe_lock);
    oaki_leave(t);
    if (!f) return out;
    out.function = f->text;
    out.file = f->file ? f->text + f->file : NULL;
    out.line = f->line;
    return out;
}

/* ---- sources ---- */

const oak_frame_source *oak_frame_source_set(const oak_frame_source *source)
{
    oaki_thread *t = oaki_thread_self();
    if (OAKI_UNLIKELY(!t)) {
        if (oak_thread_attach() != 0) return NULL;
        t = oaki_thread_self();
    }
    const oak_frame_source *old = t->frames;
    t->frames = source;
    return old;
}

static bool is_hidden(const oak_frame_source *s, uintptr_t pc)
{
    for (size_t i = 0; i < s->nhidden; i++)
        if (pc - 1 >= s->hidden[i].lo && pc - 1 < s->hidden[i].hi) return true;
    return false;
}

/* Reads the source's frames. Cancellation is off, as an allocation is no cancellation point. */
static OAKI_NOINLINE size_t ask(const oak_frame_source *s, uintptr_t *frame, size_t room)
{
    OAKI_NO_CANCEL;
    size_t told;
    OAKI_CALL_INSIDE(told = s->read(frame, room, s->ctx));
    return OAKI_MIN(told, room);
}

/* While the source runs, the thread has none: a source is not called for its own allocations. */
size_t oaki_frames_merge(uintptr_t *pc, size_t n, size_t max)
{
    uintptr_t all[OAKI_STACK_FRAMES];
    oaki_thread *t = oaki_thread_self();
    OAKI_REQUIRES_OUTSIDE();
    const oak_frame_source *s = t ? t->frames : NULL;
    if (OAKI_LIKELY(!s)) return n;
    t->frames = NULL;
    size_t room = OAKI_MIN(max, OAKI_COUNT(all)), told = ask(s, all, room);
    t->frames = s;
    if (told == 0) return n;
    for (size_t i = 0; i < n && told < room; i++)
        if (!is_hidden(s, pc[i])) all[told++] = pc[i];
    memcpy(pc, all, told * sizeof *pc);
    return told;
}
