/* words.c - a typed map: how often does each word of the input occur?
 *
 * OAK_MAP_DEFINE makes a type and its functions, compiled in. Keys are compared by their text;
 * keys and values that are pointers are seen by the collector. Inserting never stops to rehash. */
#include <oakum/oakum.h>
#include <stdio.h>
#include <string.h>

OAK_MAP_DEFINE(counts, const char *, long);

/* The map keeps the pointer, so it gets a copy of its own: of bytes, which hold no references. */
static const char *copy(const char *text)
{
    size_t n = strlen(text) + 1;
    char *p = oak_alloc_noscan(n);
    return p ? memcpy(p, text, n) : NULL;
}

int main(void)
{
    counts *m = counts_new(0);
    char word[64];
    while (m && scanf("%63s", word) == 1) {
        long *n = counts_get(m, word);
        if (!n) n = counts_put(m, copy(word)); /* the value's slot; zero when it is new */
        if (!n) return 1;
        ++*n;
    }
    counts_iter it;
    for (counts_iter_init(&it, m); counts_iter_next(&it);) printf("%s %ld\n", *it.key, *it.value);
    return 0;
}
