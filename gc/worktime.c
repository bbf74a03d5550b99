/* worktime.c - counts what the time of markers goes to. The plan judges a mark by the first kind,
 * and the number of workers by the last one (plan.c). */
#include "worktime.h"

#include "collector.h"
#include "contract.h"
#include "gc/trace/trace.h"
#include "runtime/os.h"

static oaki_worktime *const self = &oaki_gc.worktime;

void oaki_worktime_begin(void)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_NO_HELPER();
    AO_store(&self->waited, 0);
    AO_store(&self->present, 0);
    AO_store(&self->ran, 0);
}

oaki_stretch oaki_stretch_begin(void)
{
    return (oaki_stretch){ oaki_os_now_ns(), oaki_os_thread_cpu_ns() };
}

static uint64_t cpu_since(uint64_t cpu)
{
    return oaki_os_since(cpu, oaki_os_thread_cpu_ns());
}

void oaki_stretch_present(oaki_stretch s)
{
    AO_fetch_and_add(&self->ran, cpu_since(s.cpu));
    AO_fetch_and_add(&self->present, oaki_os_since(s.clock, oaki_os_now_ns()));
}

/* Alone, worker 0 has the processor that its thread has: its share counts only where the plan may
 * allow helpers again. A small mark is not to pay for the clock, which is a call of the system. */
void oaki_worktime_drain(bool called)
{
    OAKI_REQUIRES_WORKER_ZERO();
    bool counts = called || oaki_gc.plan.workers_most > 0;
    if (counts && !self->drain.clock) self->drain = oaki_stretch_begin();
}

void oaki_worktime_drained(void)
{
    OAKI_REQUIRES_WORKER_ZERO();
    if (self->drain.clock) oaki_stretch_present(self->drain);
    self->drain = (oaki_stretch){ 0 };
}

void oaki_stretch_helped(oaki_stretch s)
{
    AO_fetch_and_add(&self->helped, cpu_since(s.cpu));
}

void oaki_worktime_waited(uint64_t cpu)
{
    AO_fetch_and_add(&self->waited, cpu_since(cpu));
}
