/* tlsroots.c - thread-local storage: a thread's static block, its descriptor, and its blocks of
 * libraries loaded by dlopen.
 *
 * Owns: the known facts of the C library's layout. They are written at start-up and, under gc_lock,
 * when loaded objects are read. Bound: a visit costs O(non-static modules). Without dlopen'ed TLS
 * it costs only the static range.
 *
 * The layout is that of the ELF TLS ABI (Drepper, "ELF Handling For Thread-Local Storage"). On
 * x86-64 (variant II), blocks lie below the thread pointer, which points to the descriptor. On
 * aarch64 (variant I), blocks lie above it, and the descriptor below. The thread pointer leads to
 * the thread's vector (DTV), whose element i is the block of module i, or -1. In glibc, element 0
 * is a generation, element -1 the number of slots. In musl, element 0 is the number of slots.
 *
 * glibc gives sanitizers and debuggers the sizes of the static area and of the descriptor, under
 * names of its own. Where these are missing, the static area is the part that the modules of the
 * start-up use. Then a later library's use of the static surplus is missed. musl has no surplus.
 * There, values of thread keys follow the descriptor, at the end of the thread's memory.
 *
 * A stopped thread may be in the middle of moving its vector: the old one is freed, and the
 * thread's pointer still leads to it. Its elements survive that, as malloc's links only overwrite
 * the number of slots. oaki_tlsroots_sane sees an impossible number of slots, and the stop is
 * repeated. A block is probed before it is read, as it may be gone. */
#include "contract.h"
#include "dlroots.h"

#include "probe.h"
#include "track.h"
#include <dlfcn.h>

#define DESCRIPTOR_MAX 2304  /* bytes; 2304 to 2368 in glibc 2.31 to 2.40; used when unknown */
#define STATIC_MAX 65536     /* a block farther from the thread pointer is not static */
#define SLOTS_MAX (1u << 24) /* a vector with more has been overwritten */

#ifdef __GLIBC__
typedef struct dtv_entry {
    size_t value, to_free;
} dtv_entry;
#define SLOTS (-1) /* the entry with the number of slots */
#else
typedef struct dtv_entry {
    size_t value;
} dtv_entry;
#define SLOTS 0
#endif

static struct {
    size_t area;       /* bytes of static TLS and descriptor together; 0: unknown */
    size_t descriptor; /* bytes */
    size_t reach;      /* distance from the thread pointer to the farthest byte seen */
} layout;

#if defined(__x86_64__)

OAKI_INLINE const dtv_entry *vector_of(const char *tp)
{
    return ((const dtv_entry *const *)tp)[1];
}

/* The distance from tp to the far end of a static block at data; more than STATIC_MAX if it isn't
 * static. */
OAKI_INLINE size_t distance(const char *tp, const char *data)
{
    return (size_t)(tp - data);
}

void oaki_tlsroots_static(const char *tp, const char **lo, const char **hi)
{
    *hi = tp + layout.descriptor;
    *lo = layout.area ? *hi - layout.area : tp - layout.reach;
}

#elif defined(__aarch64__) && defined(__GLIBC__)

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
#error "tlsroots.c knows x86-64, and aarch64 with glibc, only"
#endif

static struct {
    bool looked_up;
    void (*info)(size_t *size, size_t *align);
    const uint32_t *descriptor;
} libcs;

/* Runs at load time. Later another thread may hold the loader's lock, in a constructor that waits
 * for the heap to start. A heap that starts earlier looks the names up itself. */
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
    return v && (uintptr_t)v % 8 == 0 && oaki_probe(&v[SLOTS]) && oaki_probe(&v[0]) &&
           v[SLOTS].value < SLOTS_MAX;
}

static OAKI_NO_ASAN const char *block_of(const char *tp, size_t modid)
{
    const dtv_entry *v = vector_of(tp);
    if (modid > v[SLOTS].value || !oaki_probe(&v[modid])) return NULL;
    size_t value = v[modid].value;
    return value == SIZE_MAX ? NULL : (const char *)value;
}

void oaki_tlsroots_visit(const oaki_root_visitor *v, const oaki_thread *t)
{
    OAKI_REQUIRES_STOPPED();
    const char *lo, *hi;
    oaki_tlsroots_static(t->tp, &lo, &hi);
#ifndef __GLIBC__
    hi = oaki_probe_end(t->tp, hi); /* DESCRIPTOR_MAX is more than there is */
#endif
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
