/* tlsroots.c - thread-local storage: the static block and the descriptor of a thread, and the
 * blocks that libraries loaded by dlopen got for it.
 *
 * Owns: what is known of the C library's layout, written at start-up and, under gc_lock, when
 * loaded objects are read. Bound: a visit costs O(modules that are not static), for a program
 * without dlopen'ed TLS nothing but the static range.
 *
 * The layout is that of the ELF TLS ABI (Drepper, "ELF Handling For Thread-Local Storage"): on
 * x86-64 (variant II) blocks lie below the thread pointer, which points to the descriptor; on
 * aarch64 (variant I) above it, and the descriptor below. The thread's vector (DTV) is found from
 * the thread pointer; element 0 is a generation, element -1 the number of slots, element i the
 * block of module i, or -1. glibc tells the sizes of the static area and of the descriptor to
 * sanitizers and debuggers under names of its own; where these are missing, what modules of the
 * start-up use is taken, and what a library loaded later uses of the static surplus is missed.
 *
 * A stopped thread may be in the middle of moving its vector: the old one is freed, and the
 * thread's pointer still leads to it. Its elements survive that (malloc's links overwrite the
 * number of slots), and oaki_tlsroots_sane sees a number of slots that can't be, so that the stop
 * is repeated. A block that is gone is probed before it is looked at. */
#include "contract.h"
#include "dlroots.h"

#include "probe.h"
#include "track.h"
#include <dlfcn.h>

#define DESCRIPTOR_MAX 2304  /* of glibc 2.31 to 2.40: 2304 to 2368; used when it isn't told */
#define STATIC_MAX 65536     /* a block farther from the thread pointer is not static */
#define SLOTS_MAX (1u << 24) /* a vector with more has been overwritten */

typedef struct dtv_entry {
    size_t value, to_free;
} dtv_entry;

static struct {
    size_t area;       /* bytes of static TLS and descriptor together, 0 when not told */
    size_t descriptor; /* bytes */
    size_t reach;      /* distance from the thread pointer to the far end of what was seen */
} layout;

#if defined(__x86_64__)

OAKI_INLINE const dtv_entry *vector_of(const char *tp)
{
    return ((const dtv_entry *const *)tp)[1];
}

/* How far a static block at data reaches from tp; more than STATIC_MAX when it is none. */
OAKI_INLINE size_t distance(const char *tp, const char *data)
{
    return (size_t)(tp - data);
}

void oaki_tlsroots_static(const char *tp, const char **lo, const char **hi)
{
    *hi = tp + layout.descriptor;
    *lo = layout.area ? *hi - layout.area : tp - layout.reach;
}

#elif defined(__aarch64__)

OAKI_INLINE const dtv_entry *vector_of(const char *tp)
{
    return ((const dtv_entry *const *)tp)[0];
}
OAKI_INLINE size_t distance(const char *tp, const char *data)
{
    return (size_t)(data - tp);
}

void oaki_tlsroots_static(const char *tp, const char **lo, const char **hi)
{
    *lo = tp - layout.descriptor;
    *hi = tp + (layout.area ? layout.area : layout.reach);
}

#else
#error "tlsroots.c knows x86-64 and aarch64 only"
#endif

static struct {
    bool looked_up;
    void (*info)(size_t *size, size_t *align);
    const uint32_t *descriptor;
} libcs;

/* As the program is loaded: later another thread may have the loader's lock, in a constructor that
 * waits for the heap to start. A heap that starts before looks them up itself. */
static __attribute__((constructor)) void look_up(void)
{
    if (libcs.looked_up) return;
    *(void **)&libcs.info = dlsym(RTLD_DEFAULT, "_dl_get_tls_static_info");
    libcs.descriptor = dlsym(RTLD_DEFAULT, "_thread_db_sizeof_pthread");
    libcs.looked_up = true;
}

void oaki_tlsroots_init(void)
{
    look_up();
    const uint32_t *descriptor = libcs.descriptor;
    layout.descriptor = descriptor ? OAKI_ALIGN_DOWN(*descriptor, 8) : DESCRIPTOR_MAX;
    layout.area = 0;
    size_t align = 0;
    if (libcs.info && descriptor) libcs.info(&layout.area, &align);
    if (layout.area < layout.descriptor || layout.area > (size_t)1 << 30) layout.area = 0;
}

bool oaki_tlsroots_learn(const char *tp, const char *data)
{
    if (!data) return false;
    if (layout.area) {
        const char *lo, *hi;
        oaki_tlsroots_static(tp, &lo, &hi);
        return data >= lo && data < hi;
    }
    size_t d = distance(tp, data);
    if (d > STATIC_MAX) return false;
    layout.reach = OAKI_MAX(layout.reach, d);
    return true;
}

OAKI_NO_ASAN bool oaki_tlsroots_sane(const char *tp)
{
    const dtv_entry *v = vector_of(tp);
    return v && (uintptr_t)v % 8 == 0 && oaki_probe(&v[-1]) && oaki_probe(&v[0]) &&
           v[-1].value < SLOTS_MAX;
}

static OAKI_NO_ASAN const char *block_of(const char *tp, size_t modid)
{
    const dtv_entry *v = vector_of(tp);
    if (modid > v[-1].value || !oaki_probe(&v[modid])) return NULL;
    size_t value = v[modid].value;
    return value == SIZE_MAX ? NULL : (const char *)value;
}

void oaki_tlsroots_visit(const oaki_root_visitor *v, const oaki_thread *t)
{
    OAKI_REQUIRES_STOPPED();
    const char *lo, *hi;
    oaki_tlsroots_static(t->tp, &lo, &hi);
    oaki_root_emit(v, (oaki_root){ .kind = OAKI_ROOT_TLS, .lo = lo, .hi = hi, .thread = t });

    size_t n;
    const oaki_tls_module *m = oaki_dlroots_tls(&n);
    if (n == 0 || !oaki_tlsroots_sane(t->tp)) return;
    for (size_t i = 0; i < n; i++) {
        const char *block = block_of(t->tp, m[i].modid);
        if (!block || (block >= lo && block < hi)) continue;
        oaki_root_emit(v, (oaki_root){ .kind = OAKI_ROOT_TLS,
                                       .lo = block,
                                       .hi = oaki_probe_end(block, block + m[i].size),
                                       .thread = t,
                                       .name = oaki_dlroots_name(m[i].name) });
    }
}
