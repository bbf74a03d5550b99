/* mujs.c - mujs on a collected heap: takes the place of its jsgc.c, the collector.
 *
 * mujs links all objects of a kind into a list, which its sweep walked; such a list would keep them
 * all. js_gc still runs at a count of allocations, and there cuts the links of what is new: each
 * object is on a list for a moment only. Marking, sweeping and the free functions are gone. */
#include "heap.h"

#include "jsi.h"

#include "jscompile.h"
#include "jsrun.h"
#include "jsvalue.h"

/* How many objects a list may hold before it is cut. Until then each keeps the older ones. */
#define CUT_AT 1000

#define CUT(head)                        \
    do {                                 \
        __typeof__(head) next_;          \
        for (; (head); (head) = next_) { \
            next_ = (head)->gcnext;      \
            (head)->gcnext = NULL;       \
        }                                \
    } while (0)

void js_gc(js_State *J, int report)
{
    if (J->gcpause) return;
    CUT(J->gcenv);
    CUT(J->gcfun);
    CUT(J->gcobj);
    CUT(J->gcstr);
    J->gccounter = 0;
    J->gcthresh = CUT_AT;
    if (report) js_report(J, "garbage is collected by the heap");
}

/* Nothing is freed by hand: the state goes with its last pointer. */
void js_freestate(js_State *J)
{
    (void)J;
}
