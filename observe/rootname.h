/* rootname.h - names for the root words of an image: functions, symbols, threads.
 *
 * Looks names up: outside of a pause and of oaki_enter. */
#ifndef OAKI_ROOTNAME_H
#define OAKI_ROOTNAME_H

#include "rootwords.h"

void oaki_root_name(const oaki_root_found *found, oak_root_info *out);

/* The name of a thread of this process; "" if it has ended. */
void oaki_thread_name(int tid, char out[16]);

#endif
