/* gctrace.c - the line that OAKUM_DEBUG=gctrace=1 prints for a collection.
 *
 *     gc # @#s #%: #+#+# ms clock, #+#/#/#+# ms cpu, #->#-># MB, # MB goal, # MB stacks, # MB
 *     globals, # P (forced)
 *
 * The format is that of Go 1.19 (documented with its runtime package), so that tools that read
 * one read the other. Lines of other forms, which begin with "oakum: ", say what the host costs and
 * what is decided by it (planlog.c). Owns nothing; any thread. */
#include "gctrace.h"

#include "event.h"
#include "plan.h"
#include "runtime/print.h"

#define MB(bytes) ((unsigned long long)((bytes) >> 20))

typedef struct number {
    char text[32];
} number;

/* units / 10^decimals, with all decimals written. */
static number decimal(uint64_t units, unsigned decimals)
{
    number out;
    unsigned long long scale = 1;
    for (unsigned i = 0; i < decimals; i++) scale *= 10;
    if (decimals == 0)
        oaki_format(out.text, sizeof out.text, "%llu", (unsigned long long)units);
    else
        oaki_format(out.text, sizeof out.text, "%llu.%0*llu", units / scale, (int)decimals,
                    units % scale);
    return out;
}

/* Milliseconds as Go writes them: no decimals from 10 ms up; below that two significant digits
 * and at most three decimals, rounded down. */
static number milliseconds(uint64_t ns)
{
    if (ns >= 10000000) return decimal(ns / 1000000, 0);
    uint64_t us = ns / 1000;
    if (us == 0) return decimal(0, 0);
    unsigned decimals = 3;
    for (; us >= 100; us /= 10) decimals--;
    return decimal(us, decimals);
}

size_t oaki_gctrace_format(char *buf, size_t n, const oaki_gctrace *t)
{
    return oaki_format(
        buf, n,
        "gc %llu @%ss %d%%: %s+%s+%s ms clock, %s+0/%s/0+%s ms cpu, "
        "%llu->%llu->%llu MB, %llu MB goal, %llu MB stacks, %llu MB globals, %u P%s\n",
        (unsigned long long)t->cycle, decimal(t->since_start / 1000000, 3).text,
        (int)(t->cpu_fraction * 100), milliseconds(t->stop).text, milliseconds(t->mark).text,
        milliseconds(t->mark_end).text, milliseconds(t->stop_cpu).text,
        milliseconds(t->mark_cpu).text, milliseconds(t->mark_end_cpu).text, MB(t->heap_start),
        MB(t->heap_end), MB(t->heap_live), MB(t->goal), MB(t->stacks), MB(t->globals),
        t->processors, t->forced ? " (forced)" : "");
}

void oaki_gctrace_cycle(const oaki_gctrace *t)
{
    char line[400];
    oaki_gctrace_format(line, sizeof line, t);
    oaki_log("%s", line);
}

static void print(const oaki_cycle *c, void *ctx)
{
    (void)ctx;
    oaki_gctrace_cycle(&c->line);
    oaki_plan_log(c->line.cycle, c->plan);
}

int oaki_gctrace_start(void)
{
    return oaki_gc_on_cycle(print, NULL);
}
