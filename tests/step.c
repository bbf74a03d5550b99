/* step.c - a collection at each instruction. */
#include "step.h"
#include "heap.h"
#include "threads.h"

#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>

#if defined(__x86_64__)
#define PLACES (1u << 16) /* instructions, by a hash */
#define IDLE 10           /* calls */

static struct {
    sem_t asked, done;
    AO_t quit;
    unsigned each;
    size_t collections, before, idle, left_out;
    pthread_t collector;
    unsigned char times[PLACES];
} steps;

/* What was freed though it is in use is overwritten. */
static void leave_dirt(void)
{
    static const size_t sizes[] = { 16, 32, 48, 64, 256, 1024, 4096, 8192, 16384 };
    for (size_t i = 0; i < OAKI_COUNT(sizes); i++)
        for (size_t n = 0; n < 4; n++) {
            void *p = oak_alloc_noscan(sizes[i]);
            if (p) memset(p, 0x5b, sizes[i]);
        }
}

/* A stop's signal interrupts it. */
static void wait_for(sem_t *s)
{
    while (sem_wait(s) != 0) {
    }
}

static void *collect_when_asked(void *arg)
{
    ck_assert_int_eq(oak_thread_attach(), 0);
    for (;;) {
        wait_for(&steps.asked);
        if (AO_load(&steps.quit)) return arg;
        oak_collect();
        leave_dirt();
        sem_post(&steps.done);
    }
}

/* A repeated store or move traps for each of its words: it is done at once instead. */
static bool fill_at_once(ucontext_t *u)
{
    greg_t *r = u->uc_mcontext.gregs;
    const unsigned char *pc = (const unsigned char *)r[REG_RIP];
    bool wide = pc[0] == 0xf3 && pc[1] == 0x48;
    unsigned char op = pc[wide ? 2 : 1];
    size_t n = (size_t)r[REG_RCX] * (wide ? 8 : 1);
    char *to = (char *)r[REG_RDI];
    if (pc[0] != 0xf3 || (wide ? op != 0xab && op != 0xa5 : op != 0xaa && op != 0xa4)) return false;
    bool move = op == 0xa4 || op == 0xa5;
    for (size_t i = 0; i < n; i++)
        to[i] = move ? ((const char *)r[REG_RSI])[i] : (char)(r[REG_RAX] >> (wide ? i % 8 * 8 : 0));
    r[REG_RDI] += (greg_t)n;
    if (move) r[REG_RSI] += (greg_t)n;
    r[REG_RCX] = 0;
    r[REG_RIP] += wide ? 3 : 2;
    return true;
}

/* In the runtime a stop waits for the thread, and so does this. */
static void on_trap(int sig, siginfo_t *info, void *context)
{
    ucontext_t *u = context;
    uint64_t pc = (uint64_t)u->uc_mcontext.gregs[REG_RIP];
    unsigned char *times = &steps.times[pc * UINT64_C(0x9e3779b97f4a7c15) >> 48];
    const oaki_thread *t = oaki_thread_self();
    (void)sig;
    (void)info;
    if (fill_at_once(u)) return;
    if (!t || t->in_runtime != 0 || *times >= steps.each) return;
    ++*times;
    steps.collections++;
    sem_post(&steps.asked);
    wait_for(&steps.done);
}

bool test_can_step(void)
{
    static int slow = -1; /* who emulates instructions may not trap */
    if (slow < 0) slow = test_slow();
    return !slow;
}

void test_steps_begin(unsigned each)
{
    struct sigaction act = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO };
    if (!test_can_step()) return;
    steps.each = each;
    ck_assert_int_eq(sem_init(&steps.asked, 0, 0), 0);
    ck_assert_int_eq(sem_init(&steps.done, 0, 0), 0);
    ck_assert_int_eq(sigaction(SIGTRAP, &act, NULL), 0);
    steps.collector = test_start(collect_when_asked, NULL);
}

/* A trap takes 20 us on a virtual machine. */
void test_steps_on(bool rare)
{
    if (!test_can_step()) return;
    steps.idle = steps.collections == steps.before ? steps.idle + 1 : 0;
    steps.before = steps.collections;
    if (!rare && steps.idle >= IDLE && ++steps.left_out % IDLE != 0) return;
    test_single_step(true);
}

void test_steps_off(void)
{
    if (test_can_step()) test_single_step(false);
}

size_t test_steps_end(void)
{
    if (!test_can_step()) return 0;
    AO_store(&steps.quit, 1);
    sem_post(&steps.asked);
    test_join(steps.collector);
    return steps.collections;
}
#else
bool test_can_step(void)
{
    return false;
}

void test_steps_begin(unsigned each)
{
    (void)each;
}

void test_steps_on(bool rare)
{
    (void)rare;
}

void test_steps_off(void) {}

size_t test_steps_end(void)
{
    return 0;
}
#endif
