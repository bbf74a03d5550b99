/* names.c - fuzz target: names that the program gives (labels, types, spans, frames) in what is
 * written with them: a profile and a trace. What is JSON must be JSON, a profile must be what
 * profile.proto says, and its labels are the thread's.
 *
 * All stays in memory. The table of sites keeps each set of labels for good, and has room for
 * some: so the profile that is written has one sample, which is made here. */
#include "cmd/live.h"
#include "fuzz.h"
#include "observe/profile.h"
#include "observe/trace.h"
#include "runtime/thread.h"

#include <oakum/oakum.h>
#include <string.h>
#include <unistd.h>

#define NAMES 8
#define PROFILE_MOST ((size_t)256 << 10)

static char *names[NAMES];

static void split(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < NAMES; i++) {
        size_t n = strnlen((const char *)data, size);
        names[i] = strndup((const char *)data, n);
        FUZZ_REQUIRE(names[i]);
        n = n < size ? n + 1 : size;
        data += n;
        size -= n;
    }
}

/* What allocates is noted with the labels, as a profile is on. */
static void allocate(void)
{
    const uint64_t bitmap = 1;
    const oak_type *type = oak_type_bitmap(names[3], 32, &bitmap);
    FUZZ_REQUIRE(type && oak_alloc(100) && oak_alloc_typed(type, 2));
}

/* ---- a profile ---- */

static uintptr_t here(void)
{
    return (uintptr_t)__builtin_return_address(0);
}

/* A sample of a frame that has a name and no code, and of one that has code, with the labels that
 * the calling thread has. */
static oaki_site *make_site(void)
{
    const oaki_labels *l = oaki_thread_self()->labels;
    uintptr_t frame[] = { oak_frame_number(names[6], names[7], (int)strlen(names[5])), here() };
    oaki_site *s = calloc(1, sizeof *s + sizeof frame + (l ? l->bytes : 0));
    FUZZ_REQUIRE(s && frame[0]);
    s->nframes = OAKI_COUNT(frame);
    memcpy(s->frame, frame, sizeof frame);
    if (!l) return s;
    s->nlabels = l->n;
    s->label_bytes = l->bytes;
    memcpy(s->frame + s->nframes, l->label, l->bytes);
    return s;
}

static void check_profile(unsigned flags)
{
    size_t n, whole;
    int fd = fuzz_file(NULL, 0, NULL);
    oaki_site *site = make_site();
    oak_profile *p = calloc(1, sizeof *p + sizeof p->row[0]);
    FUZZ_REQUIRE(p);
    *p = (oak_profile){ .rate = 1, .flags = flags, .n = 1 };
    p->row[0] = (oaki_profile_row){ site, { 2, 200, 1, 100 } };
    FUZZ_REQUIRE(oak_profile_write(p, fd) == 0);
    char *packed = fuzz_read(fd, &n), *text = fuzz_inflate(packed, n, PROFILE_MOST, &whole);
    FUZZ_REQUIRE(fuzz_pprof_check(text, whole) == site->nlabels);
    free(text);
    free(packed);
    free(p);
    free(site);
    close(fd);
}

/* ---- a trace ---- */

static AO_t begin_trace(const uint8_t *data, size_t size)
{
    double value = 0;
    AO_t trace = oaki_trace_begin(256);
    FUZZ_REQUIRE(trace);
    oak_span_begin_arg(names[5], names[6], names[7]);
    oak_trace_instant(names[1]);
    memcpy(&value, data, OAKI_MIN(size, sizeof value));
    oak_trace_counter(names[1], value);
    oak_span_add(names[4], oak_trace_now() - 1000, oak_trace_now());
    oak_span_end();
    oak_span_begin_arg(names[0], names[2], names[4]); /* open when it is written */
    return trace;
}

static void end_trace(AO_t trace)
{
    size_t n;
    int fd = fuzz_file(NULL, 0, NULL);
    FUZZ_REQUIRE(oaki_trace_end(trace, fd, SIZE_MAX) == 0);
    char *text = fuzz_read(fd, &n);
    cmd_json *v = cmd_json_read(text);
    FUZZ_REQUIRE(v && strlen(text) == n && cmd_json_count(v, "traceEvents") >= 10);
    cmd_json_free(v);
    free(text);
    close(fd);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    FUZZ_REQUIRE(oak_profile_set_rate(1) == 0);
    return 0;
}

/* The second one's value is the whole input, which may have a NUL in it. */
static int push_labels(const uint8_t *data, size_t size)
{
    oak_label l[] = { { .key = names[0],
                        .key_len = strlen(names[0]),
                        .value = names[1],
                        .value_len = strlen(names[1]) },
                      { .key = names[5],
                        .key_len = strlen(names[5]),
                        .value = (const char *)data,
                        .value_len = size } };
    return oak_labels_push(l, OAKI_COUNT(l));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 4096) return -1;
    split(data, size);
    AO_t trace = begin_trace(data, size);
    int outer = push_labels(data, size);
    int inner = oak_label_push_number(names[2], (int64_t)strlen(names[3]) - 3, names[4]);
    allocate();
    check_profile(size % 2 ? OAK_PROFILE_ALLOCS : 0);
    if (inner >= 0) oak_labels_pop(inner);
    if (outer >= 0) oak_labels_pop(outer);
    end_trace(trace);
    for (size_t i = 0; i < NAMES; i++) free(names[i]);
    return 0;
}
