/* model_run.c - random operations on the map and its reference: phases in which the map mostly
 * grows, shrinks, is read or is walked over, with several iterators on their way through all. */
#include "model.h"
#include "maps/map.h"
#include "runtime/options.h"

/* ---- random numbers: splitmix64 (Steele, Lea, Flood) ---- */

uint64_t model_run_seed;
static uint64_t rng;

void model_seed(uint64_t seed)
{
    model_run_seed = rng = seed;
}

uint64_t model_random(void)
{
    uint64_t x = rng += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

size_t model_below(size_t n)
{
    return (size_t)((model_random() >> 8) % n);
}

/* ---- a run ---- */

static const struct phase {
    unsigned put, delete, get; /* of a hundred; the others are steps of iterators */
} phases[] = {
    { 85, 2, 3 },   /* grow */
    { 98, 1, 1 },   /* in a burst */
    { 2, 85, 3 },   /* shrink */
    { 0, 99, 0 },
    { 35, 35, 10 }, /* churn */
    { 5, 5, 10 },   /* walk */
    { 0, 0, 50 },   /* no write */
};

/* Which keys a phase is about. */
typedef enum choice { ANY, IN_ORDER, HOT } choice;

static struct {
    const model_kind *kind;
    size_t space, cursor, hot;
    choice choice;
    bool starves; /* memory fails at times */
} run;

static unsigned pick(void)
{
    if (run.choice == IN_ORDER) return (unsigned)(run.cursor++ % run.space);
    size_t k = model_below(run.choice == HOT ? run.hot : run.space);
    return (unsigned)((k + run.cursor) % run.space);
}

static void walk(void)
{
    unsigned i = (unsigned)model_below(MODEL_WALKS);
    if (!model_open(i) || model_below(400) == 0) {
        model_start(i, model_below(2) == 0);
        return;
    }
    for (size_t n = model_below(50) == 0 ? model_below(OAKI_MIN(run.space, 1000)) : 1; n > 0; n--) {
        size_t act = model_below(40);
        if (!model_step(i, act < 3 ? (model_act)(act + 1) : MODEL_LOOK)) return;
    }
}

/* At most one of them at a step, each as often as it costs. */
static void now_and_then(void)
{
    switch (model_below(run.space * 20 + 2000)) {
    case 0:
    case 1:
        oak_collect();
        return;
    case 2:
        oak_scavenge();
        return;
    case 3:
    case 4:
        if (oak_map_settle(model_map()) != 0 && !run.starves) model_fail("settle failed");
        return;
    case 5:
        model_clear();
        return;
    case 6:
    case 7:
        model_check();
        return;
    case 8:
        model_retain(2 + model_below(model_below(2) ? 3 : 50));
        return;
    case 9:
        model_retain(1 + model_below(2));
        return;
    case 10:
    case 11:
        model_copy();
        return;
    case 12:
    case 13:
        model_reserve(model_below(4) ? model_below(run.space * 2) : model_below(run.space / 4 + 1));
        return;
    case 14:
    case 15:
    case 16:
        if (!run.starves) return;
        oaki_debug_switches.failalloc = oaki_debug_switches.failalloc ? 0 : 1 + (int)model_below(3);
        return;
    }
}

static void step(const struct phase *p)
{
    unsigned act = (unsigned)model_below(100);
    now_and_then();
    if (act < p->put) {
        if (run.kind->form == MODEL_REAL && model_below(20) == 0) model_put_nan();
        else model_put(pick());
    } else if ((act -= p->put) < p->delete) {
        model_delete(pick());
    } else if (act - p->delete < p->get) {
        if (model_below(8) == 0) model_get_many(model_below(MODEL_MANY + 1));
        else model_get(pick());
    } else {
        walk();
    }
}

static void choose_size(bool is_long)
{
    static const size_t spaces[] = { 2, 8, 15, 16, 31, 70, 200, 1000, 4000, 20000 };
    run.space = spaces[model_below(OAKI_COUNT(spaces))];
    run.space += model_below(run.space / 4 + 1);
    if (is_long && model_below(4) == 0) run.space = 200000;
    /* Keys that share a hash cost each other time. */
    if (run.kind->form == MODEL_HASHED && run.space > 600) run.space = 600;
}

void model_run(uint64_t seed, unsigned kind, size_t steps)
{
    model_seed(seed);
    run.kind = &model_kinds[kind];
    choose_size(steps > 500000);
    run.starves = model_below(4) == 0;
    if (model_below(2) == 0) oaki_map_whole_bits = (unsigned)model_below(7);
    model_begin(run.kind, run.space, model_below(4) > 0 ? 0 : model_below(run.space * 2));
    model_may_fail(run.starves);
    for (size_t done = 0; done < steps;) {
        const struct phase *p = &phases[model_below(OAKI_COUNT(phases))];
        size_t length = 1 + model_below(run.space * 3 + 50);
        run.choice = (choice)model_below(3);
        run.cursor = model_below(run.space);
        run.hot = 1 + model_below(run.space);
        for (size_t i = 0; i < length; i++) {
            step(p);
            model_hold();
        }
        done += length;
    }
    oaki_debug_switches.failalloc = 0;
    model_check();
    model_may_fail(false);
    for (unsigned i = 0; i < MODEL_WALKS; i++)
        while (model_open(i)) model_step(i, MODEL_LOOK);
    model_start(0, false);
    while (model_step(0, MODEL_DELETE_IT)) {}
    model_check();
    model_end();
}
