/* gzip.c - fuzz target: what observe/gzip.c makes of any bytes must inflate, by zlib, to the same.
 *
 * The first bytes of the input say how often the rest comes and in which pieces it is put; with a
 * difference between repetitions, matches are near, far, and none. */
#include "observe/gzip.h"
#include "fuzz.h"
#include "runtime/base.h"

#include <string.h>

#define MOST ((size_t)1 << 20)
#define USUAL ((size_t)1 << 16) /* more than a window and a block; few inputs are larger */

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

/* Every `period` bytes one of them is another. */
static size_t fill(const uint8_t *data, size_t size, size_t times, size_t period)
{
    size_t n = 0, most = times >> 20 ? MOST : USUAL;
    for (size_t i = 0; i < times && n + size <= most; i++, n += size) memcpy(plain + n, data, size);
    for (size_t at = period; period && at < n; at += period) plain[at] = (uint8_t)(at / period);
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    output out = { NULL, 0, 0 };
    size_t whole;
    if (size < 4 || size > USUAL) return -1;
    size_t piece = (size_t)1 << data[0] % 21, times = (size_t)1 << data[1] % 21;
    size_t n = fill(data + 4, size - 4, size > 4 ? times : 1, data[2] | (size_t)data[3] << 8);
    oaki_gzip *z = oaki_gzip_new(take, &out);
    FUZZ_REQUIRE(z);
    for (size_t at = 0; at < n; at += piece) oaki_gzip_put(z, plain + at, OAKI_MIN(piece, n - at));
    oaki_gzip_end(z);
    oaki_gzip_free(z);
    FUZZ_REQUIRE(out.n <= n + n / 1000 + 64); /* what can't be packed is stored */
    char *text = fuzz_inflate(out.p, out.n, n, &whole);
    FUZZ_REQUIRE(whole == n && memcmp(text, plain, n) == 0);
    free(text);
    free(out.p);
    return 0;
}
