/* unwind_find.h - finds the loaded object of a pc, and in it the unwind entry.
 *
 * Any thread, in any state: no lock, no malloc, no cancellation point. */
#ifndef OAKI_UNWIND_FIND_H
#define OAKI_UNWIND_FIND_H

#include "unwind_read.h"

typedef struct oaki_unwind_object {
    uintptr_t lo, hi;  /* its addresses */
    uintptr_t header;  /* its .eh_frame_hdr; 0: none */
    uint64_t identity; /* a hash of the above and of the loader's record */
} oaki_unwind_object;

/* Called once, before the first look-up. With `by_loader`, look-ups use the loader's
 * _dl_find_object if it exists, else a table of Oakum's. Outside of oaki_enter. 0 or -1 with
 * ENOMEM. */
int oaki_unwind_find_init(bool by_loader);

/* The object of this address. False: none is known. */
bool oaki_unwind_find_object(uintptr_t pc, oaki_unwind_object *out);

/* The address of the entry (an FDE) for that pc; 0: none. The entry may end before pc. `w` is a
 * window on the tables. */
uintptr_t oaki_unwind_find_entry(const oaki_unwind_object *o, uintptr_t pc, oaki_window *w);

#endif
