/* why.h - why is it alive: the path from a root to an object, what an object or a root word alone
 * keeps, and how to make the collector look past a word.
 *
 * All of it looks at an image: the world stops for as long as a fork takes, and the program goes on
 * while a child process looks at the heap as it was. Where no child can be had (memory that may not
 * be overcommitted, ThreadSanitizer) the world stands for the whole of it. No call collects, though
 * one may allocate metadata; none may be called from a mark function or a signal handler. Calls
 * from several threads at once are made one after the other. The child is not seen by the
 * program's wait functions, and raises no SIGCHLD. */
#ifndef OAKUM_WHY_H
#define OAKUM_WHY_H

#include <oakum/base.h>

OAK_BEGIN_DECLS

/** What a path begins at. */
typedef enum oak_root_kind {
    OAK_ROOT_NONE,
    OAK_ROOT_GLOBAL,    /* a word in the data of the program or of a shared library */
    OAK_ROOT_RANGE,     /* in a range of oak_root_add */
    OAK_ROOT_PINNED,    /* a pinned object: it is its own root */
    OAK_ROOT_TLS,       /* in a thread's thread-local storage */
    OAK_ROOT_STACK,     /* in a thread's stack */
    OAK_ROOT_REGISTER,  /* a register of a thread */
    OAK_ROOT_FIBER,     /* in the stack of a fiber that a thread runs on */
    OAK_ROOT_FINALIZER, /* a finalizer keeps its context, and once it is due, its object */
    OAK_ROOT_CLEANUP,   /* a cleanup keeps its context */
    /* nothing reaches it, and it stays until a finalizer has run: its own, or that of an object
     * that reaches it. One that is reachable from itself stays for ever */
    OAK_ROOT_WAITING,
    /* Oakum's own: the fiber that a thread runs on; or, without a thread, what a language on top of
     * Oakum has marked by itself */
    OAK_ROOT_RUNTIME
} oak_root_kind;

/** A root word, or what is a root without being in a word. */
typedef struct oak_root_info {
    oak_root_kind kind;
    int thread;            /* id of the thread whose word it is; 0: none */
    bool caller;           /* it is the calling thread's */
    const void *address;   /* of the word; NULL when it is in none */
    const void *value;     /* what is in it */
    size_t offset;         /* of the word from the symbol's start; SIZE_MAX: not known */
    char thread_name[16];
    /* A global's or a thread-local variable's symbol; the function in whose frame a stack's word
     * is, which is told by return addresses near it, and so is likely, not certain; a register; a
     * finalizer's function. Empty: not known */
    char where[112];
    char file[160];        /* the loaded object that `where` is in, or the word; or empty */
} oak_root_info;

/** How an object on a path is reached from the one before. */
typedef struct oak_step {
    const void *object;
    size_t size;           /* usable bytes */
    const char *type;      /* its type's name; "conservative", "noscan", "pinned" for others */
    size_t offset;         /* of the word in the object before; SIZE_MAX: not known; a root's: 0 */
    size_t interior;       /* how far into this object the word points */
    /* What the word is, where that is known: "key 42", "oldbuckets", "ephemeron"; or empty */
    char label[96];
} oak_step;

/** A shortest path. */
typedef struct oak_path {
    oak_root_info root;    /* its kind is OAK_ROOT_NONE when nothing reaches the object */
    size_t length;         /* objects on the path, the last is the one that was asked about */
    /* Those that are told: all, or the first and last OAK_PATH_STEPS / 2 of a longer path. */
    size_t nsteps;
    const oak_step *steps;
    const void *object;    /* the start of the object that was asked about */
    size_t size;
} oak_path;

#define OAK_PATH_STEPS 128

/** A shortest path from a root to the object that p points to or into. Registers of other threads,
 * and words one past an object's end, are looked at only when nothing else leads there. Words of
 * the calling thread come after all others, those that are p itself last, as the call makes some:
 * `root.caller` says that nothing else keeps the object. NULL with EINVAL when p is in no live
 * object of the heap, ENOMEM, ETIMEDOUT after a minute, EIO when the child died. The path is freed
 * with oak_path_free; it keeps nothing alive. */
OAK_API oak_path *oak_why_alive(const void *p);
OAK_API void oak_path_free(oak_path *path);

/** The path in words, a line for each step, with a newline and a NUL at the end; cut where n ends.
 * Returns the length that all of it has. */
OAK_API size_t oak_path_format(const oak_path *path, char *out, size_t n);

/** The same to a file descriptor. 0, or -1 with errno; a closed pipe is EPIPE, and no signal. */
OAK_API int oak_path_write(const oak_path *path, int fd);

/** A root in words, one line without its end. As oak_path_format. */
OAK_API size_t oak_root_format(const oak_root_info *root, char *out, size_t n);

/** Bytes of the heap that would be free if the n objects, each given by a pointer to it or into it,
 * were gone: theirs and those of all that only they keep. *count, if not NULL, is how many objects
 * that is. What nothing reaches now counts for nothing. SIZE_MAX with errno as oak_why_alive. */
OAK_API size_t oak_retained_size(const void *const *objects, size_t n, size_t *count);

/* ---- false retention ---- */

enum { OAK_SUSPECT_WORDS = 8 };

/** A word that alone keeps something. Words of one thread's stack and registers that hold the same
 * are one suspect, as a value is often in several places at once. */
typedef struct oak_suspect {
    oak_root_info root;  /* the first of the words */
    size_t bytes;        /* that would be free without it */
    size_t objects;
    const void *object;  /* that it refers to, its size and its type's name */
    size_t size;
    const char *type;
    unsigned words;      /* how many there are */
    const void *address[OAK_SUSPECT_WORDS]; /* of the first of them */
} oak_suspect;

/** The root words (globals, thread-local storage, ranges, stacks, registers) that alone keep the
 * most bytes, most first. Returns how many were stored, at most max; -1 with errno. What several
 * words keep together is in no one's figure. What is stored has addresses of objects in it: where
 * `out` is scanned, on a stack or in static data, it keeps them. */
OAK_API int oak_false_retention(oak_suspect *out, size_t max);

/** From here on the collector looks past the word of this root for as long as it holds what it held
 * when it was found; once it has changed, or its thread has gone, it counts again. For words that
 * the program knows to be stale: if it uses what it refers to all the same, it uses freed memory.
 * 0, or -1 with EINVAL when the root is in no word, ENOMEM. oak_root_exclude is for words of data
 * that never count. */
OAK_API int oak_root_mask(const oak_root_info *root);

/** The same for all words of a suspect that it lists. */
OAK_API int oak_suspect_mask(const oak_suspect *suspect);

/** Every mask is gone. Returns how many there were. */
OAK_API size_t oak_root_unmask(void);

OAK_END_DECLS

#endif
