/* standing.c - memory that idle threads and parked fibers keep alive (standing.h). A search starts
 * from all other roots. Then it goes on from the roots of each thread in turn, and last from the
 * fibers. Each is charged with the objects that it adds.
 *
 * Owns nothing that outlives the call. Bound: one search, and a pass over the roots for each thread
 * in the query. */
#include "standing.h"

#include "cancel.h"
#include "census.h"
#include "graph.h"
#include "runtime/os.h"
#include <errno.h>

#define TIMEOUT_NS (UINT64_C(60) * 1000000000)

typedef struct pass {
    oaki_search *search;
    const oaki_standing *s;
    int tid; /* the thread whose words count; 0: words of no thread in the list */
} pass;

static bool is_asked_about(const oaki_standing *s, int tid)
{
    for (size_t i = 0; i < s->nthreads; i++)
        if (s->thread[i].tid == tid) return true;
    return false;
}

static void add_root(void *ctx, const oaki_root_word *w)
{
    const pass *p = ctx;
    bool on_stack = w->kind == OAK_ROOT_STACK || w->kind == OAK_ROOT_REGISTER;
    int tid = on_stack && w->thread ? w->thread->tid : 0;
    bool counts = p->tid ? tid == p->tid : !tid || !is_asked_about(p->s, tid);
    if (counts) oaki_search_root(p->search, w);
}

static void search_from(oaki_image *im, pass *p, int tid)
{
    p->tid = tid;
    oaki_root_words(im, add_root, p);
    oaki_search_run(p->search);
}

/* Offsets of the fibers that still exist; returns how many. */
static size_t find_fibers(const oaki_image *im, const oaki_standing *s, size_t *slots)
{
    size_t n = 0;
    for (size_t i = 0; i < s->nfibers; i++) {
        size_t slot = oaki_graph_object(im, (uintptr_t)oaki_unhide(s->fibers[i]));
        if (slot != SIZE_MAX) slots[n++] = slot;
    }
    oaki_sort_sizes(slots, n);
    return n;
}

static int search(oaki_image *im, oaki_standing *s, size_t *slots)
{
    oaki_search g;
    pass p = { &g, s, 0 };
    size_t nfibers = find_fibers(im, s, slots);
    if (!oaki_search_begin(&g, im, false)) return ENOMEM;
    g.blocked = slots;
    g.nblocked = nfibers;
    oaki_search_reset(&g);
    search_from(im, &p, 0);
    for (size_t i = 0; i < s->nthreads; i++) {
        uint64_t bytes = g.bytes, objects = g.n;
        search_from(im, &p, s->thread[i].tid);
        s->thread[i].bytes = g.bytes - bytes;
        s->thread[i].objects = g.n - objects;
    }
    s->fiber_bytes = g.bytes;
    s->fiber_objects = g.n;
    oaki_search_unblock(&g);
    oaki_search_run(&g);
    s->fiber_bytes = g.bytes - s->fiber_bytes;
    s->fiber_objects = g.n - s->fiber_objects;
    s->live_bytes = g.bytes;
    oaki_search_end(&g);
    if (oaki_image_late(im)) return ETIMEDOUT;
    return oaki_image_put(im, s, sizeof *s) ? 0 : EPIPE;
}

static int work(oaki_image *im, void *arg)
{
    oaki_standing *s = arg;
    size_t bytes = OAKI_MAX(s->nfibers, 1) * sizeof(size_t), *slots = oaki_os_map_scratch(bytes);
    if (!slots) return ENOMEM;
    int r = search(im, s, slots);
    oaki_os_release(slots, bytes);
    return r;
}

OAKI_NOINLINE int oaki_standing_measure(oaki_standing *s)
{
    OAKI_NO_CANCEL;
    oaki_standing asked = *s;
    oaki_image_request r = { .work = work,
                             .arg = &asked,
                             .timeout_ns = TIMEOUT_NS,
                             .own_sp = OAKI_IMAGE_OWN_SP,
                             .keep_fd = -1 };
    bool stopped = false;
    int result = oaki_image_ask(&r, s, sizeof *s, &stopped);
    s->stopped = stopped;
    return result;
}
