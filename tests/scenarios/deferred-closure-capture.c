/* deferred-closure-capture.c - a cleanup that is due at a function's end holds what it will use.
 *
 * What leaks: nothing: 16 MiB are held until the function returns.
 * Why:        what is registered refers to the slice, and must. It is said that a deferred function
 *             which ranges over it holds more, and for longer, than one with an index loop: both
 *             hold the same, and nothing once they have run. Without them the slice is free before
 *             the function returns. In C what is deferred is a cleanup of the thread
 *             (pthread_cleanup_push).
 * Seen by:    the path to the slice from the thread's stack, on which its list of cleanups is. */
#include "scenario.h"

#define PIECES 16
#define PIECE ((size_t)1 << 20)
#define ALL ((double)PIECES * PIECE)

typedef enum form { FORM_RANGE, FORM_INDEX, FORM_NONE } form;

typedef struct closure {
    char **slice;
    size_t len, sum;
} closure;

static form wanted;
static oak_weak *some_piece;
static scn_gate before_end = SCN_GATE, after_end = SCN_GATE;

/* As `for _, piece := range slice`: a copy of the slice's header, and a pointer that moves. */
static void use_by_range(void *arg)
{
    closure *c = arg;
    char **slice = c->slice;

    for (char **piece = slice; piece != slice + c->len; piece++) c->sum += (size_t)(*piece)[0];
    scn_keep(c);
}

static void use_by_index(void *arg)
{
    closure *c = arg;

    for (size_t i = 0; i < c->len; i++) c->sum += (size_t)c->slice[i][0];
    scn_keep(c);
}

static __attribute__((noinline)) closure *make_closure(void)
{
    closure *c = scn_must(oak_alloc(sizeof(*c)));

    c->slice = scn_must(oak_alloc(PIECES * sizeof(*c->slice)));
    c->len = PIECES;
    for (int i = 0; i < PIECES; i++) c->slice[i] = scn_must(oak_alloc_noscan(PIECE));
    some_piece = scn_must(oak_weak_new(c->slice[1]));
    return c;
}

static __attribute__((noinline)) void with_cleanup(void (*use)(void *))
{
    closure *c = make_closure();

    pthread_cleanup_push(use, c);
    scn_gate_wait(&before_end);
    pthread_cleanup_pop(1);
}

static __attribute__((noinline)) void use_now(void)
{
    use_by_index(make_closure());
}

static __attribute__((noinline)) void without_cleanup(void)
{
    use_now();
    scn_clear_stack();
    scn_gate_wait(&before_end);
}

static void *function(void *arg)
{
    (void)arg;
    if (wanted == FORM_NONE)
        without_cleanup();
    else
        with_cleanup(wanted == FORM_RANGE ? use_by_range : use_by_index);
    scn_clear_stack();
    scn_gate_wait(&after_end);
    return NULL;
}

SCN_FIND(find_some_piece, oak_weak_get(some_piece))

static void capture_row(scn *s, form f, const char *what, const char *go)
{
    double start = scn_live(), held, after, gone;
    pthread_t thread;

    scn_row(s, "%s: before the function returns", what);
    wanted = f;
    thread = scn_thread_start(function, NULL, 0);
    scn_gate_await(&before_end, 1);
    held = scn_live() - start;
    if (f != FORM_NONE) {
        scn_expect_site(s, "make_closure");
        scn_expect_path(s, find_some_piece, OAK_ROOT_STACK, "with_cleanup", NULL);
    }
    scn_gate_open(&before_end);
    scn_gate_await(&after_end, 1);
    after = scn_live() - start;
    scn_gate_open(&after_end);
    pthread_join(thread, NULL);
    gone = scn_live() - start;
    scn_gate_close(&before_end);
    scn_gate_close(&after_end);
    scn_retained(s, held, SCN_BYTES);
    scn_go(s, go);
    scn_figure(s, "after it has returned (Go: 0 to 96)", after, SCN_BYTES);
    scn_pointed_too(s, "not a leak: %s B less once the cleanup has run",
                    scn_thousands(held - after));
    if (f == FORM_NONE)
        scn_expect_none(s, "held before it returns", held);
    else
        scn_expect_bytes(s, "held before the cleanup runs", held, ALL, 5);
    scn_expect_none(s, "held after it has returned", after);
    scn_expect_none(s, "retained after the thread has ended", gone);
}

static void run(scn *s)
{
    scn_detector_begin(NULL);
    capture_row(s, FORM_RANGE, "a cleanup that ranges over 16 MiB", "16,777,312");
    capture_row(s, FORM_INDEX, "a cleanup with an index loop", "16,777,216");
    capture_row(s, FORM_NONE, "no cleanup, used at once", "0");
    scn_expect_quiet(s);
}

const scn_scenario scn_deferred_closure_capture = {
    .id = "deferred-closure-capture",
    .class = 'N',
    .source = "A4 4.4",
    .leak = "a cleanup holds what it will use until it has run, in whatever form it loops",
    .maps = false,
    .run = run,
};
