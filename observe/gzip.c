/* gzip.c - compression in gzip's format (gzip.h), by deflate (RFC 1951).
 *
 * Input is collected in blocks. Each becomes a block of deflate with its own codes, or is stored if
 * that is shorter. A match is a repetition of bytes in the 32 KiB before it. Matches are searched
 * in chains of places whose next three bytes have the same hash, at most CHAIN places each. Of the
 * longest matches, the nearest is taken.
 *
 * Owns: nothing beyond a stream.
 * Invariant: a match is compared byte by byte before it is taken, so a stale place in a chain costs
 *   only time.
 * Bound: O(bytes * CHAIN) time. */
#include "gzip.h"
#include "crc.h"
#include "huffman.h"
#include <stdlib.h>
#include <string.h>

#define WINDOW 32768u /* the largest distance of a match, in bytes */
#define BLOCK 16384u  /* bytes of one block; less than a stored block's limit */
#define HASH_BITS 13
#define CHAIN 48
#define LEAST 3u  /* the shortest match */
#define MOST 258u /* the longest match */
#define END 256u  /* the symbol that ends a block; it follows the literals */
#define LENGTHS 257u
#define NLITERALS 286
#define NDISTANCES 30
#define NSIZES 19
#define SIZE_BITS 7

/* Lengths and distances of matches: the smallest value of each symbol, and its number of extra
 * bits. */
static const uint16_t length_first[29] = { 3,  4,  5,  6,   7,   8,   9,   10,  11, 13,
                                           15, 17, 19, 23,  27,  31,  35,  43,  51, 59,
                                           67, 83, 99, 115, 131, 163, 195, 227, 258 };
static const uint8_t length_bits[29] = { 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                         2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0 };
static const uint16_t distance_first[NDISTANCES] = {
    1,   2,   3,   4,   5,   7,    9,    13,   17,   25,   33,   49,   65,    97,    129,
    193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577
};
static const uint8_t distance_bits[NDISTANCES] = { 0, 0, 0,  0,  1,  1,  2,  2,  3,  3,
                                                   4, 4, 5,  5,  6,  6,  7,  7,  8,  8,
                                                   9, 9, 10, 10, 11, 11, 12, 12, 13, 13 };

/* A literal; or a match: its length, and its distance in the upper half. */
typedef uint32_t token;

struct oaki_gzip {
    oaki_gzip_sink *sink;
    void *ctx;
    uint32_t crc, total;
    /* input: the window of compressed bytes, then the block from `start` to `end` */
    unsigned char in[WINDOW + BLOCK];
    size_t start, end;
    uint32_t base;                 /* the place of in[0]; places wrap around */
    uint32_t head[1 << HASH_BITS]; /* by hash: the last place with it */
    uint16_t back[WINDOW];         /* distance from a place to the next in its chain; 0: none */
    /* the block */
    token tokens[BLOCK + 1];
    size_t ntokens;
    uint32_t literals[NLITERALS], distances[NDISTANCES];
    oaki_huffman literal, distance;
    /* output */
    uint64_t bits;
    unsigned nbits;
    unsigned char out[4096];
    size_t nout;
};

/* ---- bytes and bits ---- */

static void flush(oaki_gzip *z)
{
    if (z->nout > 0) z->sink(z->ctx, z->out, z->nout);
    z->nout = 0;
}

static void put_byte(oaki_gzip *z, unsigned b)
{
    if (z->nout == sizeof z->out) flush(z);
    z->out[z->nout++] = (unsigned char)b;
}

static void put_bits(oaki_gzip *z, uint32_t v, unsigned n)
{
    z->bits |= (uint64_t)v << z->nbits;
    for (z->nbits += n; z->nbits >= 8; z->nbits -= 8, z->bits >>= 8)
        put_byte(z, (unsigned)(z->bits & 255));
}

static void fill_byte(oaki_gzip *z)
{
    if (z->nbits > 0) put_bits(z, 0, 8 - z->nbits);
}

static void put_word(oaki_gzip *z, uint32_t v)
{
    for (int i = 0; i < 4; i++, v >>= 8) put_byte(z, v & 255);
}

/* ---- matches ---- */

static unsigned hash(const unsigned char *p)
{
    uint32_t v = p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16;
    return v * 0x9e3779b1u >> (32 - HASH_BITS);
}

/* Adds a place to its chain. Returns the distance to the place before it in the chain; 0: none
 * within reach. */
static size_t enter(oaki_gzip *z, size_t at)
{
    uint32_t place = z->base + (uint32_t)at, *head = &z->head[hash(z->in + at)];
    uint32_t far = place - *head;
    *head = place;
    if (far > WINDOW || far > at) far = 0;
    z->back[place % WINDOW] = (uint16_t)far;
    return far;
}

static size_t same(const unsigned char *a, const unsigned char *b, size_t most)
{
    size_t n = 0;
    while (n < most && a[n] == b[n]) n++;
    return n;
}

/* Finds the longest match, searching from the nearest place on. Returns its length; 0: none. */
static size_t find(const oaki_gzip *z, size_t at, size_t far, size_t *distance)
{
    size_t most = OAKI_MIN(z->end - at, (size_t)MOST), best = LEAST - 1;
    for (unsigned i = 0; i < CHAIN && far > 0 && far <= OAKI_MIN(at, (size_t)WINDOW); i++) {
        const unsigned char *there = z->in + at - far;
        size_t n = same(there, z->in + at, most);
        if (n > best) {
            best = n;
            *distance = far;
            if (n == most) break;
        }
        size_t step = z->back[(z->base + (uint32_t)(at - far)) % WINDOW];
        far = step ? far + step : 0;
    }
    return best >= LEAST ? best : 0;
}

/* ---- a block's tokens ---- */

/* The last symbol whose smallest value is at most `value`. */
static unsigned symbol_of(const uint16_t *first, unsigned n, size_t value)
{
    unsigned lo = 0, hi = n;
    while (hi - lo > 1) {
        unsigned mid = (lo + hi) / 2;
        if (first[mid] <= value)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

static void note_match(oaki_gzip *z, size_t length, size_t distance)
{
    z->tokens[z->ntokens++] = (token)(distance << 16 | length);
    z->literals[LENGTHS + symbol_of(length_first, 29, length)]++;
    z->distances[symbol_of(distance_first, NDISTANCES, distance)]++;
}

static void note_literal(oaki_gzip *z, unsigned char c)
{
    z->tokens[z->ntokens++] = c;
    z->literals[c]++;
}

static void cut(oaki_gzip *z)
{
    z->ntokens = 0;
    memset(z->literals, 0, sizeof z->literals);
    memset(z->distances, 0, sizeof z->distances);
    for (size_t at = z->start; at < z->end;) {
        size_t distance = 0, n = 0;
        if (z->end - at >= LEAST) n = find(z, at, enter(z, at), &distance);
        if (n == 0) {
            note_literal(z, z->in[at++]);
            continue;
        }
        note_match(z, n, distance);
        for (size_t i = 1; i < n; i++)
            if (z->end - (at + i) >= LEAST) (void)enter(z, at + i);
        at += n;
    }
    z->literals[END]++;
}

/* ---- a block's head: the lengths of its codes ---- */

/* Symbols for the lengths of codes, each with the value of its extra bits. Symbol 16 repeats the
 * last length 3 to 6 times; 17 and 18 stand for sequences of zeros. */
typedef struct sizes {
    uint8_t symbol[NLITERALS + NDISTANCES], more[NLITERALS + NDISTANCES];
    size_t n;
    uint32_t count[NSIZES];
} sizes;

static void add_size(sizes *s, unsigned symbol, unsigned more)
{
    s->symbol[s->n] = (uint8_t)symbol;
    s->more[s->n++] = (uint8_t)more;
    s->count[symbol]++;
}

static void list_sizes(sizes *s, const uint8_t *bits, size_t n)
{
    memset(s, 0, sizeof *s);
    for (size_t i = 0, run; i < n; i += run) {
        for (run = 1; i + run < n && bits[i + run] == bits[i] && run < 138;) run++;
        if (bits[i] == 0 && run >= 11) {
            add_size(s, 18, (unsigned)run - 11);
        } else if (bits[i] == 0 && run >= 3) {
            add_size(s, 17, (unsigned)run - 3);
        } else if (i > 0 && bits[i] == bits[i - 1] && run >= 3) {
            run = OAKI_MIN(run, (size_t)6);
            add_size(s, 16, (unsigned)run - 3);
        } else {
            run = 1;
            add_size(s, bits[i], 0);
        }
    }
}

static unsigned bits_behind(unsigned size_symbol)
{
    return size_symbol == 16 ? 2 : size_symbol == 17 ? 3 : size_symbol == 18 ? 7 : 0;
}

static size_t used(const oaki_huffman *h, size_t n, size_t least)
{
    while (n > least && h->bits[n - 1] == 0) n--;
    return n;
}

typedef struct head {
    sizes s;
    oaki_huffman size;                 /* the code of the lengths' symbols */
    size_t literals, distances, sizes; /* numbers of lengths that are written */
} head;

static const uint8_t size_order[NSIZES] = { 16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                            11, 4,  12, 3, 13, 2, 14, 1, 15 };

static void make_head(const oaki_gzip *z, head *h)
{
    uint8_t bits[NLITERALS + NDISTANCES];
    uint32_t count[NSIZES];
    h->literals = used(&z->literal, NLITERALS, LENGTHS);
    h->distances = used(&z->distance, NDISTANCES, 1);
    memcpy(bits, z->literal.bits, h->literals);
    memcpy(bits + h->literals, z->distance.bits, h->distances);
    list_sizes(&h->s, bits, h->literals + h->distances);
    memcpy(count, h->s.count, sizeof count);
    oaki_huffman_make(&h->size, count, NSIZES, SIZE_BITS);
    for (h->sizes = NSIZES; h->sizes > 4 && h->size.bits[size_order[h->sizes - 1]] == 0;)
        h->sizes--;
}

static uint64_t bits_of_head(const head *h)
{
    uint64_t n = 3 + 5 + 5 + 4 + 3 * h->sizes;
    for (unsigned i = 0; i < NSIZES; i++)
        n += (uint64_t)h->s.count[i] * (h->size.bits[i] + bits_behind(i));
    return n;
}

static void put_head(oaki_gzip *z, const head *h, bool last)
{
    put_bits(z, last, 1);
    put_bits(z, 2, 2);
    put_bits(z, (uint32_t)h->literals - LENGTHS, 5);
    put_bits(z, (uint32_t)h->distances - 1, 5);
    put_bits(z, (uint32_t)h->sizes - 4, 4);
    for (size_t i = 0; i < h->sizes; i++) put_bits(z, h->size.bits[size_order[i]], 3);
    for (size_t i = 0; i < h->s.n; i++) {
        put_bits(z, h->size.code[h->s.symbol[i]], h->size.bits[h->s.symbol[i]]);
        put_bits(z, h->s.more[i], bits_behind(h->s.symbol[i]));
    }
}

/* ---- a block ---- */

static void put_token(oaki_gzip *z, token t)
{
    unsigned value = t & 0xffff, far = t >> 16;
    if (far == 0) {
        put_bits(z, z->literal.code[value], z->literal.bits[value]);
        return;
    }
    unsigned l = symbol_of(length_first, 29, value);
    unsigned d = symbol_of(distance_first, NDISTANCES, far);
    put_bits(z, z->literal.code[LENGTHS + l], z->literal.bits[LENGTHS + l]);
    put_bits(z, value - length_first[l], length_bits[l]);
    put_bits(z, z->distance.code[d], z->distance.bits[d]);
    put_bits(z, far - distance_first[d], distance_bits[d]);
}

/* The number of bits of all tokens. */
static uint64_t bits_of(const oaki_gzip *z, const uint32_t *literals, const uint32_t *distances)
{
    uint64_t n = 0;
    for (size_t i = 0; i < NLITERALS; i++)
        n += (uint64_t)literals[i] *
             (z->literal.bits[i] + (i >= LENGTHS ? length_bits[i - LENGTHS] : 0u));
    for (size_t i = 0; i < NDISTANCES; i++)
        n += (uint64_t)distances[i] * (z->distance.bits[i] + distance_bits[i]);
    return n;
}

static uint64_t bits_stored(const oaki_gzip *z)
{
    unsigned fill = (8 - (z->nbits + 3) % 8) % 8;
    return 3 + fill + 32 + 8 * (uint64_t)(z->end - z->start);
}

static void store(oaki_gzip *z, bool last)
{
    size_t n = z->end - z->start;
    put_bits(z, last, 1);
    put_bits(z, 0, 2);
    fill_byte(z);
    put_bits(z, (uint32_t)n, 16);
    put_bits(z, (uint32_t)~n & 0xffff, 16);
    for (size_t i = z->start; i < z->end; i++) put_byte(z, z->in[i]);
}

static void compress(oaki_gzip *z, bool last)
{
    uint32_t literals[NLITERALS], distances[NDISTANCES];
    head h;
    cut(z);
    memcpy(literals, z->literals, sizeof literals);
    memcpy(distances, z->distances, sizeof distances);
    oaki_huffman_make(&z->literal, z->literals, NLITERALS, OAKI_HUFFMAN_BITS);
    oaki_huffman_make(&z->distance, z->distances, NDISTANCES, OAKI_HUFFMAN_BITS);
    make_head(z, &h);
    if (bits_of_head(&h) + bits_of(z, literals, distances) >= bits_stored(z)) {
        store(z, last);
        return;
    }
    put_head(z, &h, last);
    for (size_t i = 0; i < z->ntokens; i++) put_token(z, z->tokens[i]);
    put_bits(z, z->literal.code[END], z->literal.bits[END]);
}

/* Keeps the last WINDOW bytes in front of the next block. */
static void make_room(oaki_gzip *z)
{
    size_t keep = OAKI_MIN(z->end, (size_t)WINDOW), gone = z->end - keep;
    memmove(z->in, z->in + gone, keep);
    z->base += (uint32_t)gone;
    z->start = z->end = keep;
}

/* ---- a stream ---- */

oaki_gzip *oaki_gzip_new(oaki_gzip_sink *sink, void *ctx)
{
    static const unsigned char head[10] = {
        0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3
    }; /* no name, Unix */
    oaki_gzip *z = calloc(1, sizeof *z);
    if (!z) return NULL;
    z->sink = sink;
    z->ctx = ctx;
    for (size_t i = 0; i < sizeof head; i++) put_byte(z, head[i]);
    return z;
}

void oaki_gzip_put(oaki_gzip *z, const void *p, size_t n)
{
    const unsigned char *from = p;
    z->crc = oaki_crc32(z->crc, from, n);
    z->total += (uint32_t)n;
    while (n > 0) {
        if (z->end - z->start == BLOCK) {
            compress(z, false);
            make_room(z);
        }
        size_t some = OAKI_MIN(n, BLOCK - (z->end - z->start));
        memcpy(z->in + z->end, from, some);
        z->end += some;
        from += some;
        n -= some;
    }
}

void oaki_gzip_end(oaki_gzip *z)
{
    compress(z, true);
    fill_byte(z);
    put_word(z, z->crc);
    put_word(z, z->total);
    flush(z);
}

void oaki_gzip_free(oaki_gzip *z)
{
    free(z);
}
