/* profile.h - a reading of the heap profile, for its writers.
 *
 * A reading belongs to its owner alone. It is in memory of the host's malloc and needs no lock. The
 * sites that it names live for ever. */
#ifndef OAKI_PROFILE_H
#define OAKI_PROFILE_H

#include "site.h"
#include <oakum/profile.h>

typedef struct oaki_profile_row {
    const oaki_site *site;
    oaki_site_figures f;
} oaki_profile_row;

struct oak_profile {
    size_t rate;      /* bytes: the last rate that was not 0 */
    unsigned flags;
    int64_t time_ns;  /* since 1970 */
    int64_t span_ns;  /* of a difference: from the earlier reading to the later */
    size_t n;
    oaki_profile_row row[]; /* row i is of the site with id i */
};

/* Figures as they are shown: rounded to whole numbers. */
oak_profile_site oaki_profile_shown(const oaki_profile_row *r);
bool oaki_profile_is_empty(const oak_profile_site *s);

/* Looks up frames and labels of a site, for a visitor. oaki_profile_lose frees them. 0 or -1 with
 * ENOMEM. */
int oaki_profile_find(oak_profile_site *out, const oaki_site *s);
void oaki_profile_lose(oak_profile_site *s);

/* p; or for NULL, the result of oak_profile_read(0). To be returned with oaki_profile_return. NULL
 * with ENOMEM. */
const oak_profile *oaki_profile_borrow(const oak_profile *p);
void oaki_profile_return(const oak_profile *borrowed, const oak_profile *p);

/* Starts the profile that the environment asks for. Called once, after the heap has started. */
void oaki_profile_start(size_t rate);
void oaki_profile_end(void); /* none is saved at exit */

#endif
