/* links.c - disappearing links: words that are cleared when an object dies (gc/refs/link.h).
 *
 * Short links are cleared before finalizers are decided, long links once their object is dead even
 * for finalizers. Lock: that of gc/refs/link.c. Bound: O(1). */
#include "libgc.h"

#include "gc/refs/link.h"

static void check(void **link, const char *function)
{
    if (!link || (uintptr_t)link % sizeof(void *) != 0)
        oak_fatal("oakum: %s: %p is no place for a link", function, (void *)link);
}

static int add(void **link, const void *obj, bool is_long);
static int move(void **from, void **to, bool is_long);
static int drop(void **link, bool is_long);
LGC_OUTSIDE(int, add, (void **link, const void *obj, bool is_long), (link, obj, is_long))
LGC_OUTSIDE(int, move, (void **from, void **to, bool is_long), (from, to, is_long))
LGC_OUTSIDE(int, drop, (void **link, bool is_long), (link, is_long))

static int add(void **link, const void *obj, bool is_long)
{
    lgc_ready();
    if (lgc_is_blocked()) return add_outside(link, obj, is_long);
    if (GC_find_leak) return GC_UNIMPLEMENTED;
    check(link, "GC_general_register_disappearing_link");
    switch (oaki_link_add(link, obj, is_long)) {
    case 0: return GC_SUCCESS;
    case 1: return GC_DUPLICATE;
    default: return GC_NO_MEMORY;
    }
}

static int move(void **from, void **to, bool is_long)
{
    lgc_ready();
    if (lgc_is_blocked()) return move_outside(from, to, is_long);
    check(to, is_long ? "GC_move_long_link" : "GC_move_disappearing_link");
    switch (oaki_link_move(from, to, is_long)) {
    case 0: return GC_SUCCESS;
    case 1: return GC_DUPLICATE;
    default: return GC_NOT_FOUND;
    }
}

static int drop(void **link, bool is_long)
{
    lgc_ready();
    if (lgc_is_blocked()) return drop_outside(link, is_long);
    return oaki_link_remove(link, is_long) ? 1 : 0;
}

int GC_general_register_disappearing_link(void **link, const void *obj)
{
    return add(link, obj, false);
}

int GC_register_disappearing_link(void **link)
{
    const void *obj = oaki_object_base(link);
    if (!obj)
        oak_fatal("oakum: GC_register_disappearing_link: %p is in no object", (void *)link);
    return add(link, obj, false);
}

int GC_move_disappearing_link(void **from, void **to)
{
    return move(from, to, false);
}

int GC_unregister_disappearing_link(void **link)
{
    return drop(link, false);
}

int GC_register_long_link(void **link, const void *obj)
{
    return add(link, obj, true);
}

int GC_move_long_link(void **from, void **to)
{
    return move(from, to, true);
}

int GC_unregister_long_link(void **link)
{
    return drop(link, true);
}
