/* lock.c - a mutex of one word on futexes, and the check of the lock order.
 *
 * The word is 0 free, 1 held, 2 held and perhaps waited for (the third mutex of Drepper, "Futexes
 * Are Tricky", 2011). Only the holder changes it from 1 or 2 to 0. A waiter changes it from 1 to 2,
 * and from 0 to 2 when it gets the lock, as other threads may still wait.
 *
 * Debug builds keep the locks held by a thread in a small thread-local stack. A lock may be waited
 * for only when its rank is above all of them, so two threads can't wait for each other.
 * oaki_lock_try never waits, and is exempt. Both functions check that a thread of the runtime is
 * inside it. */
#include "lock.h"

#include "contract.h"
#include "os.h"

/* A critical section is tens to hundreds of instructions; a sleep costs thousands. */
#define SPINS 100

#ifdef OAKI_DEBUG

#define HELD_MAX 16

typedef struct held_locks {
    const oaki_lock *lock[HELD_MAX];
    size_t n;
} held_locks;

static __thread held_locks held __attribute__((tls_model("initial-exec")));

static void order_check(const oaki_lock *l)
{
    for (size_t i = 0; i < held.n; i++)
        if (held.lock[i]->rank >= l->rank)
            oak_fatal("oakum: internal error: lock of rank %u taken while one of rank %u is held",
                      l->rank, held.lock[i]->rank);
}

bool oaki_lock_holds_one(oaki_rank low, oaki_rank high)
{
    for (size_t i = 0; i < held.n; i++)
        if (held.lock[i]->rank >= low && held.lock[i]->rank <= high) return true;
    return false;
}

/* A stop or a fork must not meet a held lock. They wait only for the locks of threads inside, and
 * neither begins while this thread has gc_lock. The program's threads enter by the public
 * functions, but tests call the functions behind those. So only the runtime's own threads are
 * checked. */
static void place_check(const oaki_lock *l)
{
    const oaki_thread *t = oaki_thread_self();
    if (!t || !t->own || t->in_runtime == OAKI_IN_RUNTIME || l->rank <= OAKI_RANK_GC) return;
    if (oaki_fork_is_ours()) return; /* the only thread in the child */
    if (oaki_lock_holds_one(OAKI_RANK_GC, OAKI_RANK_GC)) return;
    oak_fatal("oakum: internal error: lock of rank %u taken by an own thread that is outside",
              l->rank);
}

bool oaki_lock_is_mine(const oaki_lock *l)
{
    for (size_t i = 0; i < held.n; i++)
        if (held.lock[i] == l) return true;
    return false;
}

bool oaki_is_inside(void)
{
    const oaki_thread *t = oaki_thread_self();
    return (t && t->in_runtime == OAKI_IN_RUNTIME) || oaki_world_stopped() ||
           oaki_fork_is_ours() || oaki_lock_holds_one(OAKI_RANK_GC, OAKI_RANK_THREADS);
}

bool oaki_lock_lets_leave(void)
{
    return !oaki_lock_holds_one(OAKI_RANK_HELPER, OAKI_RANK_META_REGION);
}

/* A stop of a thread that takes a lock of maps/ may come at any instruction here, and look. */
static void order_push(const oaki_lock *l)
{
    OAKI_INVARIANT(held.n < HELD_MAX, "too many locks held");
    held.lock[held.n] = l;
    AO_compiler_barrier();
    held.n++;
}

/* Removes the lock from the stack. It needn't be the last one: locks may be released in any
 * order. */
static bool order_pop(const oaki_lock *l)
{
    for (size_t i = held.n; i-- > 0;)
        if (held.lock[i] == l) {
            for (held.n--; i < held.n; i++) held.lock[i] = held.lock[i + 1];
            return true;
        }
    return false;
}

void oaki_lock_assert_none_held(void)
{
    if (held.n > 0)
        oak_fatal("oakum: internal error: lock of rank %u is held where none may be",
                  held.lock[held.n - 1]->rank);
}

#else

OAKI_INLINE void order_check(const oaki_lock *l)
{
    (void)l;
}
OAKI_INLINE void place_check(const oaki_lock *l)
{
    (void)l;
}
OAKI_INLINE void order_push(const oaki_lock *l)
{
    (void)l;
}
OAKI_INLINE bool order_pop(const oaki_lock *l)
{
    return l != NULL;
}
void oaki_lock_assert_none_held(void) {}

#endif

void oaki_lock_init(oaki_lock *l, oaki_rank rank)
{
    OAKI_ASSERT(rank >= OAKI_RANK_MAP && rank <= OAKI_RANK_META_REGION);
    AO_int_store(&l->word, 0);
    l->rank = (unsigned)rank;
}

static bool spin(oaki_lock *l)
{
    for (int i = 0; i < SPINS; i++) {
        if (AO_int_load(&l->word) == 0 && AO_int_compare_and_swap_acquire(&l->word, 0, 1))
            return true;
        oaki_pause();
    }
    return false;
}

static void sleep_once(oaki_lock *l, uint64_t timeout_ns)
{
    if (AO_int_load(&l->word) == 2 || AO_int_compare_and_swap(&l->word, 1, 2))
        oaki_futex_wait(&l->word, 2, timeout_ns);
}

static OAKI_NOINLINE void acquire_slow(oaki_lock *l)
{
    if (spin(l)) return;
    while (!AO_int_compare_and_swap_acquire(&l->word, 0, 2)) sleep_once(l, 0);
}

void oaki_lock_acquire(oaki_lock *l)
{
    OAKI_ASSERT(AO_int_load(&l->word) <= 2);
    order_check(l);
    place_check(l);
    if (OAKI_UNLIKELY(!AO_int_compare_and_swap_acquire(&l->word, 0, 1))) acquire_slow(l);
    order_push(l);
}

/* A release may have woken this thread alone, and another thread then taken the lock as if nobody
 * waited. So its word says again that one does, or the others would sleep on. */
static bool gives_up(oaki_lock *l)
{
    return AO_int_load(&l->word) == 2 || AO_int_compare_and_swap_full(&l->word, 1, 2);
}

bool oaki_lock_acquire_within(oaki_lock *l, uint64_t ns)
{
    order_check(l);
    place_check(l);
    uint64_t until = oaki_os_now_ns() + ns, now;
    bool got = AO_int_compare_and_swap_acquire(&l->word, 0, 1) || spin(l);
    while (!got && !(got = AO_int_compare_and_swap_acquire(&l->word, 0, 2))) {
        if ((now = oaki_os_now_ns()) >= until) {
            if (gives_up(l)) return false;
            continue;
        }
        sleep_once(l, until - now);
    }
    order_push(l);
    return true;
}

bool oaki_lock_try(oaki_lock *l)
{
    place_check(l);
    if (!AO_int_compare_and_swap_acquire(&l->word, 0, 1)) return false;
    order_push(l);
    return true;
}

void oaki_lock_release(oaki_lock *l)
{
    OAKI_ASSERT(order_pop(l)); /* held by the calling thread */
    if (OAKI_LIKELY(AO_int_compare_and_swap_release(&l->word, 1, 0))) return;
    OAKI_INVARIANT(AO_int_load(&l->word) == 2, "a lock is released that is not held");
    AO_int_store_release(&l->word, 0);
    oaki_futex_wake(&l->word, 1);
}

bool oaki_lock_is_awaited(const oaki_lock *l)
{
    OAKI_REQUIRES_LOCK(l);
    return AO_int_load(&l->word) == 2;
}

void oaki_lock_reset(oaki_lock *l)
{
    (void)order_pop(l);
    AO_int_store(&l->word, 0);
}
