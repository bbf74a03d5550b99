/* image.h - the heap at one moment, examined while the program runs on.
 *
 * The world stops, the process is forked by the bare system call, and the world runs again. In the
 * child, `work` sees the heap, the stacks and the registers as they were at that moment. If no fork
 * is possible, work runs in the pause.
 *
 * Either way, work calls nothing of the host that takes a lock, no oaki_meta_ function, no loader.
 * It reads memory, maps memory (oaki_os_map), writes file descriptors, and uses the functions of
 * gc/ for a pause. Everything has been swept, so A alone tells which slots are allocated, except
 * those left in threads' runs (oaki_image_run_has). Work may use M. In a pause, a concurrent mark
 * under way is abandoned for that, and the next collection is no minor one.
 *
 * The child is invisible: no SIGCHLD, no result of wait(), no descriptors but its own, all signals
 * blocked, none handled. It is killed when its time is over or the parent dies.
 *
 * Lock:  gc_lock for the pause (image.c). Outside of oaki_enter.
 * Pause: that of a fork: some 20 ms per GiB of small pages, less with huge ones. */
#ifndef OAKI_IMAGE_H
#define OAKI_IMAGE_H

#include "runtime/heap.h"
#include "runtime/roots.h"

typedef struct oaki_image oaki_image;

/* Returns 0 or an error number. Runs in the child or in a pause. */
typedef int (*oaki_image_work)(oaki_image *im, void *arg);

typedef struct oaki_image_request {
    oaki_image_work work;
    void *arg;           /* the child has a copy */
    uint64_t timeout_ns;
    const char *own_sp;  /* the caller's frames are at this address and above; Oakum's below */
    int keep_fd;         /* a descriptor that work writes to, or -1 */
    bool measure;        /* measure extra_memory, which takes some 10 ms per GiB */
    bool in_stop;        /* for tests: behave as if fork were refused */
} oaki_image_request;

typedef struct oaki_image_answer {
    char *data; /* the bytes of oaki_image_put; NULL: none */
    size_t n, mapped;
    uint64_t pause_ns, extra_memory;
    bool stopped; /* work ran in the pause */
} oaki_image_answer;

/* The end of the requesting function's frame, behind the registers of its caller that the prologue
 * saved. */
#define OAKI_IMAGE_OWN_SP ((const char *)__builtin_frame_address(0) + 2 * sizeof(void *))

/* Takes an image and runs work on it. Returns 0, or -1 with errno: the error that work returned,
 * ETIMEDOUT, EIO (the child died), ENOMEM, EBUSY (a thread didn't stop within 10 s), EACCES (pages
 * are unreadable, and no fork is possible). */
int oaki_image_take(const oaki_image_request *r, oaki_image_answer *out);
void oaki_image_answer_free(oaki_image_answer *a);

/* Takes an image whose answer is n bytes, and copies them to out. Sets *stopped as in the answer,
 * unless NULL. Returns 0, or -1 with errno. */
int oaki_image_ask(const oaki_image_request *r, void *out, size_t n, bool *stopped);

/* From now on pages of the heap may be unreadable, as the program protects them. Children open them
 * for themselves. */
void oaki_image_expect_closed(void);
bool oaki_image_expects_closed(void);

/* ---- for work ---- */

/* Appends to the answer. false: the parent is gone or there is no memory, so work must return. */
bool oaki_image_put(oaki_image *im, const void *p, size_t n);

/* Has work's time run out? Cheap: for a call every few thousand objects. */
bool oaki_image_late(oaki_image *im);

/* Measures extra_memory, which is the most of all measurements and that at the end. For a call
 * where work uses most memory. */
void oaki_image_measure(oaki_image *im);

/* The calling thread, and where its own frames begin. */
const oaki_thread *oaki_image_self(const oaki_image *im);
const char *oaki_image_own_sp(const oaki_image *im);

/* Whether work runs in the process itself, not in a child. Then it must leave the process's data
 * unharmed. */
bool oaki_image_in_stop(const oaki_image *im);

/* Runs: slots that threads have taken and not handed out yet. Their A bits are set, but they hold
 * no objects. The first function says whether this slot is in a run. The others give the number of
 * runs, and the i-th by address. */
bool oaki_image_run_has(const oaki_image *im, size_t slot);
size_t oaki_image_runs(const oaki_image *im);
void oaki_image_run(const oaki_image *im, size_t i, size_t *lo, size_t *hi);

#endif
