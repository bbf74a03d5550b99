/* snapshot.h - the whole heap in a file: written from a running program, read by any.
 *
 * The format is Oakum's own (docs/snapshot.md); it can be turned into what Chrome's DevTools and
 * memlab read. Reading needs no heap: a snapshot may come from another program. Whatever is in the
 * file, reading it ends in an error or in a snapshot that is sound. */
#ifndef OAKUM_SNAPSHOT_H
#define OAKUM_SNAPSHOT_H

#include <oakum/base.h>
#include <oakum/why.h>

OAK_BEGIN_DECLS

/* ---- writing ---- */

/** Zero is what is usual. */
typedef struct oak_snapshot_options {
    bool no_keys;        /* leave the keys of map entries out, which may be secrets */
    size_t max_keys;     /* keys at most; 0: 1,000,000 */
    uint64_t timeout_ns; /* 0: ten minutes */
    bool in_stop_;       /* for tests: as if no child could be had */
} oak_snapshot_options;

/** What it cost. */
typedef struct oak_snapshot_cost {
    uint64_t pause_ns;   /* that the world stood */
    uint64_t total_ns;
    uint64_t bytes;      /* of the file */
    uint64_t objects, edges;
    uint64_t extra_memory; /* bytes that the child had for itself, at most: tables, and pages that
                            * were written meanwhile; 0 when the system doesn't tell */
    bool stopped;        /* no child could be had: the world stood all the while */
} oak_snapshot_cost;

/** Save all that lives. The file appears under its name when it is complete; until then, and when
 * anything fails, whatever was there stays. 0, or -1 with errno: ENOSPC, EPIPE, EFBIG, ETIMEDOUT,
 * EIO when the child died. Stops the world for as long as a fork takes (why.h). */
OAK_API int oak_snapshot_save(const char *path);

/** The same with options and costs, each of which may be NULL. */
OAK_API int oak_snapshot_save_with(const char *path, const oak_snapshot_options *options,
                                   oak_snapshot_cost *cost);

/** The same to a file descriptor: a pipe, a socket. What is written before a failure can't be
 * taken back; a reader finds that its end is missing. */
OAK_API int oak_snapshot_write(int fd, const oak_snapshot_options *options,
                               oak_snapshot_cost *cost);

/* ---- reading ---- */

typedef struct oak_snapshot oak_snapshot;

/** Read all of a file ("-": standard input) and check it. NULL with errno (EBADMSG: it is no
 * snapshot, or not a whole one) and, if error is not NULL, a line in it that says what is wrong and
 * at which byte. Memory is in proportion to the file. */
OAK_API oak_snapshot *oak_snapshot_open(const char *path, char *error, size_t n);
OAK_API void oak_snapshot_close(oak_snapshot *s);

typedef struct oak_snapshot_info {
    uint32_t version;       /* of the format */
    const char *oakum;      /* of the program that wrote it */
    const char *program;
    uint64_t pid, time;     /* seconds since 1970 */
    uint64_t heap_base, heap_used;
    uint64_t bytes;         /* of the file */
    uint64_t objects, object_bytes, edges, roots, threads, types, keys;
    bool keys_cut;          /* there were more than were asked for */
} oak_snapshot_info;

OAK_API void oak_snapshot_info_read(const oak_snapshot *s, oak_snapshot_info *out);

/** An object, by its number in order of address. */
typedef struct oak_snapshot_object {
    uint64_t address, size;
    const char *type;    /* as oak_step's */
    uint64_t edges;      /* words in it that refer to objects */
    uint64_t retained;   /* bytes that it alone keeps, itself included; 0 before
                          * oak_snapshot_analyse */
    uint64_t dominator;  /* number of the object that all paths to it lead through; UINT64_MAX:
                          * there is none, or not analysed */
} oak_snapshot_object;

/** 0, or -1 with EINVAL. */
OAK_API int oak_snapshot_object_read(const oak_snapshot *s, uint64_t number,
                                     oak_snapshot_object *out);

/** The object that an address is in; -1 with EINVAL when there is none. */
OAK_API int oak_snapshot_find(const oak_snapshot *s, uint64_t address, uint64_t *number);

typedef struct oak_snapshot_edge {
    uint64_t target;   /* number */
    uint64_t offset;   /* of the word; UINT64_MAX: not known */
    uint64_t interior; /* how far into the target it points */
    const char *label; /* the key of the map entry that the word is in, or NULL */
    bool ephemeron;    /* from a key to the value that it keeps together with its ephemeron */
} oak_snapshot_edge;

/** Edge i of an object. 0, or -1 with EINVAL. */
OAK_API int oak_snapshot_edge_read(const oak_snapshot *s, uint64_t number, uint64_t i,
                                   oak_snapshot_edge *out);

/** Root i; the number of the object that it refers to in *target. 0, or -1 with EINVAL. */
OAK_API int oak_snapshot_root_read(const oak_snapshot *s, uint64_t i, oak_root_info *out,
                                   uint64_t *target);

/** A shortest path from a root, as oak_why_alive's. NULL with EINVAL or ENOMEM. */
OAK_API oak_path *oak_snapshot_why(const oak_snapshot *s, uint64_t address);

/** Find dominators and retained sizes of all objects. 0, or -1 with ENOMEM. */
OAK_API int oak_snapshot_analyse(oak_snapshot *s);

/** The objects that retain the most, most first: numbers. Returns how many, at most max. An object
 * is left out when the one before it in the list dominates it and is not an eighth larger: a chain
 * is told by its head. */
OAK_API size_t oak_snapshot_top(const oak_snapshot *s, uint64_t *out, size_t max);

/** Write it as Chrome's .heapsnapshot. 0, or -1 with errno. */
OAK_API int oak_snapshot_convert(const oak_snapshot *s, int fd);

/** What differs between two, by type: most growth in bytes first. */
typedef struct oak_snapshot_change {
    const char *type; /* of either snapshot: good while both are open */
    uint64_t objects_before, objects_after, bytes_before, bytes_after;
} oak_snapshot_change;

/** Returns how many were stored, at most max; *total, if not NULL, is how many there are. -1 with
 * ENOMEM. */
OAK_API int oak_snapshot_diff(const oak_snapshot *before, const oak_snapshot *after,
                              oak_snapshot_change *out, size_t max, size_t *total);

OAK_END_DECLS

#endif
