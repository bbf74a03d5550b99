/* inflate.c - what observe/gzip.c has packed, unpacked by zlib, for the fuzz targets. */
#include "fuzz.h"

#include <zlib.h>

char *fuzz_inflate(const void *packed, size_t n, size_t room, size_t *out)
{
    char *text = malloc(room + 1); /* one more, so that too much is seen */
    z_stream z = { .next_in = (Bytef *)(uintptr_t)packed, .avail_in = (uInt)n };
    FUZZ_REQUIRE(text && inflateInit2(&z, 16 + MAX_WBITS) == Z_OK);
    z.next_out = (Bytef *)text;
    z.avail_out = (uInt)room + 1;
    FUZZ_REQUIRE(inflate(&z, Z_FINISH) == Z_STREAM_END && z.avail_in == 0);
    *out = z.total_out;
    FUZZ_REQUIRE(*out <= room && inflateEnd(&z) == Z_OK);
    return text;
}
