/* sigframe.c - the frame of a signal: its size, and the bytes in it that the kernel leaves
 * unwritten.
 *
 * A thread that a signal stops is scanned with the frame that the kernel made on its stack, as that
 * holds the registers. Some of the frame is never written: reserved words, gaps between the states
 * of the processor's extensions, and alignment. There the stack keeps its former contents, which
 * may be addresses of objects that are long dead. Each stop makes the same frame in the same place.
 * So such a word may keep an object alive for as long as the thread waits there.
 *
 * x86-64 only (Linux: arch/x86/kernel/signal_64.c, fpu/signal.c; the layout of states: Intel SDM,
 * CPUID leaf 0DH). The kernel reads none of these bytes when the handler returns.
 *
 * Owns: the places of the states; each thread that computes them finds the same. No lock. */
#include "sigframe.h"

#include "base.h"

#include <sys/auxv.h>

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

#if defined(__x86_64__)

#include <atomic_ops.h>
#include <cpuid.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

#define LEGACY_FREE 416 /* unused part of FXSAVE's area, up to the kernel's own words */
#define LEGACY_SW 464
#define IN_USE 512 /* bits of the states that are restored; the kernel may omit the others */
#define STATES 576 /* where the states beyond FXSAVE's begin; it has two */
#define FIRST 2
#define NSTATES 63
#define SW_MAGIC 0x46505853u
#define SW_END 4     /* a second magic number, after the states */
#define OTHERS 1280  /* bytes of the frame besides the states */
#define INFO 128     /* bytes of siginfo_t */
#define ALIGNED 128u /* no alignment gap is larger */

/* At LEGACY_SW, when there are more states (struct _fpx_sw_bytes). */
typedef struct states {
    uint32_t magic, extended_size;
    uint64_t features;
    uint32_t size;
} states;

static AO_t places[NSTATES]; /* offset and size of each, once computed */

static void place_of(int i, size_t *offset, size_t *size)
{
    AO_t place = AO_load(&places[i]);
    if (!place) {
        unsigned a, b, c, d;
        __cpuid_count(0xd, i, a, b, c, d);
        place = (AO_t)b << 32 | a;
        AO_store(&places[i], place);
    }
    *offset = place >> 32;
    *size = place & UINT32_MAX;
}

/* Linux 5.14 and later report the size. Before that it is siginfo, ucontext and their alignment,
 * plus the states. */
size_t oaki_sigframe_size(void)
{
    unsigned a, b, c, d;
    size_t size = getauxval(AT_MINSIGSTKSZ);
    if (size) return size;
    __cpuid_count(0xd, 0, a, b, c, d);
    return b + OTHERS;
}

static void clear_between(char *lo, const char *hi)
{
    if (lo < hi && (size_t)(hi - lo) < ALIGNED) memset(lo, 0, (size_t)(hi - lo));
}

/* Finds the next state from `at` on. false: there is none. */
static bool next_state(const states *s, size_t at, size_t *offset, size_t *size)
{
    *offset = s->size;
    for (uint64_t left = s->features << 1 >> 1 >> FIRST << FIRST; left; left &= left - 1) {
        size_t o, n;
        place_of(__builtin_ctzll(left), &o, &n);
        if (o < at || o >= *offset) continue;
        *offset = o;
        *size = n;
    }
    return *offset < s->size;
}

static void clear_states(char *fp, const states *s, const char *top)
{
    size_t at = STATES, offset, size = 0;
    while (next_state(s, at, &offset, &size)) {
        memset(fp + at, 0, offset - at);
        at = offset + size;
    }
    if (at < s->size) memset(fp + at, 0, s->size - at);
    clear_between(fp + s->size + SW_END, top);
}

void oaki_sigframe_clear(void *context, const char *top)
{
    ucontext_t *uc = context;
    char *fp = (char *)uc->uc_mcontext.fpregs;
    memset(uc->uc_mcontext.__reserved1, 0, sizeof uc->uc_mcontext.__reserved1);
    if (!fp) return;
    clear_between((char *)&uc->uc_sigmask + sizeof(uint64_t) + INFO, fp);
    memset(fp + LEGACY_FREE, 0, LEGACY_SW - LEGACY_FREE);
    states s;
    memcpy(&s, fp + LEGACY_SW, sizeof s);
    if (s.magic != SW_MAGIC || s.extended_size != s.size + SW_END) return;
    uint64_t in_use;
    memcpy(&in_use, fp + IN_USE, sizeof in_use);
    s.features &= in_use;
    clear_states(fp, &s, top);
}

#else

#define USUAL 5120 /* MINSIGSTKSZ of aarch64 */

size_t oaki_sigframe_size(void)
{
    size_t size = getauxval(AT_MINSIGSTKSZ);
    return size ? size : USUAL;
}

void oaki_sigframe_clear(void *context, const char *top)
{
    (void)context;
    (void)top;
}

#endif
