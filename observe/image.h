/* image.h - the heap as it is at one moment, to be looked at while the program goes on.
 *
 * The world stops, the process is forked with the bare system call, and the world goes on; in the
 * child `work` has the heap, the stacks and the registers as they were. Where no fork is to be had,
 * work runs in the stop. Both ways it may call nothing of the host that takes a lock, no
 * oaki_meta_, no loader: it reads memory, maps memory (oaki_os_map), writes file descriptors, and
 * uses what gc/ offers for a stop. Everything has been swept, so A alone says what is allocated,
 * but for what is left in threads' runs (oaki_image_run_has); M is free for use: in a stop, a mark
 * beside the program is given up for it, and the next collection is no minor one.
 *
 * The child is told by nothing: no SIGCHLD, no place in wait(), no descriptors but its own, all
 * signals blocked, none handled. It is killed when its time is over or the parent dies.
 *
 * Lock: gc_lock for the stop (image.c). Outside of oaki_enter. Pause: that of a fork, some 20 ms a
 * GiB of small pages, less with huge ones. */
#ifndef OAKI_IMAGE_H
#define OAKI_IMAGE_H

#include "runtime/heap.h"
#include "runtime/roots.h"

typedef struct oaki_image oaki_image;

/* 0 or an error number. In the child or in a stop. */
typedef int (*oaki_image_work)(oaki_image *im, void *arg);

typedef struct oaki_image_request {
    oaki_image_work work;
    void *arg;           /* the child has a copy */
    uint64_t timeout_ns;
    const char *own_sp;  /* the caller's frames are at this and above; ours below */
    int keep_fd;         /* that work writes to, or -1 */
    bool measure;        /* tell extra_memory, which takes some 10 ms a GiB */
    bool in_stop;        /* for tests: as if fork were refused */
} oaki_image_request;

typedef struct oaki_image_answer {
    char *data; /* what was put; NULL when nothing */
    size_t n, mapped;
    uint64_t pause_ns, extra_memory;
    bool stopped; /* it ran in the stop */
} oaki_image_answer;

/* The end of the frame that asks, with what its prologue saved of its caller's registers. */
#define OAKI_IMAGE_OWN_SP ((const char *)__builtin_frame_address(0) + 2 * sizeof(void *))

/* 0, or -1 with errno: what work returned, ETIMEDOUT, EIO when the child died, ENOMEM, EBUSY when a
 * thread didn't stop for 10 s. */
int oaki_image_take(const oaki_image_request *r, oaki_image_answer *out);
void oaki_image_answer_free(oaki_image_answer *a);

/* Take one whose answer is these n bytes. *stopped, unless NULL: as in the answer. 0, or -1 with
 * errno. */
int oaki_image_ask(const oaki_image_request *r, void *out, size_t n, bool *stopped);

/* ---- for work ---- */

/* Append to the answer. false when the parent has gone or there is no memory: work returns. */
bool oaki_image_put(oaki_image *im, const void *p, size_t n);

/* Has its time run out? Cheap; to be asked every some thousand objects. */
bool oaki_image_late(oaki_image *im);

/* For extra_memory: the most that was seen by this, and at the end. To be called where most is in
 * use. */
void oaki_image_measure(oaki_image *im);

/* The calling thread, and where its own frames begin. */
const oaki_thread *oaki_image_self(const oaki_image *im);
const char *oaki_image_own_sp(const oaki_image *im);

/* Runs in the process itself, with others to be left unharmed, not in a child. */
bool oaki_image_in_stop(const oaki_image *im);

/* What threads have taken to allocate from and not handed out: A has it, but no object is there. Is
 * this slot in it? And all of it: how many stretches, and each, in order of address. */
bool oaki_image_run_has(const oaki_image *im, size_t slot);
size_t oaki_image_runs(const oaki_image *im);
void oaki_image_run(const oaki_image *im, size_t i, size_t *lo, size_t *hi);

#endif
