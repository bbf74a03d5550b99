/* plan_support.h - what tests of gc/plan.c share: cycles that are told of and not made. */
#ifndef TESTS_GC_PLAN_SUPPORT_H
#define TESTS_GC_PLAN_SUPPORT_H

#include "gc/collector.h"
#include "gc/tuning.h"
#include "runtime/collector.h"
#include "runtime/cost.h"
#include "runtime/os.h"
#include "tests/heap.h"

#include <check.h>
#include <string.h>

#define MB ((size_t)1 << 20)
#define DEAR 12000  /* ns of a first write */
#define CHEAP 700

static void **live;

static inline void start_at(oak_config c)
{
    c.gc_percent = 100;
    c.min_heap = MB;
    test_heap_start(c);
    test_only_root(&live, sizeof live);
}

static inline void start(bool concurrent, int goal_us)
{
    oak_config c = test_config();
    c.concurrent = concurrent;
    c.pause_goal_us = goal_us;
    start_at(c);
}

#define IN_A_PAUSE(call) \
    for (oaki_thread *t = oaki_gc_stop_begin(); t; oaki_gc_stop_end(t), t = NULL) call

/* What a mark finds of so much; nothing is allocated, so that no other one comes between. */
static inline void marked(size_t live_kb, size_t of_kb)
{
    AO_store(&oaki_the_heap.live, of_kb << 10);
    IN_A_PAUSE(oaki_pace_marked(live_kb << 10, 0, 0, false));
}

/* A full one in a stop, after a second in which so much was allocated. */
static inline void stopped(uint64_t us, size_t mb)
{
    uint64_t now = oaki_os_now_ns();
    IN_A_PAUSE(oaki_pace_cycle(now, 0, 0, 0, 0, false));
    IN_A_PAUSE(oaki_pace_stopped(false, false, mb * MB, now + UINT64_C(1000000000), us * 1000));
}

#define MUCH 100000 /* MB */

/* ---- what marks cost ---- */

#define WORDS ((size_t)10000000)

static inline void mark_of(bool concurrent, double word_ns)
{
    uint64_t ns = (uint64_t)(word_ns * (double)WORDS);
    IN_A_PAUSE(oaki_plan_note_mark(concurrent, WORDS, 80 * MB, ns));
}

static inline bool start_tracked(void)
{
    start(true, OAK_PAUSE_GOAL_US);
    oaki_cost_force(OAKI_COST_write, CHEAP);
    if (test_skip_untracked()) return false;
    oaki_cost_probe();
    marked(200 << 10, 200 << 10);
    ck_assert_int_eq(oaki_plan_reason_now(), OAKI_PLAN_LARGE);
    return true;
}

/* The host thread does what is to be done, as after a cycle. */
static inline void attend(void)
{
    oaki_plan_attend();
    while (AO_load(&oaki_gc.plan.host)) oaki_os_sleep_ns(100000);
}

#endif
