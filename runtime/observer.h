/* observer.h - the calls that the runtime makes to the layer that watches it. observe/ defines
 * them. */
#ifndef OAKI_OBSERVER_H
#define OAKI_OBSERVER_H

#include "base.h"

/* Called right after the heap has started, outside of oaki_enter and with no lock held. Turns on
 * the observers that the options and the environment request. */
void oaki_observe_start(const oak_config *config);

#endif
