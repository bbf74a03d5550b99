/* observer.h - what the runtime calls of the layer that watches it; observe/ defines it. */
#ifndef OAKI_OBSERVER_H
#define OAKI_OBSERVER_H

#include "base.h"

/* The heap has just been started, by the calling thread, which is outside of oaki_enter and holds
 * no lock: turn on what the options and the environment ask for. */
void oaki_observe_start(const oak_config *config);

#endif
