/* costprobe.h - the measurement of oaki_cost_probe. */
#ifndef OAKI_COSTPROBE_H
#define OAKI_COSTPROBE_H

#include "cost.h"

void oaki_cost_measure(void);
void oaki_cost_measure_reset(void); /* in the child of a fork */

/* The probe's clock; tests set another. */
extern OAKI_HIDDEN uint64_t (*oaki_cost_clock)(void);

#endif
