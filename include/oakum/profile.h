/* profile.h - the heap profile: which code allocates how much, and how much of it is live.
 *
 * The profile samples allocated bytes at random: on average one in so many, the rate. It records
 * each object with a sampled byte, together with the allocation's stack and the thread's labels.
 * Stack and labels together are a site. The figures of a site are unbiased estimates of all its
 * allocations, even when the rate changes. With a rate of 1 every object is recorded, and the
 * figures are exact. Sizes are those of slots, as in oak_memstats: an object of 50 bytes counts
 * as 64.
 *
 * The profile is off at first, and then costs nothing. The variable OAKUM_PROFILE_RATE=512K turns
 * it on in any program. OAKUM_PROFILE=FILE turns it on, too, at a rate of 512 KiB unless another is
 * given. When the program ends, Oakum then collects and saves the profile in FILE. %p in FILE
 * stands for the process id; a forked child saves a profile only if FILE has a %p.
 *
 * All functions may be called from any thread, but not from a signal handler. Oakum's own frames
 * are left out: a stack begins where the program calls Oakum. Function names come from debugging
 * information and symbol tables; they are looked up when a site is shown. */
#ifndef OAKUM_PROFILE_H
#define OAKUM_PROFILE_H

#include <oakum/base.h>

OAK_BEGIN_DECLS

/** The usual rate, the same as Go's: one byte in 512 KiB. */
#define OAK_PROFILE_RATE ((size_t)512 << 10)

/** Set the rate: from here on, one byte in `bytes` is sampled. 1: every object is recorded; 0:
 * none. Recorded objects stay in the profile until they die. The call stops the world for some
 * microseconds, so that the rate holds for all later allocations of all threads. Returns 0, or -1
 * with ENOMEM. */
OAK_API int oak_profile_set_rate(size_t bytes);

/** The rate; 0: off. */
OAK_API size_t oak_profile_rate(void);

/* ---- labels ---- */

/** A label of a thread's allocations: a key and a value. Keys and values may be any bytes. If a
 * length is 0, the string ends at its NUL. */
typedef struct oak_label {
    const char *key;
    size_t key_len;
    const char *value; /* NULL: `number` is the value */
    size_t value_len;
    int64_t number;
    const char *unit;  /* of the number: "bytes", "ns"; or NULL */
    size_t unit_len;
} oak_label;

/** Add n labels to the calling thread's. They are copied. A key that the thread has already gets
 * the new value. Threads of oak_thread_create inherit the labels of the thread that creates them.
 *
 * Returns a number >= 0 for oak_labels_pop; or -1 with errno, and nothing has changed. ENOMEM: no
 * memory. EINVAL: a key is missing or empty. E2BIG: more than 64 labels, or 64 KiB in all. Cheap
 * enough for each request: one allocation of metadata, and no lock but this allocation's. */
OAK_API int oak_labels_push(const oak_label *labels, size_t n);

/** As oak_labels_push, for one label with a text as its value. */
OAK_API int oak_label_push(const char *key, const char *value);

/** As oak_labels_push, for one label with a number as its value. unit may be NULL. */
OAK_API int oak_label_push_number(const char *key, int64_t number, const char *unit);

/** Restore the labels from before the push that returned `was`. Later pushes are undone, too. Does
 * nothing if `was` is -1, or has been popped already. */
OAK_API void oak_labels_pop(int was);

/** Run the following statement with a label: OAK_WITH_LABEL("tenant", name) serve();
 * Where break, goto, return or longjmp leaves it, the label stays until an outer one is popped. */
#define OAK_WITH_LABEL(key, value)                                                     \
    for (int oak_was_ = oak_label_push(key, value), oak_once_ = 1; oak_once_ != 0;     \
         oak_once_ = 0, oak_labels_pop(oak_was_))

/** Store the first `max` labels of the calling thread in out, sorted by key. Returns how many
 * labels the thread has. Their strings are valid until the thread pushes or pops a label. */
OAK_API size_t oak_labels_read(oak_label *out, size_t max);

/* ---- reading ---- */

/** A reading of the profile: the figures of all sites at one time. */
typedef struct oak_profile oak_profile;

/** Flags of a reading. */
enum {
    /** The figures of this moment. Without this flag they are those of the end of the last
     * collection, as in Go. Later allocations are left out then, as they had no chance to die. */
    OAK_PROFILE_NOW = 1,
    /** Makes allocated memory the default view of `go tool pprof`, instead of memory in use. */
    OAK_PROFILE_ALLOCS = 2
};

/** Read the profile, without a collection. The reading is freed with oak_profile_free. Returns NULL
 * with ENOMEM. */
OAK_API oak_profile *oak_profile_read(unsigned flags);

/** Subtract the earlier reading `base` from p. p then has the changes between the two, which may be
 * negative. */
OAK_API void oak_profile_subtract(oak_profile *p, const oak_profile *base);

/** Free a reading. NULL is allowed. */
OAK_API void oak_profile_free(oak_profile *p);

/** A frame of a stack: a call in progress. The strings live as long as the process. */
typedef struct oak_frame {
    uintptr_t address;    /* inside the call instruction */
    const char *function; /* or NULL */
    const char *file;     /* or NULL */
    const char *object;   /* the program or library with this code, or NULL */
    int line;             /* or 0 */
    bool inlined;         /* into the next frame */
} oak_frame;

/** A site. Valid during the call of the function that gets it. */
typedef struct oak_profile_site {
    int64_t inuse_bytes, inuse_objects; /* live */
    int64_t alloc_bytes, alloc_objects; /* ever allocated */
    const oak_frame *frames;            /* the innermost first; none if memory was short */
    size_t nframes;
    const oak_label *labels; /* sorted by key; strings have a NUL at their end, too */
    size_t nlabels;
    uint32_t id; /* the same in every reading of this process */
} oak_profile_site;

/** The order of sites: by which of their figures. */
typedef enum oak_profile_order {
    OAK_PROFILE_INUSE_BYTES,
    OAK_PROFILE_INUSE_OBJECTS,
    OAK_PROFILE_ALLOC_BYTES,
    OAK_PROFILE_ALLOC_OBJECTS
} oak_profile_order;

/** Call fn for each site of p until fn returns false. `order` names the figure by which the sites
 * are sorted, the largest first. Sites whose figures are all zero are left out. p = NULL stands for
 * a reading made now, without flags. Returns 0, or -1 with ENOMEM. */
OAK_API int oak_profile_each(const oak_profile *p, oak_profile_order order,
                             bool (*fn)(const oak_profile_site *site, void *ctx), void *ctx);

/* ---- writing; p = NULL stands for a reading made now, without flags ---- */

/** Write p to fd in pprof's format, gzipped, for `go tool pprof` and its kin. Bytes of names that
 * are not UTF-8 are written as \\xHH. Needs no other library. Returns 0, or -1 with ENOMEM or an
 * errno of write(2): ENOSPC, EPIPE, EFBIG and so on. No SIGPIPE or SIGXFSZ is raised. */
OAK_API int oak_profile_write(const oak_profile *p, int fd);

/** Save p in a file, in the format of oak_profile_write. The file is replaced once all is written;
 * on failure it is unchanged, and nothing is left behind. A path that names no regular file, such
 * as /dev/stdout, is written to directly. Returns 0, or -1 with errno. */
OAK_API int oak_profile_save(const oak_profile *p, const char *path);

/** Print the first `top` sites of p as text to fd: a line for each, with its innermost frames.
 * Returns 0, or -1 with errno. */
OAK_API int oak_profile_print(const oak_profile *p, int fd, oak_profile_order order, size_t top);

OAK_END_DECLS

#endif
