/* stranded.c - threads that wait for ever. Each waits for an object that no thread or root reaches,
 * except threads of the same kind (stranded.h).
 *
 * The search starts from all roots except the words of waiting threads. An object that it finds may
 * be used to wake a thread. So a thread that waits for such an object adds its words to the roots,
 * and so on until none is added. Errors go one way: because of a stray word, a thread may count as
 * one that can be woken. (Like the search for deadlocked goroutines by Saioc, Lee, Moller and
 * Chabbi, "Dynamic Partial Deadlock Detection and Recovery via Garbage Collection", ASPLOS 2025.)
 *
 * Owns nothing that outlives the call. Bound: one search; a pass over the remaining threads each
 * time that some are added; 16 bytes for a word of a waiting thread. */
#include "stranded.h"

#include "cancel.h"
#include "graph.h"
#include "runtime/markbits.h"
#include "runtime/os.h"
#include "runtime/thread.h"
#include <errno.h>
#include <string.h>

#define TIMEOUT_NS (UINT64_C(60) * 1000000000)
#define NONE UINT32_MAX

typedef struct word {
    uintptr_t value;
    uint32_t next; /* the thread's next word; NONE: none */
    bool past_end;
} word;

typedef struct waiter {
    size_t object;   /* offset of the object that it waits for */
    uint32_t words;  /* its first word; NONE: none */
    bool may_go_on;
} waiter;

typedef struct state {
    oaki_image *im;
    oaki_search search;
    const oaki_stranded *s;
    waiter *waiter; /* indexed as s->tid */
    word *words;
    size_t nwords, cap;
    bool no_memory;
} state;

/* The index of a thread; SIZE_MAX: not in the query. */
static size_t index_of(const oaki_stranded *s, int tid)
{
    size_t lo = 0, hi = s->asked;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (s->tid[mid] < tid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < s->asked && s->tid[lo] == tid ? lo : SIZE_MAX;
}

/* A thread that no longer waits, or for no object of the heap, counts as running. */
static void read_waiters(state *st)
{
    for (size_t i = 0; i < st->s->asked; i++)
        st->waiter[i] = (waiter){ SIZE_MAX, NONE, true };
    for (const oaki_thread *t = oaki_the_heap.threads; t; t = t->next) {
        size_t i = t->waits_for ? index_of(st->s, t->tid) : SIZE_MAX;
        if (i == SIZE_MAX) continue;
        st->waiter[i].object = oaki_graph_object(st->im, ~t->waits_for);
        st->waiter[i].may_go_on = st->waiter[i].object == SIZE_MAX;
    }
}

static word *new_word(state *st)
{
    if (st->nwords == st->cap) {
        size_t cap = OAKI_MAX(st->cap * 2, (size_t)4096);
        word *w = cap < NONE ? oaki_os_map_scratch(cap * sizeof *w) : NULL;
        if (!w) {
            st->no_memory = true;
            return NULL;
        }
        if (st->words) {
            memcpy(w, st->words, st->nwords * sizeof *w);
            oaki_os_release(st->words, st->cap * sizeof *w);
        }
        st->words = w;
        st->cap = cap;
    }
    return &st->words[st->nwords++];
}

static void take_root(void *ctx, const oaki_root_word *w)
{
    state *st = ctx;
    size_t i = w->thread ? index_of(st->s, w->thread->tid) : SIZE_MAX;
    if (i == SIZE_MAX || st->waiter[i].may_go_on) {
        oaki_search_root(&st->search, w);
        return;
    }
    word *new = new_word(st);
    if (!new) return;
    *new = (word){ w->value, st->waiter[i].words, w->past_end };
    st->waiter[i].words = (uint32_t)(new - st->words);
}

static void search_from(state *st, const waiter *w)
{
    for (uint32_t i = w->words; i != NONE; i = st->words[i].next)
        oaki_search_root(&st->search, &(oaki_root_word){ .value = st->words[i].value,
                                                         .past_end = st->words[i].past_end });
}

static bool wake_some(state *st)
{
    bool any = false;
    for (size_t i = 0; i < st->s->asked; i++) {
        waiter *w = &st->waiter[i];
        if (w->may_go_on || !oaki_mark_get(w->object)) continue;
        w->may_go_on = any = true;
        search_from(st, w);
    }
    oaki_search_run(&st->search);
    return any;
}

/* The remaining threads, with the memory that only they keep alive. */
static void read_answer(state *st, oaki_stranded *out)
{
    oaki_search *g = &st->search;
    uint64_t bytes = g->bytes, objects = g->n;
    out->n = 0;
    for (size_t i = 0; i < st->s->asked; i++) {
        if (st->waiter[i].may_go_on) continue;
        out->tid[out->n++] = st->s->tid[i];
        search_from(st, &st->waiter[i]);
    }
    oaki_search_run(g);
    out->bytes = g->bytes - bytes;
    out->objects = g->n - objects;
}

static int search(state *st, oaki_stranded *out)
{
    read_waiters(st);
    if (!oaki_search_begin(&st->search, st->im, false)) return ENOMEM;
    oaki_root_words(st->im, take_root, st);
    oaki_search_run(&st->search);
    while (!oaki_image_late(st->im) && wake_some(st)) continue;
    read_answer(st, out);
    oaki_search_end(&st->search);
    if (st->no_memory) return ENOMEM;
    if (oaki_image_late(st->im)) return ETIMEDOUT;
    return oaki_image_put(st->im, out, oaki_stranded_size(st->s->asked)) ? 0 : EPIPE;
}

static int work(oaki_image *im, void *arg)
{
    const oaki_stranded *s = arg;
    size_t waiters = s->asked * sizeof(waiter), size = oaki_stranded_size(s->asked);
    state st = { .im = im, .s = s, .waiter = oaki_os_map_scratch(OAKI_MAX(waiters, (size_t)1)) };
    oaki_stranded *out = oaki_os_map_scratch(size);
    int r = ENOMEM;
    if (st.waiter && out) {
        out->asked = s->asked;
        r = search(&st, out);
    }
    if (out) oaki_os_release(out, size);
    if (st.waiter) oaki_os_release(st.waiter, OAKI_MAX(waiters, (size_t)1));
    if (st.words) oaki_os_release(st.words, st.cap * sizeof *st.words);
    return r;
}

OAKI_NOINLINE int oaki_stranded_find(oaki_stranded *s)
{
    OAKI_NO_CANCEL;
    oaki_image_request r = { .work = work,
                             .arg = s,
                             .timeout_ns = TIMEOUT_NS,
                             .own_sp = OAKI_IMAGE_OWN_SP,
                             .keep_fd = -1 };
    bool stopped = false;
    int result = oaki_image_ask(&r, s, oaki_stranded_size(s->asked), &stopped);
    s->stopped = stopped;
    return result;
}
