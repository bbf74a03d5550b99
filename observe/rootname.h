/* rootname.h - names for root words that an image found: functions, symbols, threads.
 *
 * Looks names up: outside of a stop and of oaki_enter. */
#ifndef OAKI_ROOTNAME_H
#define OAKI_ROOTNAME_H

#include "rootwords.h"

void oaki_root_name(const oaki_root_found *found, oak_root_info *out);

/* The name of a thread of this process, or of one that has gone: "". */
void oaki_thread_name(int tid, char out[16]);

#endif
