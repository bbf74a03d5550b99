/* zonepath.c - oak_zone_destroy: the refusal with a path.
 *
 * Owns nothing. The path is looked for when the zone is open again; so it may differ from what the
 * collection has seen, or be gone. */
#include "gc/gc.h"
#include "path.h"
#include "runtime/scrub.h"
#include <errno.h>
#include <oakum/zone.h>
#include <string.h>

/* The first object on it that is in the zone; `last` when none is told. */
static const void *entrance(const oak_path *p, const oak_zone *z, const void *last)
{
    for (size_t i = 0; i < p->nsteps; i++)
        if (oak_zone_of(p->steps[i].object) == z) return p->steps[i].object;
    return last;
}

/* To some object of the zone leads a way across its border: what is asked for ends there. */
static OAKI_NOINLINE oak_path *path_into(const oak_zone *z, size_t survivor, const char *own_sp)
{
    const void *obj = (const char *)oaki_the_heap.base + survivor;
    oak_path *path = oaki_why_alive(obj, own_sp);
    const void *first = path ? entrance(path, z, obj) : obj;
    if (first == obj) return path;
    oak_path *shorter = oaki_why_alive(first, own_sp);
    if (!shorter) return path;
    oak_path_free(path);
    return shorter;
}

OAKI_NOINLINE int oak_zone_destroy(oak_zone *z, oak_path **path)
{
    size_t survivor;
    if (path) *path = NULL;
    oaki_scrub(); /* an earlier call's frames would be taken for references */
    if (oaki_zone_destroy(z, &survivor) == 0) return 0;
    int saved = errno;
    if (survivor && path) *path = path_into(z, survivor, OAKI_IMAGE_OWN_SP);
    errno = saved;
    return -1;
}
