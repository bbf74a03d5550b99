/* gzip.c - fuzz target: what observe/gzip.c makes of any bytes must inflate, by zlib, to the same.
 *
 * The first bytes of the input say how often the rest comes and in which pieces it is put; with a
 * difference between repetitions, matches are near, far, and none. Most inputs are small, so that
 * many are tried: a few are more than a window and a block, and a few of these are large. */
#include "observe/gzip.h"
#include "fuzz.h"
#include "runtime/base.h"

#include <string.h>
#include <xxhash.h>

#define MOST ((size_t)1 << 20) /* bytes, of one input of some thousand */
#define MORE ((size_t)1 << 16) /* more than a window and a block; of one of some dozens */
#define USUAL ((size_t)1 << 12)

static uint8_t plain[MOST];

typedef struct output {
    uint8_t *p;
    size_t n, room;
} output;

static void take(void *ctx, const void *p, size_t n)
{
    output *out = ctx;
    if (out->n + n > out->room) {
        out->room = 2 * (out->n + n);
        out->p = realloc(out->p, out->room);
        FUZZ_REQUIRE(out->p);
    }
    if (n > 0) memcpy(out->p + out->n, p, n);
    out->n += n;
}

/* A hash decides: an input has the same limit each time, and a change of a large one mostly has a
 * small one. */
static size_t limit_of(const uint8_t *data, size_t size)
{
    uint64_t h = XXH3_64bits(data, size);
    return h % 4096 == 0 ? MOST : h % 32 == 0 ? MORE : USUAL;
}

/* Every `period` bytes one of them is another. */
static size_t fill(const uint8_t *data, size_t size, size_t times, size_t period, size_t most)
{
    size_t n = 0;
    for (size_t i = 0; i < times && n + size <= most; i++, n += size) memcpy(plain + n, data, size);
    for (size_t at = period; period && at < n; at += period) plain[at] = (uint8_t)(at / period);
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    output out = { NULL, 0, 0 };
    size_t whole;
    if (size < 4 || size > MORE) return -1;
    size_t most = OAKI_MAX(limit_of(data, size), size);
    size_t piece = (size_t)1 << data[0] % 21, times = (size_t)1 << data[1] % 21;
    size_t n = fill(data + 4, size - 4, size > 4 ? times : 1, data[2] | (size_t)data[3] << 8, most);
    oaki_gzip *z = oaki_gzip_new(take, &out);
    FUZZ_REQUIRE(z);
    for (size_t at = 0; at < n; at += piece) oaki_gzip_put(z, plain + at, OAKI_MIN(piece, n - at));
    oaki_gzip_end(z);
    oaki_gzip_free(z);
    /* what can't be packed is stored, and a block of that has five bytes more */
    FUZZ_REQUIRE(out.n <= 18 + n + 5 * (n / 16384 + 1));
    char *text = fuzz_inflate(out.p, out.n, n, &whole);
    FUZZ_REQUIRE(whole == n && memcmp(text, plain, n) == 0);
    free(text);
    free(out.p);
    return 0;
}
