/* unwind_find.h - which loaded object has a pc, and where in it is what tells how to unwind.
 *
 * Any thread, in any state: no lock, no malloc, no cancellation point. */
#ifndef OAKI_UNWIND_FIND_H
#define OAKI_UNWIND_FIND_H

#include "unwind_read.h"

typedef struct oaki_unwind_object {
    uintptr_t lo, hi;  /* its addresses */
    uintptr_t header;  /* its .eh_frame_hdr; 0: it has none */
    uint64_t identity; /* a hash of these, and of the loader's record of it */
} oaki_unwind_object;

/* Once, before the first look-up. With `by_loader` the loader's _dl_find_object is asked where it
 * has one, else a table of our own. Outside of oaki_enter. 0 or -1 with ENOMEM. */
int oaki_unwind_find_init(bool by_loader);

/* False: no object has this address, as far as is known. */
bool oaki_unwind_find_object(uintptr_t pc, oaki_unwind_object *out);

/* Where the entry of that pc is (an FDE); 0: there is none. It may still be one that ends before
 * pc. `w` is a window on the tables. */
uintptr_t oaki_unwind_find_entry(const oaki_unwind_object *o, uintptr_t pc, oaki_window *w);

#endif
