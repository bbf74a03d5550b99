/* fatal.c - the reaction to misuse and corruption, and the version.
 *
 * Owns: the fatal handler, one word read and written atomically.
 * Invariants: no lock is taken, and of the host only write and abort are used. So a stopped world
 * and held locks do no harm. Threads that fail at the same moment don't wait for each other: each
 * reports, and the first to finish aborts. A handler that fails itself is not called again: its
 * message is written and the process aborts. */
#include "contract.h"
#include "heap.h"
#include "print.h"
#include "restore.h"

#include <stdlib.h>

#define MESSAGE_MAX 500 /* with its newline it must fit into oaki_log's line */
#define STRINGIFY(x) #x
#define VERSION(a, b, c) STRINGIFY(a) "." STRINGIFY(b) "." STRINGIFY(c)

static AO_t handler; /* oak_fatal_handler */

/* In the frame of an oak_fatal whose handler runs; `self` marks it as live. */
typedef struct active {
    AO_t self;
} active;

static __thread active *running __attribute__((tls_model("initial-exec")));

/* Is oak_fatal called by the handler of this thread's previous oak_fatal? The handler may have been
 * left by longjmp, and then its frame is gone. That shows if this frame is not deeper than the old
 * one, or if the old one no longer holds its mark. At worst a stale mark costs the handler its
 * call. Stacks grow down. */
static bool inside_handler(void)
{
    active *old = running;
    return old && (char *)__builtin_frame_address(0) < (char *)old &&
           AO_load(&old->self) == (AO_t)old;
}

const char *oak_version(void)
{
    return VERSION(OAK_VERSION_MAJOR, OAK_VERSION_MINOR, OAK_VERSION_PATCH);
}

OAKI_AT_START void oaki_fatal_init(void)
{
    OAKI_REQUIRES_STARTING();
    oaki_restore_setting(&handler);
}

oak_fatal_handler oak_set_fatal_handler(oak_fatal_handler fn)
{
    for (;;) {
        AO_t old = AO_load(&handler);
        if (AO_compare_and_swap_full(&handler, old, (AO_t)fn)) return (oak_fatal_handler)old;
    }
}

void oak_fatal(const char *format, ...)
{
    char message[MESSAGE_MAX];
    va_list ap;
    va_start(ap, format);
    oaki_vformat(message, sizeof message, format ? format : "oakum: fatal, without a reason", ap);
    va_end(ap);

    oak_fatal_handler fn = (oak_fatal_handler)AO_load_acquire(&handler);
    if (fn && !inside_handler()) {
        active mark;
        AO_store(&mark.self, (AO_t)&mark);
        running = &mark;
        fn(message);
        AO_store(&mark.self, 0);
    } else {
        oaki_log("%s\n", message);
    }
    abort();
}
