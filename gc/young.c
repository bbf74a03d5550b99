/* young.c - sticky mark bits: minor collections, which keep what the last one has marked.
 *
 * After Demers, Weiser, Hayes, Boehm, Bobrow and Shenker (1990). What M has at the end of a cycle
 * is old, what is allocated afterwards is young, in the same places: nothing moves. A minor cycle
 * marks from the roots and from old objects on written pages, so it costs what is young and alive,
 * and what was written; garbage among the old waits for a full one, and so do its finalizers and
 * weak references: so there is one after ROW_MAX minor ones, however well they pay.
 *
 * Owns: what full and minor cycles have cost and brought. Lock: written in a stop. Bound: O(1). */
#include "young.h"

#include "gc.h"
#include "host.h"
#include "pace.h"
#include "runtime/options.h"
#include "runtime/written.h"

#define SKIP_MAX 64
#define ROW_MAX 64 /* minor ones, and then a full one whether they pay or not */

typedef struct work {
    size_t words; /* looked at */
    size_t freed; /* bytes */
} work;

static struct {
    work full;           /* the last one's */
    unsigned skip;       /* full cycles until a minor one is tried again */
    unsigned next_skip;  /* the next time that one doesn't pay */
    unsigned in_a_row;   /* minor ones since the last full one */
} self;

/* ---- does it pay? ---- */

/* A word looked at brought at least as much as in the last full cycle, and a third more: for its
 * garbage among the old ones comes on top. */
static bool is_cheaper(const work *minor, const work *full)
{
    return (double)minor->words * (double)full->freed * 4 <=
           (double)full->words * (double)minor->freed * 3;
}

static void after_minor(const work *w)
{
    self.in_a_row++;
    if (is_cheaper(w, &self.full)) {
        self.next_skip = 1;
        return;
    }
    self.skip = OAKI_MAX(self.next_skip, 1);
    self.next_skip = OAKI_MIN(self.skip * 2, SKIP_MAX);
}

static void after_full(const work *w)
{
    self.full = *w;
    self.in_a_row = 0;
    if (self.skip > 0) self.skip--;
}

bool oaki_young_pays(bool minor, size_t words, size_t freed)
{
    work w = { words, freed };
    unsigned forced = (unsigned)oaki_debug_switches.minor;
    if (minor) after_minor(&w);
    else after_full(&w);
    /* Pages that stay read only between cycles would be in the way of system calls all the time. */
    if (oaki_written_faults()) return false;
    if (!oaki_the_heap.config.generations || oaki_host_has_unscanned()) return false;
    if (forced) return self.in_a_row < forced;
    return self.skip == 0 && self.in_a_row < ROW_MAX && oaki_pace_has_room();
}
