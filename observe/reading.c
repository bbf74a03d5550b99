/* reading.c - one census for all requests within a second, and the last collections (reading.h).
 *
 * Owns: the reading. The ring and the histogram, under notes.lock, a mutex of the host's
 * library. */
#include "reading.h"
#include "runtime/os.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define BOUND(ns) ns,
const uint64_t oaki_reading_bounds[OAKI_READING_BUCKETS] = { OAKI_READING_BOUNDS(BOUND) };

static oaki_reading reading;
static AO_t taken; /* censuses taken */

static struct {
    pthread_mutex_t lock;
    oaki_cycle *ring; /* OAKI_READING_CYCLES of them; number n is at n % OAKI_READING_CYCLES */
    size_t n;         /* noted */
    oaki_pauses pauses;
} notes = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* ---- collections ---- */

static void count_pause(uint64_t pause)
{
    size_t i = 0;
    while (i < OAKI_READING_BUCKETS && pause > oaki_reading_bounds[i]) i++;
    notes.pauses.count++;
    notes.pauses.sum_ns += pause;
    notes.pauses.bucket[i]++;
}

/* A concurrent collection has more than one pause. The pauses between the first and the last are
 * known only as a sum. */
static void note(const oaki_cycle *c, void *ctx)
{
    (void)ctx;
    pthread_mutex_lock(&notes.lock);
    count_pause(oaki_cycle_pause(c));
    if (c->first_begin) count_pause(c->first - c->between);
    if (c->between) count_pause(c->between);
    if (notes.ring) notes.ring[notes.n++ % OAKI_READING_CYCLES] = *c;
    pthread_mutex_unlock(&notes.lock);
}

int oaki_reading_begin(void)
{
    notes.ring = calloc(OAKI_READING_CYCLES, sizeof *notes.ring);
    notes.n = 0;
    memset(&notes.pauses, 0, sizeof notes.pauses);
    if (notes.ring && oaki_gc_on_cycle(note, NULL) == 0) return 0;
    free(notes.ring);
    notes.ring = NULL;
    return ENOMEM;
}

void oaki_reading_off(void)
{
    oaki_gc_off_cycle(note, NULL);
    free(notes.ring);
    notes.ring = NULL;
}

size_t oaki_reading_cycles(uint64_t since, oaki_cycle *out, size_t max)
{
    size_t got = 0;
    pthread_mutex_lock(&notes.lock);
    size_t have = OAKI_MIN(notes.n, (size_t)OAKI_READING_CYCLES);
    size_t first = notes.n - OAKI_MIN(have, max);
    for (size_t i = first; notes.ring && i < notes.n; i++) {
        const oaki_cycle *c = &notes.ring[i % OAKI_READING_CYCLES];
        if (c->line.cycle > since) out[got++] = *c;
    }
    pthread_mutex_unlock(&notes.lock);
    return got;
}

void oaki_reading_pauses(oaki_pauses *out)
{
    pthread_mutex_lock(&notes.lock);
    *out = notes.pauses;
    pthread_mutex_unlock(&notes.lock);
}

/* ---- the census ---- */

const oaki_reading *oaki_reading_get(void)
{
    uint64_t now = oaki_os_now_ns();
    if (reading.valid && now - reading.taken < OAKI_READING_AGE_NS) return &reading;
    reading.valid = oaki_census_take(&reading.census) == 0;
    if (!reading.valid) return NULL;
    reading.taken = oaki_os_now_ns();
    reading.wall = oaki_os_wall_ns();
    AO_fetch_and_add1(&taken);
    return &reading;
}

void oaki_reading_end(void)
{
    oaki_census_free(&reading.census);
    reading.valid = false;
}

size_t oaki_reading_count(void)
{
    return AO_load(&taken);
}

/* In a child: forgets the reading, whose tables another thread may have been filling. The tables
 * themselves are metadata, which the child has too. */
void oaki_reading_child(void)
{
    pthread_mutex_init(&notes.lock, NULL);
    memset(&reading, 0, sizeof reading);
    notes.ring = NULL;
}
