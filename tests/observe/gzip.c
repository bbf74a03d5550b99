/* gzip.c - tests of observe/gzip.c, huffman.c and wire.c.
 *
 * What was compressed is read back by gzip itself. Messages are compared with the bytes that the
 * format's own description has. */
#include "observe/gzip.h"
#include "observe/huffman.h"
#include "observe/wire.h"
#include "runtime/base.h"
#include "tests/large.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

Suite *suite_observe_gzip(void);

#define MOST (1 << 20)

static unsigned char in[MOST], out[MOST + 1];
TEST_LARGE(observe_gzip, in)
TEST_LARGE(observe_gzip, out)
static char path[64];
static size_t written;

static void start(void)
{
    snprintf(path, sizeof path, "/tmp/oakum-test-XXXXXX");
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
}

static void stop(void)
{
    ck_assert_int_eq(unlink(path), 0);
}

static void to_file(void *ctx, const void *p, size_t n)
{
    ck_assert_uint_eq(fwrite(p, 1, n, ctx), n);
    written += n;
}

/* In pieces of `piece` bytes. Returns how long it is in gzip's format. */
static size_t compress(size_t n, size_t piece)
{
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    written = 0;
    oaki_gzip *z = oaki_gzip_new(to_file, f);
    ck_assert_ptr_nonnull(z);
    for (size_t at = 0; at < n; at += piece) oaki_gzip_put(z, in + at, OAKI_MIN(piece, n - at));
    oaki_gzip_end(z);
    oaki_gzip_free(z);
    ck_assert_int_eq(fclose(f), 0);
    return written;
}

static void assert_reads_back(size_t n)
{
    char command[100];
    snprintf(command, sizeof command, "gzip -dc <%s", path);
    FILE *f = popen(command, "r");
    ck_assert_ptr_nonnull(f);
    size_t got = fread(out, 1, sizeof out, f);
    ck_assert_int_eq(pclose(f), 0);
    ck_assert_uint_eq(got, n);
    ck_assert_int_eq(memcmp(in, out, n), 0);
}

static unsigned next(unsigned *seed)
{
    *seed = *seed * 1103515245u + 12345u;
    return *seed >> 16;
}

/* Bytes of a small alphabet, with repetitions from near and far. */
static void fill(unsigned seed, unsigned letters, size_t n)
{
    for (size_t at = 0; at < n;) {
        size_t back = 1 + next(&seed) % 40000, run = next(&seed) % 400;
        bool repeat = next(&seed) % 4 == 0 && back <= at;
        if (!repeat) run = run % 50 + 1;
        for (size_t i = 0; i < run && at < n; i++, at++)
            in[at] = repeat ? in[at - back] : (unsigned char)(next(&seed) % letters);
    }
}

START_TEST(gzip_reads_what_was_compressed)
{
    static const size_t size[] = { 0,     1,     2,     3,     4,     257,    258,   259,   260,
                                   16383, 16384, 16385, 32767, 32768, 32769,  49151, 49152, 49153,
                                   65535, 65536, 65537, 98304, 98305, 300000, MOST };
    static const unsigned letters[] = { 1, 2, 3, 20, 256 };
    for (size_t k = 0; k < OAKI_COUNT(letters); k++)
        for (size_t i = 0; i < OAKI_COUNT(size); i++) {
            fill((unsigned)(i * 7 + k), letters[k], size[i]);
            (void)compress(size[i], i % 2 ? 1000 : size[i] + 1);
            assert_reads_back(size[i]);
        }
}
END_TEST

START_TEST(what_has_no_repetitions_grows_little)
{
    unsigned seed = 1;
    for (size_t i = 0; i < MOST; i++) in[i] = (unsigned char)(next(&seed) ^ next(&seed) >> 3);
    ck_assert_uint_le(compress(MOST, 4096), MOST + MOST / 1000);
    assert_reads_back(MOST);
}
END_TEST

/* A block's codes are counted, too: of a short one they are longer than what they save. */
START_TEST(what_is_short_grows_by_a_head_at_most)
{
    static const unsigned letters[] = { 2, 30, 200, 256 };
    for (size_t k = 0; k < OAKI_COUNT(letters); k++)
        for (size_t n = 0; n < 3000; n += n < 40 ? 1 : 97) {
            fill((unsigned)(n + k), letters[k], n);
            ck_assert_uint_le(compress(n, 100), n + 18 + 5); /* gzip's own, and a stored block's */
            if (n % 8 == 0) assert_reads_back(n);
        }
}
END_TEST

/* As small as gzip makes it, or nearly. */
START_TEST(text_becomes_small)
{
    size_t n = 0;
    for (unsigned i = 0; n + 64 < MOST; i++)
        n += (size_t)snprintf((char *)in + n, MOST - n, "function_%u in file_%u.c, line %u\n",
                              i % 977, i % 53, i * 7 % 1009);
    size_t ours = compress(n, 4096);
    assert_reads_back(n);
    char command[150];
    snprintf(command, sizeof command, "gzip -dc <%s | gzip -6c | wc -c", path);
    FILE *f = popen(command, "r");
    size_t theirs = 0;
    ck_assert_int_eq(fscanf(f, "%zu", &theirs), 1);
    ck_assert_int_eq(pclose(f), 0);
    ck_assert_msg(ours <= theirs + theirs / 4, "%zu bytes, %zu by gzip", ours, theirs);
}
END_TEST

/* Counts as Fibonacci's numbers make the deepest of trees. */
START_TEST(codes_are_limited_and_whole)
{
    static const unsigned limit[] = { 7, 9, 15 };
    oaki_huffman h;
    for (size_t k = 0; k < OAKI_COUNT(limit); k++)
        for (size_t n = 2; n <= 40; n++) {
            uint32_t count[OAKI_HUFFMAN_SYMBOLS] = { 1, 1 };
            uint64_t sum = 0;
            for (size_t i = 2; i < n; i++) count[i] = count[i - 1] + count[i - 2];
            oaki_huffman_make(&h, count, n, limit[k]);
            for (size_t i = 0; i < n; i++) {
                ck_assert_uint_ge(h.bits[i], 1);
                ck_assert_uint_le(h.bits[i], limit[k]);
                sum += UINT64_C(1) << (limit[k] - h.bits[i]);
            }
            ck_assert_uint_eq(sum, UINT64_C(1) << limit[k]); /* Kraft */
        }
    uint32_t one[3] = { 0, 0, 5 };
    oaki_huffman_make(&h, one, 3, 15);
    ck_assert_uint_eq(h.bits[2], 1);
    ck_assert_uint_eq(h.bits[0], 1);
    ck_assert_uint_eq(h.bits[1], 0);
}
END_TEST

static void assert_bytes(oaki_wire *w, const void *bytes, size_t n)
{
    ck_assert(!w->failed);
    ck_assert_uint_eq(w->n, n);
    ck_assert_int_eq(memcmp(w->p, bytes, n), 0);
    oaki_wire_clear(w);
}

START_TEST(messages_have_the_bytes_of_the_format)
{
    static const uint64_t packed[] = { 3, 270, 86942, 0 };
    oaki_wire w = { NULL, 0, 0, false };
    oaki_wire_number(&w, 1, 150);
    assert_bytes(&w, "\x08\x96\x01", 3);
    oaki_wire_bytes(&w, 2, "testing", 7);
    assert_bytes(&w, "\x12\x07testing", 9);
    size_t begun = oaki_wire_begin(&w, 3);
    oaki_wire_number(&w, 1, 150);
    oaki_wire_end(&w, begun);
    assert_bytes(&w, "\x1a\x03\x08\x96\x01", 5);
    oaki_wire_numbers(&w, 6, packed, 4);
    assert_bytes(&w, "\x32\x07\x03\x8e\x02\x9e\xa7\x05\x00", 9);
    oaki_wire_number(&w, 16, (uint64_t)-2);
    assert_bytes(&w, "\x80\x01\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12);
    oaki_wire_number(&w, 1, 0);
    oaki_wire_numbers(&w, 1, packed, 0);
    assert_bytes(&w, "", 0);
    oaki_wire_bytes(&w, 6, "", 0);
    assert_bytes(&w, "\x32\x00", 2);
    oaki_wire_free(&w);
}
END_TEST

/* One in another, each longer than a byte can tell. */
START_TEST(messages_nest)
{
    char text[300];
    oaki_wire w = { NULL, 0, 0, false };
    memset(text, 'x', sizeof text);
    size_t outer = oaki_wire_begin(&w, 1), inner = oaki_wire_begin(&w, 2);
    oaki_wire_bytes(&w, 3, text, sizeof text);
    oaki_wire_end(&w, inner);
    oaki_wire_number(&w, 4, 1);
    oaki_wire_end(&w, outer);
    ck_assert_uint_eq(w.n, 3 + 3 + 3 + sizeof text + 2);
    ck_assert_int_eq(memcmp(w.p, "\x0a\xb4\x02\x12\xaf\x02\x1a\xac\x02xxx", 12), 0);
    ck_assert_int_eq(memcmp(w.p + w.n - 3, "x\x20\x01", 3), 0);
    oaki_wire_free(&w);
}
END_TEST

Suite *suite_observe_gzip(void)
{
    Suite *s = suite_create("observe/gzip");
    TCase *c = tcase_create("compressing");
    tcase_add_checked_fixture(c, start, stop);
    tcase_set_timeout(c, 120);
    tcase_add_test(c, gzip_reads_what_was_compressed);
    tcase_add_test(c, what_has_no_repetitions_grows_little);
    tcase_add_test(c, what_is_short_grows_by_a_head_at_most);
    tcase_add_test(c, text_becomes_small);
    suite_add_tcase(s, c);
    c = tcase_create("formats");
    tcase_add_test(c, codes_are_limited_and_whole);
    tcase_add_test(c, messages_have_the_bytes_of_the_format);
    tcase_add_test(c, messages_nest);
    suite_add_tcase(s, c);
    return s;
}
