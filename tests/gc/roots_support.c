/* roots_support.c - see roots_support.h. */
#include "roots_support.h"

#include "runtime/track.h"
#include "tests/large.h"

#include <atomic_ops.h>
#include <check.h>
#include <errno.h>
#include <oakum/oakum.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>

#define NOINLINE __attribute__((noinline))

void roots_start(void)
{
    oak_config cfg;
    oak_config_default(&cfg);
    cfg.gc_percent = -1;
    cfg.finalizer_thread = 0;
    if (oak_init(&cfg) != 0) {
        ck_assert_int_eq(errno, EBUSY); /* an earlier test in the same process */
        return;
    }
    test_large_exclude();
    oak_gc_disable();
}

void roots_collect(void)
{
    roots_clean();
    oak_gc_enable();
    oak_collect();
    oak_gc_disable();
}

static void mark_dead(void *ctx)
{
    *(bool *)ctx = true;
}

static NOINLINE void make_one(roots_group *g, size_t i)
{
    char *p = oak_alloc(g->size);
    ck_assert_ptr_nonnull(p);
    ck_assert_uint_eq(oak_usable_size(p), g->size);
    ck_assert_int_eq(oak_cleanup_add(p, mark_dead, &g->dead[i]), 0);
    g->hidden[i] = (uintptr_t)p ^ ROOTS_MASK;
}

void roots_make(roots_group *g, size_t size)
{
    *g = (roots_group){ .size = size };
    for (size_t i = 0; i < ROOTS_N; i++) make_one(g, i);
    roots_clean();
}

NOINLINE void roots_reveal(const roots_group *g, void **slots, size_t add)
{
    for (size_t i = 0; i < ROOTS_N; i++) slots[i] = (void *)((g->hidden[i] ^ ROOTS_MASK) + add);
    __asm__ __volatile__("" ::"r"(slots) : "memory");
}

NOINLINE void roots_forget(void **slots)
{
    memset(slots, 0, ROOTS_N * sizeof *slots);
    __asm__ __volatile__("" ::"r"(slots) : "memory");
}

/* Copies go through vector registers, where the last words stay until the next copy. */
static void clear_vectors(void)
{
#ifdef __x86_64__
#define ZERO(n) "vpxorq %%zmm" #n ", %%zmm" #n ", %%zmm" #n "\n"
    if (__builtin_cpu_supports("avx512f"))
        __asm__ __volatile__(ZERO(16) ZERO(17) ZERO(18) ZERO(19) ZERO(20) ZERO(21) ZERO(22) ZERO(
            23) ZERO(24) ZERO(25) ZERO(26) ZERO(27) ZERO(28) ZERO(29) ZERO(30) ZERO(31)::);
    if (__builtin_cpu_supports("avx"))
        __asm__ __volatile__("vzeroall" ::
                                 : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
                                   "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
                                   "xmm15");
#endif
}

/* Not memset, which a sanitizer would look over: dead frames may be marked as such. */
NOINLINE OAKI_NO_ASAN void roots_clean(void)
{
    uintptr_t dead[4096];
    for (size_t i = 0; i < sizeof dead / sizeof *dead; i++) {
        dead[i] = 0;
        __asm__ __volatile__("" ::"r"(dead) : "memory");
    }
    clear_vectors();
}

void *roots_map_stack(void)
{
    size_t far = (size_t)2 << 20;
    char *p = mmap(NULL, 2 * far, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ck_assert_ptr_ne(p, MAP_FAILED);
    return p + far;
}

size_t roots_alive(const roots_group *g)
{
    size_t alive = 0;
    roots_collect();
    roots_collect();
    while (oak_finalizers_run() > 0) continue;
    for (size_t i = 0; i < ROOTS_N; i++) alive += !g->dead[i];
    return alive;
}

static void *count(void *arg)
{
    return (void *)roots_alive(arg);
}

size_t roots_alive_elsewhere(const roots_group *g)
{
    pthread_t t;
    void *alive;
    ck_assert_int_eq(pthread_create(&t, NULL, count, (void *)(uintptr_t)g), 0);
    pthread_join(t, &alive);
    return (size_t)alive;
}

void roots_arrive(roots_step *s)
{
    AO_int_store_full(&s->there, 1);
    while (!AO_int_load_full(&s->go)) sched_yield();
}

void roots_await(const roots_step *s)
{
    while (!AO_int_load_full(&s->there)) sched_yield();
}

void roots_let_go(roots_step *s)
{
    AO_int_store_full(&s->go, 1);
}
