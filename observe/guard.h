/* guard.h - what the guard finds, in words, and with stacks (runtime/guard.h). */
#ifndef OAKI_OBSERVE_GUARD_H
#define OAKI_OBSERVE_GUARD_H

#include "runtime/guard.h"

/* With `guard=page`: who touches a page behind an object is reported, and the process ends. Other
 * faults go to the handler that was there before. */
void oaki_guard_catch(void);

/* The program may have said what it does about SIGSEGV, and had its last word on it in *old, or
 * NULL: that comes behind what the guard does. Nothing where that does nothing. */
struct sigaction;
void oaki_guard_catch_again(struct sigaction *old);

/* Where OAKUM_DEBUG=guard asks for it, from now on. */
void oaki_guard_from_environment(void);

/* The calling thread's stack as a site's number; UINT32_MAX when there is no memory. Outside of
 * oaki_enter. */
uint32_t oaki_guard_site(void);

/* What is wrong, in one line without a newline. Then each line of what is known, with its newline,
 * of at most `frames` frames a stack. Outside of oaki_enter. */
size_t oaki_guard_headline(const oaki_guard_finding *f, char *buf, size_t n);
void oaki_guard_explain(const oaki_guard_finding *f, unsigned frames,
                        void (*line)(const char *text));

#endif
