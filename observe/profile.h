/* profile.h - a reading of the heap profile, for who writes it.
 *
 * A reading is its owner's alone: the host's malloc's, no lock. Sites that it names live for
 * ever. */
#ifndef OAKI_PROFILE_H
#define OAKI_PROFILE_H

#include "site.h"
#include <oakum/profile.h>

typedef struct oaki_profile_row {
    const oaki_site *site;
    oaki_site_figures f;
} oaki_profile_row;

struct oak_profile {
    size_t rate;      /* bytes: the last one that was not 0 */
    unsigned flags;
    int64_t time_ns;  /* since 1970 */
    int64_t span_ns;  /* of a difference: from the earlier reading to this one */
    size_t n;
    oaki_profile_row row[]; /* by id; the first n of them, if all that is there */
};

/* Figures as they are shown: whole numbers. */
oak_profile_site oaki_profile_shown(const oaki_profile_row *r);
bool oaki_profile_is_empty(const oak_profile_site *s);

/* Frames and labels of a site, for a visitor. Freed by oaki_profile_lose. 0 or -1 with ENOMEM. */
int oaki_profile_find(oak_profile_site *out, const oaki_site *s);
void oaki_profile_lose(oak_profile_site *s);

/* The reading that NULL stands for, or p. To be given back. NULL with ENOMEM. */
const oak_profile *oaki_profile_borrow(const oak_profile *p);
void oaki_profile_return(const oak_profile *borrowed, const oak_profile *p);

/* Start-up, when the heap has started: what the environment asks for. */
void oaki_profile_start(size_t rate);

#endif
