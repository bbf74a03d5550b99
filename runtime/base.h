/* base.h - base of every private file: build guard, assertions, small arithmetic.
 *
 * Assertions come at three prices:
 *   OAKI_ASSERT: O(1), debug builds only;
 *   OAKI_CHECK_SLOW: O(n), debug builds only, never on a fast path;
 *   OAKI_INVARIANT: always on, for a condition whose breach would corrupt the heap. */
#ifndef OAKI_BASE_H
#define OAKI_BASE_H

#ifndef OAK_IMPL
#error "private header: only files of liboakum, which are compiled with -DOAK_IMPL, may include it"
#endif

#ifdef OAKI_LIBRARY
#include "owncode.h"
#endif
#include <atomic_ops.h>
#include <oakum/base.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define OAKI_LIKELY(x) __builtin_expect(!!(x), 1)
#define OAKI_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define OAKI_COLD __attribute__((cold, noinline))
#define OAKI_NOINLINE __attribute__((noinline))
/* Code that runs in every program, even one that only starts and allocates once. It is kept
 * together because the system maps a library's code by 64 KiB: neighbours of such a function become
 * resident with it. */
#define OAKI_AT_START __attribute__((section(".text.startup")))
#define OAKI_INLINE static inline __attribute__((always_inline))
/* Data that other files access directly. Without this, a shared library loads its address from a
 * table. */
#define OAKI_HIDDEN __attribute__((visibility("hidden")))
#define OAKI_UNUSED __attribute__((unused))

#define OAKI_INVARIANT(x, what) \
    do { \
        if (OAKI_UNLIKELY(!(x))) oak_fatal("oakum: internal error: %s (%s)", what, #x); \
    } while (0)

#ifdef OAKI_DEBUG
#define OAKI_ASSERT(x) OAKI_INVARIANT(x, OAKI_HERE)
#define OAKI_CHECK_SLOW(x) OAKI_INVARIANT(x, OAKI_HERE)
#define OAKI_HERE __FILE__ ":" OAKI_TEXT(__LINE__)
#define OAKI_TEXT(x) OAKI_TEXT_(x)
#define OAKI_TEXT_(x) #x
#else
#define OAKI_ASSERT(x) ((void)0)
#define OAKI_CHECK_SLOW(x) ((void)0)
#endif

/* Each argument is evaluated once: many are calls, or loads of words that other threads write. */
#define OAKI_PASTE_(a, b) a##b
#define OAKI_PASTE(a, b) OAKI_PASTE_(a, b)
#define OAKI_PICK(x, y, a, op, b) __extension__({ \
        __typeof__(1 ? (a) : (b)) x = (a), y = (b); \
        x op y ? x : y; \
    })
#define OAKI_UNIQUE(name) OAKI_PASTE(oaki_##name##_, __COUNTER__)
#define OAKI_MIN(a, b) OAKI_PICK(OAKI_UNIQUE(left), OAKI_UNIQUE(right), a, <, b)
#define OAKI_MAX(a, b) OAKI_PICK(OAKI_UNIQUE(left), OAKI_UNIQUE(right), a, >, b)
#define OAKI_COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Keeps the value of variable p, as it is, in a register or on the stack up to this point. Past it,
 * the compiler cannot derive the value from any other. Needed for a pointer that is elsewhere held
 * only in a form unknown to the collector. A stop may come at any instruction outside the
 * runtime. */
#define OAKI_HOLD(p) __asm__ __volatile__("" : "+r"(p) : : "memory")

/* Like memcpy, or like memmove when `to` is below `from`, but leaves no copied words in vector
 * registers. memcpy leaves the last words of a table of addresses there. A thread that then waits
 * is stopped with them, and they count as references. Only on x86-64: elsewhere words may
 * remain. */
OAKI_INLINE void oaki_copy_without_trace(void *to, const void *from, size_t n)
{
#ifdef __x86_64__
    __asm__ __volatile__("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
#else
    memmove(to, from, n);
#endif
}

/* Round up or down to a multiple of a, a power of two. Rounding up can wrap: the caller bounds
 * n. */
#define OAKI_ALIGN_UP(n, a) (((n) + ((a)-1)) & ~(size_t)((a)-1))
#define OAKI_ALIGN_DOWN(n, a) ((n) & ~(size_t)((a)-1))

OAKI_INLINE unsigned oaki_ctz(uint64_t x) { return (unsigned)__builtin_ctzll(x); }
OAKI_INLINE unsigned oaki_clz(uint64_t x) { return (unsigned)__builtin_clzll(x); }
/* The base of x86-64 lacks the instruction; without it the compiler would call a function. */
OAKI_INLINE unsigned oaki_popcount(uint64_t x)
{
#ifdef __POPCNT__
    return (unsigned)__builtin_popcountll(x);
#else
    x -= (x >> 1) & 0x5555555555555555u;
    x = (x & 0x3333333333333333u) + ((x >> 2) & 0x3333333333333333u);
    return (unsigned)((((x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu) * 0x0101010101010101u) >> 56);
#endif
}
OAKI_INLINE unsigned oaki_log2(uint64_t x) { return 63 - oaki_clz(x); } /* x > 0 */

/* A counter with many writers and readers: relaxed, and never used to order anything else. */
OAKI_INLINE void oaki_count_add(AO_t *c, size_t n) { (void)AO_fetch_and_add(c, n); }
OAKI_INLINE void oaki_count_sub(AO_t *c, size_t n) { (void)AO_fetch_and_add(c, (AO_t)0 - n); }
/* Subtracts at most the current value. For estimates that are decremented from several places. */
OAKI_INLINE void oaki_count_sub_most(AO_t *c, size_t n)
{
    AO_t old;
    do old = AO_load(c);
    while (!AO_compare_and_swap(c, old, old - OAKI_MIN(old, (AO_t)n)));
}
/* For a counter written only with a lock held or in a stop: needs no locked instruction. */
OAKI_INLINE void oaki_count_step(AO_t *c, size_t n) { AO_store(c, AO_load(c) + n); }
OAKI_INLINE size_t oaki_count_get(const AO_t *c) { return AO_load(c); }

#endif
