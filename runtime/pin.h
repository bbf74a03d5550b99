/* pin.h - keeps the shared library loaded as long as unloading it would leave something of it
 * behind: from its loading on, until oak_shutdown has undone all. */
#ifndef OAKI_PIN_H
#define OAKI_PIN_H

#include "base.h"

/* Again, after oaki_pin_end. Takes the loader's lock, and may call malloc. */
void oaki_pin_begin(void);
void oaki_pin_end(void); /* the caller's own reference keeps the library until it returns */

/* Something can't be undone: the library stays loaded for good. */
void oaki_pin_for_good(void);

#endif
