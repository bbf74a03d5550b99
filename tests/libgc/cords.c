/* cords.c - a program on the cords that come with libgc's source: it builds them of many pieces,
 * walks them, cuts, compares, searches and prints them. */
#include <gc/gc.h>
#include <gc/cord.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECES 100000
#define DROPPED 200

static uint64_t sum;
static size_t seen;

static int add(char c, void *data)
{
    sum = sum * 31 + (unsigned char)c;
    seen++;
    return data && seen == *(size_t *)data;
}

static void tell(const char *what, CORD c)
{
    sum = seen = 0;
    (void)CORD_iter5(c, 0, add, NULL, NULL);
    printf("%s: %zu characters, %zu seen, %016llx\n", what, CORD_len(c), seen,
           (unsigned long long)sum);
}

/* By pieces at the end, and at the beginning; balanced now and then, as cords are only so deep. */
static CORD build(int pieces, int front)
{
    CORD c = CORD_EMPTY;
    char piece[32];
    for (int i = 0; i < pieces; i++) {
        size_t n = (size_t)snprintf(piece, sizeof piece, "piece %d, ", i);
        char *copy = GC_MALLOC_ATOMIC(n + 1);
        memcpy(copy, piece, n + 1);
        c = front ? CORD_cat(copy, c) : CORD_cat_char_star(c, copy, n);
        if (i % 1000 == 999) c = CORD_balance(c);
    }
    return c;
}

static char letter(size_t i, void *data)
{
    return (char)('a' + (i * (size_t)(uintptr_t)data) % 26);
}

static void walk(CORD c)
{
    CORD_pos p;
    uint64_t forth = 0, back = 0;
    CORD_FOR (p, c) forth += (unsigned char)CORD_pos_fetch(p) * (CORD_pos_to_index(p) % 7 + 1);
    CORD_set_pos(p, c, CORD_len(c) - 1);
    for (; CORD_pos_valid(p); CORD_prev(p))
        back += (unsigned char)CORD_pos_fetch(p) * (CORD_pos_to_index(p) % 7 + 1);
    printf("by positions: %llu forth, %llu back\n", (unsigned long long)forth,
           (unsigned long long)back);
}

static void cut(CORD c)
{
    size_t n = CORD_len(c);
    CORD all = CORD_EMPTY;
    for (size_t at = 0; at < n; at += 777) all = CORD_cat(all, CORD_substr(c, at, 777));
    printf("cut into pieces and put together: %d\n", CORD_cmp(all, c));
    printf("a part that differs: %d %d\n", CORD_cmp(CORD_substr(c, 0, 100), c) < 0,
           CORD_ncmp(c, n / 2, all, n / 2, 5000));
    printf("found at %zu, at %zu, not %d\n", CORD_str(c, 0, "piece 500,"),
           CORD_chr(c, n / 2, ','), CORD_str(c, 0, "no such piece") == CORD_NOT_FOUND);
    char *flat = CORD_to_char_star(CORD_substr(c, 12, 40));
    printf("flat: '%s'\n", flat);
}

static void print(CORD c)
{
    CORD text;
    int n = CORD_sprintf(&text, "%r|%8d|%-6s|%c", CORD_substr(c, 0, 30), 42, "ab", 'z');
    printf("formatted: %d characters, ", n);
    CORD_put(text, stdout);
    printf("\n");
    n = CORD_printf("printed: %r and %x\n", CORD_cat("one", " two"), 255);
    printf("of %d characters\n", n);
}

int main(void)
{
    GC_INIT();
    CORD kept = build(PIECES, 0), front = build(PIECES / 10, 1);
    CORD lazy = CORD_from_fn(letter, (void *)(uintptr_t)7, 50000);
    CORD many = CORD_chars('x', 100000);
    for (int i = 0; i < DROPPED; i++) (void)build(PIECES / DROPPED, i % 2);
    GC_gcollect();
    tell("kept", kept);
    tell("built at the front", front);
    tell("by a function", lazy);
    tell("of one character", many);
    walk(CORD_cat(front, lazy));
    cut(kept);
    print(kept);
    tell("all of it", CORD_cat(CORD_cat(kept, front), CORD_cat(lazy, many)));
    printf("hash of a part: %d\n", CORD_len(CORD_substr(many, 5, 10)) == 10);
    printf("collected: %d\n", GC_get_gc_no() > 1);
    return 0;
}
