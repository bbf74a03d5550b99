/* why.h - why an object is alive: the path from a root to it, and the bytes that an object or a
 * root word alone keeps alive. A root word can be masked, so that the collector ignores it.
 *
 * The functions read an image of the heap. The world stops for as long as a fork takes; then the
 * program goes on, and a child process reads the heap as it was. The program's wait functions don't
 * see the child, and it raises no SIGCHLD. Without a child process, the pause lasts for the whole
 * call. That is the case under ThreadSanitizer, and when the system refuses memory for the fork.
 *
 * No function collects, but some allocate metadata. None may be called from a mark function or a
 * signal handler. Calls of several threads run one after the other. */
#ifndef OAKUM_WHY_H
#define OAKUM_WHY_H

#include <oakum/base.h>

OAK_BEGIN_DECLS

/** The kind of a root: of the start of a path. */
typedef enum oak_root_kind {
    OAK_ROOT_NONE,      /* no root reaches the object */
    OAK_ROOT_GLOBAL,    /* a word in the data of the program or of a shared library */
    OAK_ROOT_RANGE,     /* a word in a range of oak_root_add */
    OAK_ROOT_PINNED,    /* a pinned object: it is its own root */
    OAK_ROOT_TLS,       /* a word in a thread's thread-local storage */
    OAK_ROOT_STACK,     /* a word in a thread's stack */
    OAK_ROOT_REGISTER,  /* a register of a thread */
    OAK_ROOT_FIBER,     /* a word in the stack of a fiber that a thread runs on */
    OAK_ROOT_FINALIZER, /* a finalizer keeps its context, and its object once it is due */
    OAK_ROOT_CLEANUP,   /* a cleanup keeps its context */
    /* no root, but a finalizer that has not run yet keeps the object. It is the object's own, or
     * that of an object that reaches it. An object that reaches itself stays for ever */
    OAK_ROOT_WAITING,
    /* Oakum itself: with a thread, the fiber that it runs on; without one, an object that the
     * runtime of a language on Oakum has marked */
    OAK_ROOT_RUNTIME
} oak_root_kind;

/** A root: a word that refers to an object, or a root that is not in a word. */
typedef struct oak_root_info {
    oak_root_kind kind;
    int thread;            /* id of the thread that the word belongs to; 0: none */
    bool caller;           /* the word belongs to the calling thread */
    const void *address;   /* of the word; NULL: the root is not in a word */
    const void *value;     /* the contents of the word */
    size_t offset;         /* of the word in the symbol `where`; SIZE_MAX: not known */
    char thread_name[16];
    /* The symbol of a global or thread-local variable, the name of a register, or a finalizer's
     * function. For a word in a stack, the function of its frame; return addresses near the word
     * show it, so it is likely, but not certain. Empty: not known */
    char where[112];
    char file[160];        /* program or library that contains `where` or the word; or empty */
} oak_root_info;

/** A step of a path: an object, and the word of the previous object that refers to it. */
typedef struct oak_step {
    const void *object;
    size_t size;           /* usable bytes */
    const char *type;      /* the type's name, or "conservative", "noscan", "pinned" */
    size_t offset;         /* of the word in the previous object; SIZE_MAX: not known; root: 0 */
    size_t interior;       /* offset in this object to which the word points */
    /* The meaning of the word: "key 42", "oldbuckets", "ephemeron"; empty: not known */
    char label[96];
} oak_step;

/** A shortest path from a root to an object. */
typedef struct oak_path {
    oak_root_info root;    /* of kind OAK_ROOT_NONE if nothing reaches the object */
    size_t length;         /* number of objects on the path; the last one is the requested one */
    /* The number of steps: all, or the first and last OAK_PATH_STEPS / 2 of a longer path. */
    size_t nsteps;
    const oak_step *steps;
    const void *object;    /* the start of the requested object */
    size_t size;
} oak_path;

#define OAK_PATH_STEPS 128

/** Find a shortest path from a root to the object that p points to or into. The path is freed with
 * oak_path_free; it keeps no object alive.
 *
 * Registers of other threads, and words that point one past an object's end, count only if no other
 * word reaches the object. Words of the calling thread count after all others. Of these, words
 * equal to p count last, as the call itself makes some. So `root.caller` means that nothing else
 * keeps the object alive.
 *
 * Returns NULL with errno. EINVAL: p is in no live object. ENOMEM: no memory. ETIMEDOUT: the search
 * took a minute. EIO: the child process died. */
OAK_API oak_path *oak_why_alive(const void *p);

/** Free a path. NULL is allowed. */
OAK_API void oak_path_free(oak_path *path);

/** Write the path as text, a line for each step. At most n bytes are stored in out, with the NUL.
 * Returns the whole length without the NUL. */
OAK_API size_t oak_path_format(const oak_path *path, char *out, size_t n);

/** Write the text of oak_path_format to a file descriptor. Returns 0, or -1 with errno; EPIPE for a
 * closed pipe, without a signal. */
OAK_API int oak_path_write(const oak_path *path, int fd);

/** Write a root as text: one line, without a newline. out, n and the result are as in
 * oak_path_format. */
OAK_API size_t oak_root_format(const oak_root_info *root, char *out, size_t n);

/** The retained size of n objects: the bytes that would be free if all of them were dead. These are
 * their own bytes and those of all objects that only they keep alive. Each is given by a pointer to
 * it or into it; unreachable objects count for nothing. Unless count is NULL, *count gets the
 * number of these objects. Returns SIZE_MAX with errno as in oak_why_alive. */
OAK_API size_t oak_retained_size(const void *const *objects, size_t n, size_t *count);

/* ---- false retention ---- */

enum { OAK_SUSPECT_WORDS = 8 };

/** A root word that alone keeps objects alive. Words of one thread's stack and registers with the
 * same value are one suspect, as a value is often in several places at once. */
typedef struct oak_suspect {
    oak_root_info root;  /* the first of the words */
    size_t bytes;        /* that would be free without the words */
    size_t objects;      /* number of objects with these bytes */
    const void *object;  /* the object that the words refer to; size and type are its own */
    size_t size;
    const char *type;
    unsigned words;      /* number of words */
    const void *address[OAK_SUSPECT_WORDS]; /* addresses of the first words */
} oak_suspect;

/** Find the root words that alone keep the most bytes alive: in globals, thread-local storage,
 * ranges, stacks and registers. Up to max suspects are stored in out, the most bytes first. Objects
 * that several suspects keep alive are in no suspect's figures.
 *
 * The suspects contain addresses of objects. If `out` is on a stack or in static data, they keep
 * these objects alive. Returns how many were stored, or -1 with errno. */
OAK_API int oak_false_retention(oak_suspect *out, size_t max);

/** Mask the word of a root: the collector ignores the word while it has the value `root->value`.
 * Once the value changes, or the word's thread ends, the word counts again. For stale words only:
 * if the program still uses such a word's object, it uses freed memory. For data that is never a
 * root, use oak_root_exclude. Returns 0, or -1 with ENOMEM, or with EINVAL if the root is not in a
 * word. */
OAK_API int oak_root_mask(const oak_root_info *root);

/** As oak_root_mask, for all words that a suspect lists. */
OAK_API int oak_suspect_mask(const oak_suspect *suspect);

/** Remove all masks. Returns how many there were. */
OAK_API size_t oak_root_unmask(void);

OAK_END_DECLS

#endif
