/* cancel.h - no cancellation of the thread until the function returns: OAKI_NO_CANCEL.
 *
 * A thread that is cancelled where it opens a file, writes or waits would leave descriptors, locks,
 * temporary files and children behind. What the functions of observe/ take is limited in time or by
 * who reads what they write. */
#ifndef OAKI_CANCEL_H
#define OAKI_CANCEL_H

#include "runtime/contain.h"

#endif
