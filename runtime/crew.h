/* crew.h - the registry of the threads that Oakum starts: each has a seat, ends when it is asked
 * to, and is waited for.
 *
 * A thread of the crew waits by oaki_crew_wait and naps by oaki_crew_nap. When one of them returns
 * false, the thread notes that it is no more, and returns from its function. */
#ifndef OAKI_CREW_H
#define OAKI_CREW_H

#include "waker.h"

typedef struct oaki_seat oaki_seat;

/* A seat for a thread about to be started. NULL: all are taken, or the crew is to end. */
oaki_seat *oaki_crew_take(bool attach);
void oaki_crew_give(oaki_seat *s); /* the thread could not be started */
bool oaki_crew_is_to_end(void);    /* all of it, or those that are attached */

/* By the thread itself: when it has its name, and last. */
void oaki_crew_enter(oaki_seat *s);
void oaki_crew_leave(void);

/* As oaki_waker_wait. false: the thread is to end. */
bool oaki_crew_wait(oaki_waker *w, unsigned *seen);
/* Sleeps for so long. false: the thread is to end. */
bool oaki_crew_nap(uint64_t ns);
/* Is the calling thread to end? For its longer loops. */
bool oaki_crew_ends(void);

bool oaki_crew_has_me(void); /* is the calling thread one of the crew? */

/* Tells the crew to end, or only those that are attached and so may run functions of the program.
 * Waits until the system has no such thread any more. false: one is still there after so long. The
 * caller is no thread of the crew, attached or not, and outside of oaki_enter. */
bool oaki_crew_end(bool all, uint64_t patience_ns);
void oaki_crew_resume(void); /* threads may be started again */
/* Asks all to end, and waits for none. By a thread of the crew. */
void oaki_crew_dismiss(void);

/* A thread of the program detaches in its last round of key destructors. oaki_crew_end also waits
 * until it has left Oakum's code. */
void oaki_crew_note_exit(int tid);

void oaki_crew_child(void); /* in a fork's child: only the calling thread is left */

#endif
