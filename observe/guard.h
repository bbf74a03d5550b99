/* guard.h - the guard's findings in words, with stacks (runtime/guard.h). */
#ifndef OAKI_OBSERVE_GUARD_H
#define OAKI_OBSERVE_GUARD_H

#include "runtime/guard.h"

/* With `guard=page`: reports an access to the page behind an object, and ends the process. Other
 * faults go to the handler that was installed before. */
void oaki_guard_catch(void);

/* Takes the handler away. false: the program has one on top. Then what it needs outlives the
 * heap. */
bool oaki_guard_uncatch(void);
void oaki_guard_stays(void);

/* Puts the guard's handler in front again, after the program may have set its own for SIGSEGV.
 * If *old, the disposition that the program got back, is the guard's, the one before the guard's
 * replaces it; old may be NULL. Does nothing if the guard has no handler. */
struct sigaction;
void oaki_guard_catch_again(struct sigaction *old);

/* Starts the guard if OAKUM_DEBUG=guard asks for it. */
void oaki_guard_from_environment(void);

/* The calling thread's stack as a site's number; UINT32_MAX when there is no memory. Outside of
 * oaki_enter. */
uint32_t oaki_guard_site(void);

/* The headline says what is wrong, in one line without a newline. The explanation calls `line` for
 * each further line, with its newline; a stack has at most `frames` frames. Outside of
 * oaki_enter. */
size_t oaki_guard_headline(const oaki_guard_finding *f, char *buf, size_t n);
void oaki_guard_explain(const oaki_guard_finding *f, unsigned frames,
                        void (*line)(const char *text));

#endif
