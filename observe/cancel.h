/* cancel.h - OAKI_NO_CANCEL: no cancellation of the thread until the function returns.
 *
 * A thread cancelled while it opens a file, writes or waits would leak descriptors, locks,
 * temporary files and children. The functions of observe/ take a limited time, or as long as the
 * reader of their output takes. */
#ifndef OAKI_CANCEL_H
#define OAKI_CANCEL_H

#include "runtime/contain.h"

#endif
