/* foreign_checks.h - what the libraries of foreign.h call instead of the C library's checked
 * functions (_FORTIFY_SOURCE): an overrun that is noticed ends the call, not the process. */
#ifndef OAKI_FOREIGN_CHECKS_H
#define OAKI_FOREIGN_CHECKS_H

#include "runtime/base.h"

typedef struct oaki_foreign_form {
    const char *name;
    void (*form)(void);
} oaki_foreign_form;

/* Up to one without a name. They check lengths, but don't look for %n in a format. */
extern const oaki_foreign_form oaki_foreign_checks[];

/* Finds what the forms call in the namespace's C library; false if it isn't there. */
bool oaki_foreign_checks_init(void *c);

#endif
