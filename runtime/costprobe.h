/* costprobe.h - the measurement of oaki_cost_probe. */
#ifndef OAKI_COSTPROBE_H
#define OAKI_COSTPROBE_H

#include "cost.h"

void oaki_cost_measure(void);

#endif
