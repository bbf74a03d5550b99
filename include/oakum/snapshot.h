/* snapshot.h - heap snapshots: the whole heap of a running program in a file.
 *
 * The format is Oakum's own (docs/formats.md). It can be converted for Chrome's DevTools and
 * memlab. Any program can read the snapshot of another; reading doesn't start the heap. A damaged
 * or malicious file gives an error, or a snapshot that is safe to use.
 *
 * The functions don't collect. Any thread may call them, but not from a signal handler or a mark
 * function. Several threads may read one snapshot at once, but not while one analyses or closes
 * it. */
#ifndef OAKUM_SNAPSHOT_H
#define OAKUM_SNAPSHOT_H

#include <oakum/base.h>
#include <oakum/why.h>

OAK_BEGIN_DECLS

/* ---- writing ---- */

/** Options of saving. All zero is the default. */
typedef struct oak_snapshot_options {
    bool no_keys;        /* leave out the keys of map entries, which may be secret */
    size_t max_keys;     /* the most keys that are written; 0: 1,000,000 */
    uint64_t timeout_ns; /* 0: ten minutes */
    bool in_stop_;       /* for tests: as if there could be no child process */
} oak_snapshot_options;

/** The cost of a snapshot. */
typedef struct oak_snapshot_cost {
    uint64_t pause_ns;   /* how long the world was stopped */
    uint64_t total_ns;
    uint64_t bytes;      /* size of the file */
    uint64_t objects, edges;
    uint64_t extra_memory; /* the most memory of the child's own, in bytes: tables, and pages that
                            * the program wrote meanwhile; 0: not known */
    bool stopped;        /* there was no child process, so the pause lasted all the time */
} oak_snapshot_cost;

/** Save all live objects in a file. The file replaces an older one once it is complete; on failure
 * the older one stays. Stops the world for as long as a fork takes (why.h). Returns 0, or -1 with
 * errno: ENOSPC, EPIPE, EFBIG, ETIMEDOUT, or EIO if the child process died. */
OAK_API int oak_snapshot_save(const char *path);

/** As oak_snapshot_save, with options; *cost gets the cost. Both may be NULL. */
OAK_API int oak_snapshot_save_with(const char *path, const oak_snapshot_options *options,
                                   oak_snapshot_cost *cost);

/** As oak_snapshot_save_with, to a file descriptor, such as a pipe or a socket. After a failure the
 * output is incomplete; oak_snapshot_open detects that. */
OAK_API int oak_snapshot_write(int fd, const oak_snapshot_options *options,
                               oak_snapshot_cost *cost);

/* ---- reading ---- */

/** A snapshot in memory. */
typedef struct oak_snapshot oak_snapshot;

/** Read and check a snapshot from a file, or from standard input if path is "-". It takes memory in
 * proportion to the file, and is freed with oak_snapshot_close. Returns NULL with errno. EBADMSG:
 * the file is no snapshot, or incomplete. On any failure, unless error is NULL, it gets one line of
 * at most n bytes: the fault, and the byte in the file. */
OAK_API oak_snapshot *oak_snapshot_open(const char *path, char *error, size_t n);

/** Free a snapshot. NULL is allowed. */
OAK_API void oak_snapshot_close(oak_snapshot *s);

/** The contents of a snapshot in short. */
typedef struct oak_snapshot_info {
    uint32_t version;       /* of the format */
    const char *oakum;      /* version of Oakum in the program; strings live as the snapshot does */
    const char *program;    /* that wrote the snapshot */
    uint64_t pid, time;     /* time: seconds since 1970 */
    uint64_t heap_base, heap_used; /* address; bytes from there that have been used */
    uint64_t bytes;         /* size of the file */
    uint64_t objects, object_bytes, edges, roots, threads, types, keys;
    bool keys_cut;          /* the heap had more keys than max_keys */
} oak_snapshot_info;

/** Read the figures of a snapshot into *out. */
OAK_API void oak_snapshot_info_read(const oak_snapshot *s, oak_snapshot_info *out);

/** An object of a snapshot. Objects are numbered from 0 in order of address. */
typedef struct oak_snapshot_object {
    uint64_t address, size;
    const char *type;    /* as in oak_step */
    uint64_t edges;      /* number of the object's words that refer to objects */
    uint64_t retained;   /* bytes that it alone keeps alive, itself included; 0 before
                          * oak_snapshot_analyse */
    uint64_t dominator;  /* number of the nearest object that all paths to it lead through;
                          * UINT64_MAX: there is none, or the snapshot isn't analysed */
} oak_snapshot_object;

/** Read the object with this number into *out. Returns 0, or -1 with EINVAL. */
OAK_API int oak_snapshot_object_read(const oak_snapshot *s, uint64_t number,
                                     oak_snapshot_object *out);

/** Find the object that contains an address, and store its number in *number. Returns 0, or -1 with
 * EINVAL if there is none. */
OAK_API int oak_snapshot_find(const oak_snapshot *s, uint64_t address, uint64_t *number);

/** An edge: a word of an object that refers to another object. */
typedef struct oak_snapshot_edge {
    uint64_t target;   /* number of the object that it refers to */
    uint64_t offset;   /* of the word in its object; UINT64_MAX: not known */
    uint64_t interior; /* offset in the target to which the word points */
    const char *label; /* key of the map entry that contains the word, or NULL */
    bool ephemeron;    /* from the key of an ephemeron to its value */
} oak_snapshot_edge;

/** Read edge i of the object `number` into *out. Returns 0, or -1 with EINVAL. */
OAK_API int oak_snapshot_edge_read(const oak_snapshot *s, uint64_t number, uint64_t i,
                                   oak_snapshot_edge *out);

/** Read root i into *out, and the number of the object that it refers to into *target. Returns 0,
 * or -1 with EINVAL. */
OAK_API int oak_snapshot_root_read(const oak_snapshot *s, uint64_t i, oak_root_info *out,
                                   uint64_t *target);

/** A shortest path from a root to the object that contains an address, as oak_why_alive finds it.
 * Freed with oak_path_free. Returns NULL with EINVAL or ENOMEM. */
OAK_API oak_path *oak_snapshot_why(const oak_snapshot *s, uint64_t address);

/** Compute the dominators and retained sizes of all objects. Returns 0, or -1 with ENOMEM. */
OAK_API int oak_snapshot_analyse(oak_snapshot *s);

/** Store the numbers of up to max objects that retain the most bytes, in falling order. Returns how
 * many were stored. Of a chain of objects only the head is listed. That is, an object is left out
 * if the previous one dominates it and retains less than an eighth more. */
OAK_API size_t oak_snapshot_top(const oak_snapshot *s, uint64_t *out, size_t max);

/** Write the snapshot to fd in Chrome's .heapsnapshot format. Returns 0, or -1 with errno. */
OAK_API int oak_snapshot_convert(const oak_snapshot *s, int fd);

/** The difference of two snapshots in objects of one type. */
typedef struct oak_snapshot_change {
    const char *type; /* valid while both snapshots are open */
    uint64_t objects_before, objects_after, bytes_before, bytes_after;
} oak_snapshot_change;

/** Compare two snapshots by type. Up to max changes are stored in out, the largest growth in bytes
 * first. Unless total is NULL, *total gets the number of all changes. Returns how many were stored,
 * or -1 with ENOMEM. */
OAK_API int oak_snapshot_diff(const oak_snapshot *before, const oak_snapshot *after,
                              oak_snapshot_change *out, size_t max, size_t *total);

OAK_END_DECLS

#endif
