/* thread-stack-leak.c - what a stack that was deep, or is, keeps alive.
 *
 * What leaks: stack dumps whose buffers are kept, and whatever the frames of a parked thread
 *             refer to. Making dumps leaks nothing, and a thread that has unwound holds nothing
 *             through its dead frames.
 * Why:        a frame is a root as long as it is live. C's stacks do not shrink as Go's do; what
 *             counts is that the part below the stack pointer isn't looked at.
 * Seen by:    memstats: threads, stack_inuse, and live bytes that go with the threads. */
#include "scenario.h"
#include "tests/backtrace.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define DUMPS 20000
#define DUMP_BYTES 4096
#define THREADS 200
#define AT_ONCE 14 /* threads between two looks of the detector */
#define DEPTH 100
#define FRAME 512
#define OBJECT 512
#define OBJECTS (THREADS * DEPTH)

/* ---- stack dumps ---- */

static char **kept;

static __attribute__((noinline)) char *dump_stack(void)
{
    char *text = scn_must(oak_alloc_noscan(DUMP_BYTES));
    void *frames[32];
    int n = (int)test_backtrace(frames, 32);
    size_t at = 0;

    for (int i = 0; i < n && at + 32 < DUMP_BYTES; i++)
        at += (size_t)snprintf(text + at, DUMP_BYTES - at, "%d %p\n", i, frames[i]);
    return text;
}

static void dump_many(void *arg)
{
    (void)arg;
    for (int i = 0; i < DUMPS; i++) scn_keep(dump_stack());
}

static int dumped;

/* Some of them: the detector looks in between. */
static void dump_and_keep(void *arg)
{
    (void)arg;
    if (kept == NULL) kept = scn_must(oak_alloc(DUMPS * sizeof(*kept)));
    for (int end = dumped + DUMPS / 16; dumped < end; dumped++) kept[dumped] = dump_stack();
}

SCN_FIND(find_kept, kept[1000])

static void dumps(scn *s)
{
    double want = (double)DUMPS * DUMP_BYTES, held;
    static oak_memstats before, after;

    scn_row(s, "20,000 stack dumps into fresh 4 KiB buffers");
    scn_live_stats(&before);
    scn_on_thread(dump_many, NULL);
    scn_live_stats(&after);
    held = (double)after.heap_alloc - (double)before.heap_alloc;
    scn_retained(s, held, SCN_BYTES);
    scn_go(s, "8");
    scn_pointed(s, "not a leak: total_alloc +%s B, heap_alloc %+.0f B",
                scn_thousands((double)(after.total_alloc - before.total_alloc)), held);
    scn_expect_none(s, "retained", held);

    scn_row(s, "the same, buffers kept");
    scn_live_stats(&before);
    scn_detector_begin(NULL);
    for (dumped = 0; dumped < DUMPS; scn_live()) scn_on_thread(dump_and_keep, NULL);
    scn_live_stats(&after);
    held = (double)after.heap_alloc - (double)before.heap_alloc;
    scn_retained(s, held, SCN_BYTES);
    scn_go(s, "82,509,832");
    scn_pointed(s, "memstats: heap_objects +%s, stack_inuse %+.0f B",
                scn_thousands((double)after.heap_objects - (double)before.heap_objects),
                (double)after.stack_inuse - (double)before.stack_inuse);
    scn_expect(s, "retained, against 20,000 buffers", held, want, want * 1.03);
    scn_expect_found(s, OAK_FINDING_SITE_GROWTH, "dump_stack");
    scn_expect_found(s, OAK_FINDING_HEAP_GROWTH, NULL);
    scn_expect_site(s, "dump_stack");
    scn_expect_path(s, find_kept, OAK_ROOT_GLOBAL, "kept", NULL);
    kept = NULL;
    scn_expect_none(s, "retained after the buffers are dropped",
                    scn_live() - (double)before.heap_alloc);
}

/* ---- deep stacks ---- */

typedef struct diver {
    pthread_t thread;
    uint64_t id;
    bool stay_down; /* park at full depth; otherwise after unwinding */
    bool intact;    /* every frame found its object as it had left it */
} diver;

static diver divers[THREADS];
static oak_weak *deepest; /* object of the first diver */

SCN_FIND(find_deepest, oak_weak_get(deepest))

static size_t parked;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void *pass_gate(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    return NULL;
}

static __attribute__((noinline)) void park(void)
{
    scn_count_up(&parked);
    oak_blocking_call(pass_gate, NULL);
}

static __attribute__((noinline)) bool dive(const diver *d, unsigned depth)
{
    char room[FRAME - 32]; /* and what a call saves at least */
    uint64_t *object = scn_must(oak_alloc_noscan(OBJECT));
    bool intact = true;

    memset(room, 0, sizeof(room));
    scn_keep(room);
    *object = d->id * DEPTH + depth;
    if (depth + 1 < DEPTH)
        intact = dive(d, depth + 1);
    else if (d->stay_down) {
        if (d->id == 0) deepest = scn_must(oak_weak_new(object));
        park();
    }
    scn_keep(room);
    scn_keep(object);
    return intact && *object == d->id * DEPTH + depth;
}

static void *diver_main(void *arg)
{
    diver *d = arg;

    d->intact = dive(d, 0);
    if (!d->stay_down) park();
    return NULL;
}

/* It looks as they come, or when all are there. */
static void start_divers(bool stay_down)
{
    parked = 0;
    pthread_mutex_lock(&gate);
    for (uint64_t i = 0; i < THREADS; i++) {
        divers[i] = (diver){ .id = i, .stay_down = stay_down };
        if (oak_thread_create(&divers[i].thread, NULL, diver_main, &divers[i]) != 0)
            scn_die("no thread");
        if (!stay_down || i % AT_ONCE != 0) continue;
        while (scn_count(&parked) < i + 1) sched_yield();
        scn_detector_look();
    }
    while (scn_count(&parked) < THREADS) sched_yield();
}

static bool end_divers(void)
{
    bool intact = true;

    pthread_mutex_unlock(&gate);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(divers[i].thread, NULL);
        intact = intact && divers[i].intact;
    }
    return intact;
}

/* What a stack alone holds is told where it is much: here, half of a diver's objects. */
static void expect_held_alone(scn *s)
{
    oak_detector_config cfg;

    oak_detector_config_default(&cfg);
    cfg.held_bytes = DEPTH * OBJECT / 2;
    scn_detector_begin(&cfg);
    for (int i = 0; i < 6; i++) scn_detector_look();
    scn_expect_found(s, OAK_FINDING_STACKS_HOLD, "thread ");
    scn_expect_ratio(s, "bytes that 64 of the stacks alone hold",
                     scn_detector_counts(OAK_FINDING_STACKS_HOLD), 64.0 * DEPTH * OBJECT, 5);
}

static void deep_row(scn *s, bool stay_down)
{
    static oak_memstats before, after;
    double held, objects;
    bool intact;

    scn_row(s, stay_down ? "200 threads parked at 100 frames of 512 B, an object each"
                         : "200 threads unwound from 100 frames of 512 B, parked");
    scn_live_stats(&before);
    start_divers(stay_down);
    scn_live_stats(&after);
    held = (double)after.heap_alloc - (double)before.heap_alloc;
    objects = held / OBJECT;
    scn_retained(s, held, SCN_BYTES);
    scn_figure(s, "objects held", objects, SCN_COUNT);
    scn_figure(s, "stack_inuse", (double)after.stack_inuse - (double)before.stack_inuse, SCN_BYTES);
    scn_pointed(s, "memstats: %s threads more, stack_inuse +%s B; %s of 20,000 objects",
                scn_thousands((double)(after.threads - before.threads)),
                scn_thousands((double)after.stack_inuse - (double)before.stack_inuse),
                scn_thousands(objects));
    scn_expect(s, "threads", (double)(after.threads - before.threads), THREADS, THREADS);
    scn_expect(s, "stack_inuse of each",
               ((double)after.stack_inuse - (double)before.stack_inuse) / THREADS,
               stay_down ? DEPTH * FRAME : 0, stay_down ? 2 * DEPTH * FRAME : 16 << 10);
    if (stay_down) {
        scn_expect(s, "objects held by live frames", objects, OBJECTS, OBJECTS * 1.05);
        scn_expect_found(s, OAK_FINDING_THREAD_GROWTH, NULL);
        scn_expect_found(s, OAK_FINDING_HEAP_GROWTH, NULL);
        scn_expect_found(s, OAK_FINDING_SITE_GROWTH, "dive");
        scn_expect_site(s, "dive");
        scn_expect_path(s, find_deepest, OAK_ROOT_STACK, "dive", NULL);
        expect_held_alone(s);
    } else
        scn_expect(s, "objects held by dead frames", objects, -1, OBJECTS / 100);
    intact = end_divers();
    scn_expect_true(s, "every live frame finds its object intact", intact);
    scn_expect_none(s, "retained after the threads ended", scn_live() - (double)before.heap_alloc);
}

static void run(scn *s)
{
    dumps(s);
    scn_detector_begin(NULL);
    deep_row(s, false);
    scn_go(s, "stacks 13.1, later 0.82 MB");
    scn_expect_quiet(s);
    scn_detector_begin(NULL);
    deep_row(s, true);
    scn_go(s, "stacks 13.1 MB");
}

const scn_scenario scn_thread_stack_leak = {
    .id = "thread-stack-leak",
    .class = 'G',
    .source = "A2 2.3",
    .leak = "live frames and kept stack dumps hold objects; dead frames do not",
    .maps = false,
    .run = run,
};
