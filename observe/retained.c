/* retained.c - memory that would be free without some objects: one trace with them, one without.
 *
 * Owns nothing that outlives the call. Bound: two traces of the live objects. */
#include "graph.h"

#include "cancel.h"
#include "runtime/os.h"
#include <errno.h>

#define TIMEOUT_NS (UINT64_C(120) * 1000000000)

typedef struct query {
    const void *const *objects;
    size_t n;
} query;

typedef struct reply {
    uint64_t bytes, count;
} reply;

static int search(oaki_image *im, const query *q, size_t *slots)
{
    oaki_search s;
    for (size_t i = 0; i < q->n; i++) {
        slots[i] = oaki_graph_object(im, (uintptr_t)q->objects[i]);
        if (slots[i] == SIZE_MAX) return EINVAL;
    }
    oaki_sort_sizes(slots, q->n);
    if (!oaki_search_begin(&s, im, false)) return ENOMEM;
    oaki_search_all(&s);
    reply r = { s.bytes, s.n };
    s.blocked = slots;
    s.nblocked = q->n;
    oaki_search_reset(&s);
    oaki_search_all(&s);
    r.bytes -= s.bytes;
    r.count -= s.n;
    oaki_search_end(&s);
    if (oaki_image_late(im)) return ETIMEDOUT;
    return oaki_image_put(im, &r, sizeof r) ? 0 : EPIPE;
}

static int work(oaki_image *im, void *arg)
{
    const query *q = arg;
    size_t bytes = OAKI_MAX(q->n, (size_t)1) * sizeof(size_t), *slots = oaki_os_map_scratch(bytes);
    if (!slots) return ENOMEM;
    int r = search(im, q, slots);
    oaki_os_release(slots, bytes);
    return r;
}

OAKI_NOINLINE size_t oak_retained_size(const void *const *objects, size_t n, size_t *count)
{
    OAKI_NO_CANCEL;
    if (!objects && n > 0) return errno = EINVAL, SIZE_MAX;
    query q = { objects, n };
    oaki_image_request r = { .work = work,
                             .arg = &q,
                             .timeout_ns = TIMEOUT_NS,
                             .own_sp = OAKI_IMAGE_OWN_SP,
                             .keep_fd = -1 };
    reply out = { 0, 0 };
    if (oaki_image_ask(&r, &out, sizeof out, NULL) != 0) return SIZE_MAX;
    if (count) *count = (size_t)out.count;
    return (size_t)out.bytes;
}
