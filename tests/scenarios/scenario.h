/* scenario.h - what a leak scenario is, what it may use, and what it reports.
 *
 * A scenario is one file with one `const scn_scenario`. Its body runs in a child process of its
 * own, on the child's main thread, and sends rows to the parent. A body that is about maps is
 * written against struct scn_map_policy and runs once for each policy, so that it never names a
 * map of one kind.
 *
 * Rules for a body, as the collector is conservative: whatever touches heap objects runs in a
 * function given to scn_on_thread, so that its stack and registers are gone before anything is
 * measured; what must stay alive in between hangs on a static variable, and large structs
 * (oak_memstats) are static, as what a frame has not written yet is stale; a figure is scn_live()
 * minus scn_live() at the start. Public headers only. */
#ifndef SCN_SCENARIO_H
#define SCN_SCENARIO_H

#include <oakum/oakum.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct scn scn;

/* ---- maps, whatever their policy ---- */

typedef struct scn_string {
    const char *data;
    size_t len;
} scn_string;

/* Go's interface value: a type word and a pointer to the value. */
typedef struct scn_any {
    const void *type;
    void *data;
} scn_any;

/* Key, value, the bytes of each, the flags of their pointers. Values of zero bytes make a set. */
#define SCN_KINDS(X)                             \
    X(INT_INT, SCN_KEY_INT, 8, 8, false)         \
    X(INT_NONE, SCN_KEY_INT, 8, 0, false)        \
    X(INT_128, SCN_KEY_INT, 8, 128, false)       \
    X(INT_1024, SCN_KEY_INT, 8, 1024, false)     \
    X(INT_PTR, SCN_KEY_INT, 8, 8, true)          \
    X(STRING_INT, SCN_KEY_STRING, 16, 8, false)  \
    X(STRING_NONE, SCN_KEY_STRING, 16, 0, false) \
    X(STRING_PTR, SCN_KEY_STRING, 16, 8, true)   \
    X(STRING_ANY, SCN_KEY_STRING, 16, 16, true)  \
    X(STRING_24, SCN_KEY_STRING, 16, 24, true)   \
    X(STRING_32, SCN_KEY_STRING, 16, 32, true)   \
    X(PTR_NONE, SCN_KEY_PTR, 8, 0, false)        \
    X(ANY_NONE, SCN_KEY_ANY, 16, 0, false)       \
    X(DOUBLE_INT, SCN_KEY_DOUBLE, 8, 8, false)   \
    X(GROUPED_INT, SCN_KEY_GROUPED, 8, 8, false) \
    X(GROUPED_PTR, SCN_KEY_GROUPED, 8, 8, true)

typedef enum scn_kind {
#define SCN_KIND_NAME(name, key, key_size, value_size, value_pointers) SCN_##name,
    SCN_KINDS(SCN_KIND_NAME)
#undef SCN_KIND_NAME
        SCN_KIND_COUNT
} scn_kind;

typedef enum scn_key_class {
    SCN_KEY_INT,
    SCN_KEY_STRING,
    SCN_KEY_PTR,
    SCN_KEY_ANY,
    SCN_KEY_DOUBLE,
    SCN_KEY_GROUPED /* integers that share scn_hash_groups hashes */
} scn_key_class;

/* How many hashes the keys of a grouped map have: key % groups tells which. Constant while such a
 * map is in use. */
extern int64_t scn_hash_groups;

/* Where an iterator stands, for the policies whose maps have two arrays while they grow. */
typedef enum scn_place { SCN_PLACE_NONE, SCN_PLACE_OLD, SCN_PLACE_NEW } scn_place;

/* An iterator of any policy: in a static, in the heap or on a stack. */
typedef struct scn_iter {
    const void *key;
    void *value;
    union {
        oak_classic_iter classic;
        oak_map_iter map;
    } u;
} scn_iter;

/* What a map says of itself. Fields that a policy has no notion of are 0. */
typedef struct scn_map_stats {
    size_t count;
    size_t array_bytes, old_array_bytes;
    size_t overflow, overflow_bytes; /* buckets, and bytes of those that lie outside the array */
    size_t old_buckets, evacuated;   /* how far a growth is: so many of so many */
    size_t longest_chain;
    double mean_chain;
    size_t in_overflow; /* entries that are not in the bucket, or group, of their hash */
    size_t unfindable;  /* whose key equals nothing */
    bool growing, bad_hash;
    uint64_t growths, same_size_growths;
} scn_map_stats;

typedef struct scn_map_policy {
    const char *name;     /* "classic": in JSON, and the column's title */
    bool leaks_as_go;     /* which column of expectations holds: Go's, or none may leak */
    bool overwrites_move; /* a growth goes on by overwrites too, not only by put and delete */
    void *(*new)(scn_kind kind, size_t hint);
    void *(*get)(const void *m, const void *key);
    void *(*put)(void *m, const void *key); /* never NULL: out of memory ends the child */
    bool (*delete)(void *m, const void *key);
    void (*clear)(void *m);
    size_t (*len)(const void *m);
    void (*iter_init)(scn_iter *it, const void *m);
    bool (*iter_next)(scn_iter *it);
    scn_place (*iter_place)(const scn_iter *it);
    size_t (*iter_array)(const scn_iter *it); /* bytes of the array in which it stands, 0: none */
    /* Of integers to integers or pointers: entries after which the next new key begins a growth,
     * for an array about as large as 2^B of Go's buckets. */
    int64_t (*limit)(unsigned B);
    void (*stats)(const void *m, scn_map_stats *out); /* O(entries) */
} scn_map_policy;

/* An empty map of integers for which limit() holds in every run: a seed is set, as with one in 25
 * the default map of 400,000 entries has a stretch that is crowded, and doubles before. */
void *scn_new_limited(const scn_map_policy *p, scn_kind kind);

extern const scn_map_policy *const scn_policies[];
extern const unsigned scn_policy_count;

/* ---- a scenario ---- */

/* Fine enough for what scenarios retain, and without a weight of its own. */
#define SCN_PROFILE_RATE ((size_t)16 << 10)

typedef struct scn_scenario {
    const char *id;
    char class; /* M caused by the map, U by the program, G collector or allocator, N no leak */
    const char *source;      /* article and section */
    const char *leak;        /* in one line */
    bool maps;               /* run once for each policy; otherwise once */
    bool alone;              /* it measures time: nothing runs beside it */
    size_t profile_rate;     /* 0: SCN_PROFILE_RATE */
    const char *environment; /* "NAME=value" that Oakum finds at its start, or NULL */
    void (*run)(scn *s);
} scn_scenario;

/* All of them, in the table's order; NULL ends the list. */
extern const scn_scenario *const scn_scenarios[];

/* The map policy of this run. */
const scn_map_policy *scn_policy(const scn *s);

/* ---- rows ---- */

/* SCN_MEASURE: a number with a fraction, whose unit the name tells. */
typedef enum scn_unit { SCN_BYTES, SCN_COUNT, SCN_PERCENT, SCN_RATIO, SCN_MEASURE } scn_unit;

/* Begin a row of the table; the one before it ends. `what` says in a few words what was done. */
void scn_row(scn *s, const char *what, ...) OAK_PRINTF(2, 3);

/* The row's figure, as measured, and Go 1.19's, a constant of docs/scenarios.md. */
void scn_retained(scn *s, double value, scn_unit unit);
void scn_go(scn *s, const char *figure);

/* What led to it: a counter, a map's statistics. Measured too. */
void scn_pointed(scn *s, const char *format, ...) OAK_PRINTF(2, 3);

void scn_pointed_too(scn *s, const char *format, ...) OAK_PRINTF(2, 3);

/* A further figure of the row, for --verbose and --json. */
void scn_figure(scn *s, const char *name, double value, scn_unit unit);

/* The row passes when every expectation holds. Names say what was measured. */
void scn_expect(scn *s, const char *name, double seen, double low, double high);
void scn_expect_true(scn *s, const char *name, bool seen);

/* Within `percent` of want, or 64 KiB, whichever is larger (bytes); within percent alone
 * (everything else). */
void scn_expect_bytes(scn *s, const char *name, double seen, double want, double percent);
void scn_expect_ratio(scn *s, const char *name, double seen, double want, double percent);

/* At most 64 KiB, either way. */
void scn_expect_none(scn *s, const char *name, double bytes);

/* The row could not run here, and why. It does not fail. */
void scn_skip(scn *s, const char *why);

/* End the child: the running row fails with this line. */
OAK_NORETURN void scn_die(const char *format, ...) OAK_PRINTF(1, 2);

/* ---- what must point at it (diagnose.c) ---- */

/* What the function, of the scenario's file, has allocated, by the profile. */
typedef struct scn_site {
    double alloc_objects, alloc_bytes, inuse_objects, inuse_bytes;
    bool named; /* functions have names in this program */
} scn_site;

scn_site scn_site_of(const char *function);

/* The function in which most of the bytes in use were allocated is this one, of the scenario's
 * file. What was allocated since the last collection doesn't count: after scn_live. */
void scn_expect_site(scn *s, const char *function);

/* Remember the profile; the function whose bytes in use have grown most since then is this one, by
 * so much. */
void scn_profile_mark(void);
void scn_expect_growth(scn *s, const char *function, double bytes, double percent);

/* The part of the bytes in use, by the profile, that was allocated with this label. */
void scn_expect_label(scn *s, const char *key, const char *value, double low, double high);

/* Finds an object. It is called on a thread that ends, so that no word of its search stays. */
typedef void *scn_find(void);

#define SCN_FIND(name, expression)              \
    static void *name(void)                     \
    {                                           \
        return (void *)(uintptr_t)(expression); \
    }

/* The path to the object that object() points to or into begins at a root of this kind whose name
 * has `where` in it, and one of its steps has `step` in its label or, where it has none, its type,
 * if that isn't NULL. Returns how far into the last object the path's last word points. */
size_t scn_expect_path(scn *s, scn_find *object, oak_root_kind kind, const char *where,
                       const char *step);

/* ---- the leak detector (detect.c) ---- */

/* It looks in each scn_live, from the scenario's beginning on, and what it finds that the row
 * under way does not expect fails the row. Forget what was found and seen; NULL: the usual
 * thresholds. */
void scn_detector_begin(const oak_detector_config *cfg);

/* Collect and look. */
void scn_detector_look(void);

/* At the last look there was a finding of this kind, with `subject` in its subject unless NULL. */
void scn_expect_found(scn *s, oak_finding_kind kind, const char *subject);

/* Whether there was one, which is then expected: of a program that is over when its row begins. */
bool scn_detector_finds(oak_finding_kind kind, const char *subject);

/* How many it is about, now: threads of blocked ones. 0: there is none. Expected by nobody. */
double scn_detector_counts(oak_finding_kind kind);

/* Nothing but notes was found since the beginning. */
void scn_expect_quiet(scn *s);

/* ---- logs and metrics (figures.c) ---- */

/* The log of collections is on in between, for some dozens of them; then a figure of the last line,
 * by its name, or the sum of all lines'. scn_log_collection: two that are asked for. */
void scn_log_begin(void);
void scn_log_end(void);
void scn_log_collection(void);
double scn_log_figure(const char *member);
double scn_log_sum(const char *member);

/* Scrape /metrics of the debug server, if there can be one; then a figure of it, by its name with
 * labels. */
bool scn_metrics_read(void);
double scn_metric(const char *name);

/* ---- measuring (measure.c) ---- */

#define SCN_NOISE 65536.0 /* what "nothing" may weigh */

/* Live heap bytes after two full collections. */
double scn_live(void);

/* The same, all figures. */
void scn_live_stats(oak_memstats *out);

/* Overwrite what earlier calls left on this stack below the caller's frame. */
void scn_clear_stack(void);

/* A point of the scenario's plot: so much is live now. scn_live does it. (report.c) */
void scn_sample_live(double bytes);

/* Run fn(arg) on a thread that has finished, and detached, on return. */
void scn_on_thread(void (*fn)(void *arg), void *arg);

/* Statistics of the map in *map, a static variable; read on a thread that ends. */
void scn_stats(const scn_map_policy *p, void *const *map, scn_map_stats *out);

/* ---- threads that wait (gate.c) ---- */

/* What threads wait at until it is opened. A static variable. */
typedef struct scn_gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool open;
    size_t waiting; /* threads that came to it */
} scn_gate;

#define SCN_GATE                                                      \
    {                                                                 \
        PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0 \
    }

/* Wait, in a blocking region; return once `n` threads have come; let all through. */
void scn_gate_wait(scn_gate *g);
void scn_gate_await(scn_gate *g, size_t n);
void scn_gate_open(scn_gate *g);
void scn_gate_close(scn_gate *g); /* for another time, once all are through */

/* A thread that Oakum knows; stack: bytes, or 0. Failing to make one ends the child. */
pthread_t scn_thread_start(void *(*fn)(void *arg), void *arg, size_t stack);

/* Lock, in a blocking region if it is held. */
void scn_lock(pthread_mutex_t *lock);

/* ---- time (gate.c) ---- */

/* Microseconds that this thread has used the processor, which others can't lengthen; and of the
 * clock on the wall. */
double scn_thread_us(void);
double scn_wall_us(void);

/* ---- what a collection takes (twin.c) ---- */

/* A child with the heap as it was when it began. */
typedef struct scn_twin {
    pid_t pid;
    int fd;    /* a byte asks, a time answers */
    double ms; /* of processor time: its fastest collection */
} scn_twin;

/* Only the thread that calls is in the child. */
void scn_twin_begin(scn_twin *t);

/* Their collections, in turn and on the same processor: times that can be compared. They may be
 * timed again. */
void scn_twins_time(scn_twin *const *twins, size_t n);
void scn_twin_end(scn_twin *t);

/* ---- waiting for finalizers (measure.c) ---- */

/* Wait until count reaches `want`, two seconds at most; then until no finalizer is due or runs. */
void scn_settle(const size_t *count, size_t want);

/* p is in use here, and was before: the compiler may neither drop it nor move it away. */
#define scn_keep(p) __asm__ __volatile__("" : : "g"(p) : "memory")

/* The argument, or the end of the child when it is NULL. */
void *scn_must(void *p);

/* Room for a peak of `bytes` beside what runs already. */
bool scn_memory_for(uint64_t bytes);

/* A counter that finalizers add to, on whatever thread, and its reader. */
void scn_count_up(size_t *count);
size_t scn_count(const size_t *count);

/* ---- keys and objects ---- */

/* A string in the heap, formatted from one number. */
scn_string scn_string_new(const char *format, size_t i);

/* m[key] = value, for a map of INT_INT. */
static inline void scn_put_int(const scn_map_policy *p, void *m, int64_t key, int64_t value)
{
    *(int64_t *)p->put(m, &key) = value;
}

/* Due before an overwrite that is to move a growth on: the entry goes first, if it takes that. */
static inline void scn_before_overwrite(const scn_map_policy *p, void *m, int64_t key)
{
    if (!p->overwrites_move) p->delete (m, &key);
}

/* "12,345,678": one of eight buffers in turn. */
const char *scn_thousands(double value);

#endif
