/* misuse.c - thirteen misuses of memory, one by name; tests/malloc/misuse looks at what each is
 * told as. `right`: a program without one, for what it costs. With -DNATIVE it calls Oakum's
 * functions, otherwise malloc. Compile it without builtins. */
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef NATIVE
#include <oakum/oakum.h>
#include <oakum/zone.h>
#define give oak_alloc_pinned
#define take oak_free
#define resize oak_realloc
#else
#define give malloc
#define take free
#define resize realloc
#endif

void _ZdlPvm(void *p, size_t n) __attribute__((weak));
void *_Znwm(size_t n) __attribute__((weak));

char *p, *q, byte; /* not static: what is stored there is stored */

static void past_1(void) { p[100] = 1; }
static void before_1(void) { p[-1] = 1; }
static void past_8(void) { memset(p, 2, 108); }
static void past_far(void) { memset(p, 0, 300); } /* the size of two others, too */

static void past_large(void)
{
    p = give(100000);
    p[100000] = 1;
}

/* Of 100,000 bytes and a gap, in pages of 8 KiB. */
static void past_far_page(void)
{
    p = give(100000);
    p[106496 + 10] = 1;
}

static void written(void)
{
    take(p);
    p[40] = 1;
}

static void read_freed(void)
{
    take(p);
    byte = p[40];
    if (byte == 3) _exit(0); /* what was there still is */
    _exit(1);                /* something else is found: 0xdb, or another's */
}

static void twice(void)
{
    take(p);
    take(q);
    take(p);
}

static void inside(void) { take(p + 16); }

static void stack(void)
{
    char room[64];
    p = room + 16;
    take(p);
}

static void resized(void)
{
    take(p);
    p = resize(p, 200);
}

static void sized(void)
{
#ifdef NATIVE
    oak_zone *z = oak_zone_new(NULL); /* it has no sized deallocation: what lay in a dead zone */
    p = oak_zone_alloc(z, 100);
    (void)oak_zone_discard(z);
    take(p);
#else
    p = _Znwm(100);
    _ZdlPvm(p, 64);
#endif
}

static void wild(void) /* never initialised: what was in the memory */
{
    char **holder = give(64);
    memset(holder, 0x5a, 64);
    take(holder[3]);
}

static void right(void)
{
    enum { LIVE = 4096 };
    static char *live[LIVE];
    uint64_t x = 88172645463325252u;
    for (int i = 0; i < 400000; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        unsigned at = x % LIVE;
        size_t n = 16 + (x >> 20) % 256;
        if ((x >> 40) % 1000 == 0) n = 50000;
        if (live[at]) take(live[at]);
        live[at] = give(n);
        memset(live[at], 1, n);
    }
}

static const struct {
    const char *name;
    void (*fn)(void);
} all[] = {
    { "past-1", past_1 },
    { "before-1", before_1 },
    { "past-8", past_8 },
    { "past-far", past_far },
    { "past-large", past_large },
    { "past-far-page", past_far_page },
    { "written", written },
    { "read", read_freed },
    { "twice", twice },
    { "inside", inside },
    { "stack", stack },
    { "resized", resized },
    { "sized", sized },
    { "wild", wild },
    { "right", right },
};

int main(int c, char **v)
{
    char *some[64];
    for (int i = 0; i < 64; i++) some[i] = give(100), memset(some[i], 3, 100);
    p = some[20];
    q = some[21];
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (c > 1 && strcmp(v[1], all[i].name) == 0) all[i].fn();
    for (int i = 0; c > 1 && i < 64; i++) /* as a program does */
        if (some[i] != p && some[i] != q) take(some[i]);
    if (c > 1 && (!strcmp(v[1], "past-1") || !strcmp(v[1], "before-1") || !strcmp(v[1], "past-8") ||
                  !strcmp(v[1], "past-far") || !strcmp(v[1], "past-large")))
        take(p);
    return 0;
}
