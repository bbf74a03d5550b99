/* profile.h - which code allocates, how much, and how much of it is live: a heap profile.
 *
 * Bytes are sampled at random, one in so many, the rate; an object in which a sampled byte lies is
 * noted with the stack that made it and with the labels of its thread, its *site*. What is told of
 * a site is an estimate of all that it allocated, unbiased, whatever the rate was and however it
 * was changed meanwhile; with a rate of 1 every object is noted, and figures are exact. Sizes are
 * those of slots, as in oak_memstats: an object of 50 bytes counts as 64.
 *
 * Off at first, and then it costs nothing. OAKUM_PROFILE_RATE=512K in the environment turns it on
 * in any program; OAKUM_PROFILE=FILE does, at the rate of 512 KiB if none is given, and when the
 * program ends collects and saves the profile in FILE, where %p stands for the process id; a
 * forked child saves one only where there is a %p.
 *
 * All may be called from any thread, but as the rest of Oakum from no signal handler. Frames of
 * Oakum's own are left out: a site is where the program called it. Names of functions are looked up
 * when a site is shown, in debugging information and symbol tables. */
#ifndef OAKUM_PROFILE_H
#define OAKUM_PROFILE_H

#include <oakum/base.h>

OAK_BEGIN_DECLS

/** The usual rate, as Go's: one byte in 512 KiB. */
#define OAK_PROFILE_RATE ((size_t)512 << 10)

/** One byte in `bytes` is sampled from here on, 1: every object is noted, 0: none. What has been
 * noted stays, and is still dropped when it dies. Stops the world for some microseconds, so that
 * the new rate holds for all that is allocated after it, on any thread. 0, or -1 with ENOMEM. */
OAK_API int oak_profile_set_rate(size_t bytes);

/** The rate, 0 when off. */
OAK_API size_t oak_profile_rate(void);

/* ---- labels ---- */

/** A key and a value that a thread's allocations carry. Keys and values may be any bytes; where a
 * length is 0, they end at a zero byte. */
typedef struct oak_label {
    const char *key;
    size_t key_len;
    const char *value; /* NULL: the number is the value */
    size_t value_len;
    int64_t number;
    const char *unit;  /* of the number: "bytes", "ns"; or NULL */
    size_t unit_len;
} oak_label;

/** Add n labels to those of the calling thread; a key that is there already gets the new value.
 * They are copied. What oak_thread_create starts from here inherits what is set. Returns what
 * oak_labels_pop wants, >= 0; or -1, and nothing has changed, with ENOMEM, EINVAL for a missing or
 * empty key, E2BIG for more than 64 labels or 64 KiB in all. Cheap enough for each request: one
 * allocation outside of the heap, no lock of Oakum's but that one's. */
OAK_API int oak_labels_push(const oak_label *labels, size_t n);

/** The same for one label. */
OAK_API int oak_label_push(const char *key, const char *value);
OAK_API int oak_label_push_number(const char *key, int64_t number, const char *unit);

/** Back to the labels before the push that returned `was`; what was pushed since goes as well. -1,
 * or what has been popped already: nothing happens. */
OAK_API void oak_labels_pop(int was);

/** The statement that follows runs with the label: OAK_WITH_LABEL("tenant", name) serve(); To leave
 * it by break, goto, return or longjmp keeps the label until an outer one is popped. */
#define OAK_WITH_LABEL(key, value)                                                     \
    for (int oak_was_ = oak_label_push(key, value), oak_once_ = 1; oak_once_ != 0;     \
         oak_once_ = 0, oak_labels_pop(oak_was_))

/** The calling thread's labels, sorted by key, the first `max` of them in out. Returns how many
 * there are. What they point to is valid until labels are pushed or popped. */
OAK_API size_t oak_labels_read(oak_label *out, size_t max);

/* ---- reading ---- */

/** A reading: the figures of all sites at one time. */
typedef struct oak_profile oak_profile;

enum {
    /** The figures of this moment. Without it they are those of the end of the last collection, as
     * Go's: what has been allocated since has had no chance to die, and is left out. */
    OAK_PROFILE_NOW = 1,
    /** `go tool pprof` shows what was allocated, if not told otherwise, not what is in use. */
    OAK_PROFILE_ALLOCS = 2
};

/** Read the profile. Does not collect. NULL with ENOMEM. To be freed. */
OAK_API oak_profile *oak_profile_read(unsigned flags);

/** Take `base`, an earlier reading, away from p: what is left is what has changed between the two,
 * which may be negative. */
OAK_API void oak_profile_subtract(oak_profile *p, const oak_profile *base);

/** NULL is allowed. */
OAK_API void oak_profile_free(oak_profile *p);

/** A function that was running. */
typedef struct oak_frame {
    uintptr_t address;    /* in the call */
    const char *function; /* or NULL; these strings live as long as the process */
    const char *file;     /* or NULL */
    const char *object;   /* the program or library that it is in, or NULL */
    int line;             /* or 0 */
    bool inlined;         /* into the next frame */
} oak_frame;

/** One site. Valid during the call that it is given to. */
typedef struct oak_profile_site {
    int64_t inuse_bytes, inuse_objects; /* live */
    int64_t alloc_bytes, alloc_objects; /* ever allocated */
    const oak_frame *frames;            /* the innermost first; none when there was no room */
    size_t nframes;
    const oak_label *labels; /* sorted by key; ends of strings are marked by a zero byte as well */
    size_t nlabels;
    uint32_t id; /* the same in every reading of this process */
} oak_profile_site;

typedef enum oak_profile_order {
    OAK_PROFILE_INUSE_BYTES,
    OAK_PROFILE_INUSE_OBJECTS,
    OAK_PROFILE_ALLOC_BYTES,
    OAK_PROFILE_ALLOC_OBJECTS
} oak_profile_order;

/** Call fn for each site of p, the one with most of what `order` names first, until fn returns
 * false. Sites that have nothing of anything are left out. p = NULL: of a reading made now, without
 * flags. 0, or -1 with ENOMEM. */
OAK_API int oak_profile_each(const oak_profile *p, oak_profile_order order,
                             bool (*fn)(const oak_profile_site *site, void *ctx), void *ctx);

/* ---- writing; p = NULL: a reading made now, without flags ---- */

/** Write it in pprof's format, gzipped, for `go tool pprof` and all that reads the like. Bytes of
 * names that are no UTF-8 are written as \\xHH. 0; or -1 with errno as write(2) sets it: EPIPE and
 * EFBIG (no SIGPIPE or SIGXFSZ is raised), ENOSPC; ENOMEM. No library is needed for it. */
OAK_API int oak_profile_write(const oak_profile *p, int fd);

/** Save it in a file of this name, which is replaced when all has been written; when that fails
 * it is as it was, and nothing is left behind. What is no regular file, /dev/stdout for one, is
 * written to as it is. 0, or -1 with errno. */
OAK_API int oak_profile_save(const oak_profile *p, const char *path);

/** Print the first `top` sites as text, a line each with its innermost frames. 0, or -1 with
 * errno. */
OAK_API int oak_profile_print(const oak_profile *p, int fd, oak_profile_order order, size_t top);

OAK_END_DECLS

#endif
