/* mix.h - what the parts of gc_mix share: things that know whose they are, and when it is over. */
#ifndef TESTS_GC_MIX_H
#define TESTS_GC_MIX_H

#include "tests/heap.h"

typedef struct mix_thing {
    uint64_t seal, id;
    struct mix_thing *a, *b;
} mix_thing;

mix_thing *mix_new(uint64_t id);
/* Is it the one of this number? As mix_expect. */
bool mix_is(const mix_thing *x, uint64_t id);
bool mix_goes_on(void);
/* What isn't right ends it, and is told by the test: Check may not be asked by parts. */
#define mix_expect(right) mix_expect_at(right, __FILE__, __LINE__)
void mix_expect_at(bool right, const char *file, size_t line);
uint64_t mix_draws(uintptr_t who); /* a seed of its own */

/* ---- mix_kinds.c: parts, each a thread ---- */

void *mix_tables(void *arg); /* typed objects, resized, and freed by hand */
void *mix_pairs(void *arg);  /* ephemerons; pinned and held objects */
void *mix_zones(void *arg);  /* zones that go at once, and classic maps */

/* ---- mix_huge.c ---- */

void *mix_huge(void *arg);
bool mix_huge_waits(void);   /* for an object in huge pages: it is to go on */
void mix_huge_report(void); /* no object in them, where the system has some, is wrong */

#endif
