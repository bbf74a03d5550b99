/* frames.c - a main loop at 60 frames a second that keeps a millisecond of each for the collector.
 *
 * A frame has 16.7 ms: for its work, then for a step of the collection, and the rest is slept. So
 * collections are done in the loop's spare time, by a thread that knows when it has some. The
 * option concurrent stays on: without it a step may be a whole collection.
 *
 * frames [N]: so many frames, and what the steps took. */
#include <oakum/oakum.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define FRAME_NS 16666667L
#define STEP_US 1000 /* of each frame, for the collector */
#define THINGS 20000

typedef struct thing {
    struct thing *target;
    double x, y, dx, dy;
} thing;

static thing *world[THINGS]; /* a root: static data */

static long long now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* The work of a frame: all things move, and a few are replaced. */
static int update(unsigned frame)
{
    for (unsigned i = 0; i < THINGS; i++) {
        thing *t = world[i];
        if (!t || (i + frame) % 20 == 0) {
            if (!(t = oak_alloc(sizeof *t))) return -1;
            *t = (thing){ world[(i * 7 + frame) % THINGS], i, frame, 1, -1 };
            if (t->target) t->target->target = NULL; /* or all that ever was would hang together */
            world[i] = t;
        }
        t->x += t->dx;
        t->y += t->dy;
    }
    return 0;
}

/* Until the next frame is due. A loop that is late doesn't catch up. */
static void wait_until(long long due)
{
    long long left = due - now_ns();
    if (left <= 0) return;
    struct timespec t = { 0, (long)left };
    nanosleep(&t, NULL);
}

int main(int argc, char **argv)
{
    unsigned frames = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 600;
    long long longest = 0, total = 0;
    oak_memstats m;
    for (unsigned frame = 0; frame < frames; frame++) {
        long long begin = now_ns();
        if (update(frame) != 0) return 1;
        long long done = now_ns();
        if (FRAME_NS - (done - begin) > STEP_US * 1000LL) oak_collect_step(STEP_US);
        long long took = now_ns() - done;
        total += took;
        if (took > longest) longest = took;
        wait_until(begin + FRAME_NS);
    }
    oak_memstats_read(&m);
    printf("%u frames, %u collections\n", frames, (unsigned)m.num_gc);
    printf("steps of %d us: %.0f us on average, %.0f at most\n", STEP_US,
           (double)total / 1000 / (frames ? frames : 1), (double)longest / 1000);
    return 0;
}
