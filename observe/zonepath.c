/* zonepath.c - oak_zone_destroy, with a path if it is refused.
 *
 * Owns nothing. The search for the path runs after the zone is open again. So the path may differ
 * from the collection's findings, or be gone. */
#include "gc/gc.h"
#include "path.h"
#include "runtime/scrub.h"
#include <errno.h>
#include <oakum/zone.h>
#include <string.h>

/* The path's first object in the zone; `last` if it has none. */
static const void *entrance(const oak_path *p, const oak_zone *z, const void *last)
{
    for (size_t i = 0; i < p->nsteps; i++)
        if (oak_zone_of(p->steps[i].object) == z) return p->steps[i].object;
    return last;
}

/* A path to any object of the zone crosses its border. The result ends at the first object
 * inside. */
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
    oaki_scrub(); /* frames of earlier calls could be taken for references */
    if (oaki_zone_destroy(z, &survivor) == 0) return 0;
    int saved = errno;
    if (survivor && path) *path = path_into(z, survivor, OAKI_IMAGE_OWN_SP);
    errno = saved;
    return -1;
}
