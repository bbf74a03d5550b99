/* stack.c - captures stacks (stack.h), and knows Oakum's own code.
 *
 * Owns: struct self: written by the first call of oaki_stack_find_own, and constant from then on.
 * Bound: O(frames), and one search of a table for each of Oakum's own. */
#include "stack.h"
#include "cancel.h"
#include "runtime/contract.h"
#include "runtime/meta.h"
#include "runtime/thread.h"
#include "unwind.h"
#include <pthread.h>

#define PADDING 64 /* most bytes between two functions */

typedef struct range {
    uintptr_t lo, hi;
} range;

static struct {
    pthread_once_t once, own_once;
    range *own; /* sorted */
    size_t nown;
} self = { .once = PTHREAD_ONCE_INIT, .own_once = PTHREAD_ONCE_INIT };

/* ---- Oakum's own code (owncode.h) ---- */

#ifdef PIC /* the whole file's (owncode.h) */
extern OAKI_HIDDEN const char file_start[] __asm__("__ehdr_start");
extern OAKI_HIDDEN const char file_stop[] __asm__("etext");
#else
extern OAKI_HIDDEN const int32_t code_start[] __asm__("__start_oaki_code");
extern OAKI_HIDDEN const int32_t code_stop[] __asm__("__stop_oaki_code");
#endif
extern OAKI_HIDDEN const char fast_start[] __asm__("__start_oaki_fast");
extern OAKI_HIDDEN const char fast_stop[] __asm__("__stop_oaki_fast");

/* Inserts a range. There are a few hundred, and they arrive nearly sorted. */
static void add_own(uintptr_t lo, uintptr_t hi)
{
    size_t i = self.nown;
    if (lo >= hi) return;
    for (; i > 0 && self.own[i - 1].lo > lo; i--) self.own[i] = self.own[i - 1];
    self.own[i] = (range){ lo, hi };
    self.nown++;
}

/* Joins ranges with only padding between them, as between two files' code: a handful is left. */
static void join_own(void)
{
    size_t n = 0;
    for (size_t i = 1; i < self.nown; i++) {
        if (self.own[i].lo - self.own[n].hi > PADDING) self.own[++n] = self.own[i];
        else self.own[n].hi = OAKI_MAX(self.own[n].hi, self.own[i].hi);
    }
    self.nown = OAKI_MIN(self.nown, n + 1);
}

#ifdef PIC
static size_t files(void)
{
    return 1;
}

static void add_files(void)
{
    add_own((uintptr_t)file_start, (uintptr_t)file_stop);
}
#else
static size_t files(void)
{
    return (size_t)(code_stop - code_start) / 2;
}

static uintptr_t noted(const int32_t *at)
{
    return (uintptr_t)at + (uintptr_t)(intptr_t)*at;
}

static void add_files(void)
{
    for (const int32_t *at = code_start; at < code_stop; at += 2) add_own(noted(at), noted(at + 1));
}
#endif

/* A child of a fork calls it once more, if another thread of the parent was in it. */
static void find_own(void)
{
    size_t n = files() + 1; /* and the fast paths */
    self.nown = 0;
    oaki_thread *t = oaki_enter();
    if (!t) return;
    self.own = oaki_meta_alloc(n * sizeof *self.own, OAKI_META_BUCKHASH);
    oaki_leave(t);
    if (!self.own) return;
    add_files();
    add_own((uintptr_t)fast_start, (uintptr_t)fast_stop);
    join_own();
}

void oaki_stack_find_own(void)
{
    (void)pthread_once(&self.own_once, find_own);
}

bool oaki_stack_is_own(uintptr_t pc)
{
    size_t lo = 0, hi = self.nown;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (self.own[mid].lo <= pc) lo = mid + 1;
        else hi = mid;
    }
    return lo > 0 && pc < self.own[lo - 1].hi;
}

/* ---- capture ---- */

static void init(void)
{
    (void)oaki_unwind_init(); /* without memory, every capture is empty */
    oaki_stack_find_own();
}

void oaki_stack_init(void)
{
    OAKI_REQUIRES_OUTSIDE();
    OAKI_NO_CANCEL; /* files are read */
    (void)pthread_once(&self.once, init);
}

size_t oaki_stack_capture(uintptr_t *pc, size_t max)
{
    max = OAKI_MIN(max, (size_t)OAKI_STACK_FRAMES);
    size_t n = oaki_unwind(pc, max, oaki_stack_is_own);
    return n > 0 ? n : oaki_unwind(pc, max, NULL); /* a thread of Oakum's has only own frames */
}
