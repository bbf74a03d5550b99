/* mix_huge.c - a part of gc_mix: an object of references in huge pages, each with a few places that
 * are written. A cycle protects a huge page as one, and the first write to it after that makes
 * small pages of it, for good: so the object is given up again and again, its memory goes back to
 * the system, and the next one begins with huge pages. */
#include "mix.h"

#include "runtime/os.h"
#include "tests/threads.h"
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE ((size_t)2 << 20)
#define PAGES 16
#define EACH (HUGE / sizeof(void *)) /* places in a huge page */
#define THINGS 8
#define ENOUGH (PAGES / 2 * HUGE)
#define ROUNDS 30 /* to see so much in */
#define MOVES 40 /* of an object's life, some of which find a huge page as a whole */

static struct {
    AO_t fresh;       /* bytes in huge pages that touching a new object has brought, at most */
    size_t most, sum; /* at the objects' end */
    AO_t rounds;
} seen;

static size_t huge_bytes(void)
{
    char line[256];
    size_t kib = 0;
    FILE *f = fopen("/proc/self/smaps_rollup", "r");
    while (f && fgets(line, sizeof line, f) && sscanf(line, "AnonHugePages: %zu kB", &kib) != 1) {
    }
    if (f) fclose(f);
    return kib << 10;
}

/* What touching it has brought. */
static void touch(mix_thing **wide)
{
    size_t before = huge_bytes();
    for (size_t i = 0; i < PAGES; i++) ((size_t *)wide)[i * EACH] = 1; /* small: no reference */
    size_t now = huge_bytes();
    if (now > before) AO_store(&seen.fresh, OAKI_MAX(AO_load(&seen.fresh), now - before));
}

/* A thing is somewhere in `wide`, and nowhere else. */
static size_t move_one(mix_thing **wide, size_t from, uint64_t id, uint64_t *draw)
{
    mix_thing *x = wide[from];
    if (!mix_is(x, id)) return from;
    wide[from] = NULL;
    size_t to = test_draw(draw) % (PAGES * EACH);
    while (wide[to]) to = (to + 1) % (PAGES * EACH);
    wide[to] = x;
    return to;
}

static void live(uint64_t *draw)
{
    mix_thing **wide = oak_alloc(PAGES * HUGE);
    size_t at[THINGS];
    mix_expect(wide != NULL);
    if (!wide) return;
    touch(wide);
    for (size_t i = 0; i < THINGS; i++) wide[at[i] = i * EACH + 7] = mix_new(i);
    for (size_t turn = 0; turn < MOVES && mix_goes_on(); turn++) {
        size_t i = test_draw(draw) % THINGS;
        at[i] = move_one(wide, at[i], i, draw);
        oaki_os_sleep_ns(1000000);
    }
    size_t now = huge_bytes();
    seen.most = OAKI_MAX(seen.most, now);
    seen.sum += now;
    AO_fetch_and_add1(&seen.rounds);
}

/* A cycle that protects what isn't touched yet, what others give back, memory that was in use as
 * small pages: any of them can take one object's huge pages away. */
bool mix_huge_waits(void)
{
    return AO_load(&seen.fresh) < ENOUGH && AO_load(&seen.rounds) < ROUNDS;
}

void *mix_huge(void *arg)
{
    uint64_t draw = mix_draws((uintptr_t)arg);
    while (mix_goes_on()) {
        live(&draw);
        (void)oak_scavenge();
    }
    return NULL;
}

/* Has the system so many at all, and now? */
static bool has_huge_pages(size_t n)
{
    size_t before = huge_bytes(), size = (n + 1) * HUGE;
    char *p = oaki_os_map(size);
    if (!p) return false;
    oaki_os_huge(p, size, true);
    memset(p, 1, size);
    bool has = huge_bytes() >= before + n * HUGE;
    oaki_os_release(p, size);
    return has;
}

void mix_huge_report(void)
{
    size_t fresh = AO_load(&seen.fresh), rounds = AO_load(&seen.rounds), some = OAKI_MAX(rounds, 1);
    printf("gc/mix: huge pages: a new object %zu MiB; at its end %zu at most, %zu in mean of %zu\n",
           fresh >> 20, seen.most >> 20, (seen.sum / some) >> 20, rounds);
    if (fresh < ENOUGH) mix_expect(!has_huge_pages(PAGES));
}
