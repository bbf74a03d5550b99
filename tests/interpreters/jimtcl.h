/* jimtcl.h - Jim Tcl on a collected heap: counting that becomes nothing.
 *
 * Jim counts references, which copy on write needs, and calls free when the last one goes. Here
 * free does nothing: the collector finds what is left. Objects of Jim's still go to its own list of
 * free ones, and are taken from there again. */
#include "heap.h"

#include <poll.h>
#include <sys/select.h>
#include <unistd.h>

#define malloc(n) heap_alloc(n)
#define calloc(count, size) heap_calloc(count, size)
#define realloc(p, n) heap_realloc(p, n)
#define free(p) ((void)(p))
#define strdup(s) heap_strdup(s)

/* `after`, `sleep` and the event loop take an early end for a signal of the script's. */
#define poll(fds, n, ms) heap_wait(poll(fds, n, ms))
#define select(n, r, w, e, t) heap_wait(select(n, r, w, e, t))
#define sleep(s) heap_wait(sleep(s))
#define usleep(us) heap_wait(usleep(us))
