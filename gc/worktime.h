/* worktime.h - what the time of markers goes to: words, waiting for work, waiting for a processor.
 *
 * Owns: oaki_gc.worktime. Any marker adds; read where no helper is in a drain. */
#ifndef OAKI_WORKTIME_H
#define OAKI_WORKTIME_H

#include "runtime/base.h"

/* A stretch of the calling marker's time. */
typedef struct oaki_stretch {
    uint64_t clock, cpu; /* of its begin */
} oaki_stretch;

typedef struct oaki_worktime {
    AO_t helped; /* ns of processors that helpers have used so far */
    AO_t waited; /* of this mark: ns of processors that workers without work have used */
    AO_t present, ran; /* of this mark's drains in pauses: ns that helpers took part, and worker 0
                        * beside them, and that they had a processor; a wait is the difference */
    oaki_stretch drain; /* worker 0's in a drain of a pause; zeroes: it doesn't count */
} oaki_worktime;

/* A mark begins. */
void oaki_worktime_begin(void);

oaki_stretch oaki_stretch_begin(void);
/* A helper's part in a drain of a pause is over. */
void oaki_stretch_present(oaki_stretch s);
/* A helper's part in any drain is over. */
void oaki_stretch_helped(oaki_stretch s);
/* Worker 0 begins a drain of a pause, or calls helpers in it; and it is over. */
void oaki_worktime_drain(bool called);
void oaki_worktime_drained(void);
/* The processor time of a worker's wait for work, which began at `cpu`, is over. */
void oaki_worktime_waited(uint64_t cpu);

#endif
