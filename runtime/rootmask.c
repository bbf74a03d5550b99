/* rootmask.c - masks: root words that the host knows to be stale.
 *
 * A mask is an address, the value found there, and the thread that the word belonged to. A visit of
 * the roots skips the word as long as all of that holds. The mask becomes void for ever when the
 * value changes, or when the word leaves the scanned ranges: its frame or thread has ended. The
 * next word at that address is a different one.
 *
 * Owns: the masks, sorted by address. Lock: roots_lock to change them; with the world stopped,
 * none.
 * Bound: a visit costs O(log masks) per range and O(1) per masked word; adding one costs
 * O(masks). */
#include "rootmask.h"

#include "heap.h"
#include "meta.h"
#include "track.h"
#include <errno.h>
#include <oakum/why.h>
#include <string.h>

typedef struct mask {
    uintptr_t address, value;
    int tid; /* 0: of no thread */
    bool seen, void_;
} mask;

AO_t oaki_root_masks;

static struct {
    oaki_vec masks;
    bool made;
} self;

/* The index of the first mask at or after an address. */
static size_t find(uintptr_t address)
{
    const mask *m = self.masks.items;
    size_t lo = 0, hi = self.masks.len;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (m[mid].address < address)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

OAKI_NO_ASAN static bool holds(const mask *m, const oaki_root *root, const char *place)
{
    int tid = root->thread ? root->thread->tid : 0;
    return m->tid == tid && *(const uintptr_t *)(const void *)place == m->value;
}

void oaki_root_emit_masked(const oaki_root_visitor *v, oaki_root root)
{
    OAKI_REQUIRES_STOPPED();
    mask *m = self.masks.items;
    const char *end = root.hi;
    for (size_t i = find((uintptr_t)root.lo + (uintptr_t)root.shift); i < self.masks.len; i++) {
        const char *place = (const char *)(m[i].address - (uintptr_t)root.shift);
        if (place >= end) break;
        if (m[i].void_) continue;
        if (!holds(&m[i], &root, place)) {
            m[i].void_ = true;
            continue;
        }
        m[i].seen = true;
        root.hi = place;
        if (root.lo < root.hi) v->fn(&root, v->ctx);
        root.lo = place + sizeof(uintptr_t);
    }
    root.hi = end;
    if (root.lo < root.hi) v->fn(&root, v->ctx);
}

void oaki_root_masks_visited(void)
{
    OAKI_REQUIRES_STOPPED();
    mask *m = self.masks.items;
    for (size_t i = 0; i < self.masks.len; i++) {
        m[i].void_ |= !m[i].seen;
        m[i].seen = false;
    }
}

/* Removes the void masks. */
static void drop_void(void)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.roots_lock);
    mask *m = self.masks.items;
    size_t n = 0;
    for (size_t i = 0; i < self.masks.len; i++)
        if (!m[i].void_) m[n++] = m[i];
    self.masks.len = n;
}

static int add(mask new)
{
    if (!self.made) oaki_vec_init(&self.masks, sizeof(mask), OAKI_META_OTHER);
    self.made = true;
    drop_void();
    size_t i = find(new.address);
    mask *m = self.masks.items;
    if (i == self.masks.len || m[i].address != new.address) {
        if (!oaki_vec_push(&self.masks)) return -1;
        m = self.masks.items;
        memmove(&m[i + 1], &m[i], (self.masks.len - 1 - i) * sizeof *m);
    }
    m[i] = new;
    OAKI_ASSERT((i == 0 || m[i - 1].address < new.address) &&
                (i + 1 == self.masks.len || new.address < m[i + 1].address));
    AO_store(&oaki_root_masks, self.masks.len);
    return 0;
}

static int mask_word(const void *address, const void *value, int tid)
{
    if (!address || (uintptr_t)address % sizeof(uintptr_t) != 0) {
        errno = EINVAL;
        return -1;
    }
    oaki_thread *t = oaki_enter();
    if (!t) return -1;
    oaki_lock_acquire(&oaki_the_heap.roots_lock);
    int r = add((mask){ .address = (uintptr_t)address, .value = (uintptr_t)value, .tid = tid });
    oaki_lock_release(&oaki_the_heap.roots_lock);
    oaki_leave(t);
    if (r != 0) errno = ENOMEM;
    return r;
}

int oak_root_mask(const oak_root_info *root)
{
    if (!root) return errno = EINVAL, -1;
    return mask_word(root->address, root->value, root->thread);
}

int oak_suspect_mask(const oak_suspect *s)
{
    if (!s) return errno = EINVAL, -1;
    unsigned n = OAKI_MIN(s->words, (unsigned)OAK_SUSPECT_WORDS);
    for (unsigned i = 0; i < n; i++)
        if (mask_word(s->address[i], s->root.value, s->root.thread) != 0) return -1;
    return 0;
}

size_t oak_root_unmask(void)
{
    oaki_thread *t = oaki_enter();
    if (!t) return 0;
    oaki_lock_acquire(&oaki_the_heap.roots_lock);
    drop_void();
    size_t n = self.masks.len;
    self.masks.len = 0;
    AO_store(&oaki_root_masks, 0);
    oaki_lock_release(&oaki_the_heap.roots_lock);
    oaki_leave(t);
    return n;
}
