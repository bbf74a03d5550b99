/* tagged.c - words with tags under GC_set_pointer_mask and GC_set_pointer_shift, which Debian's
 * libgc-dev does not declare yet: tagged PART. Prints nothing; the exit status says how it went. */
#include <gc/gc.h>
#include <gc/gc_typed.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void GC_set_pointer_mask(GC_word mask);
GC_word GC_get_pointer_mask(void);
void GC_set_pointer_shift(unsigned shift);
unsigned GC_get_pointer_shift(void);

#define N 500
#define NAN_BOX ((GC_word)0xfffc << 48)
#define MASK (((GC_word)1 << 48) - 1)

static GC_word *in_data[2];
static GC_word links[N];

static GC_word box(void *p)
{
    GC_word shift = GC_get_pointer_shift();
    return (GC_word)p >> shift | (GC_get_pointer_mask() == ~(GC_word)0 ? 0 : NAN_BOX);
}

__attribute__((noinline)) static void fill(GC_word *words)
{
    for (int i = 0; i < N; i++) {
        void *p = GC_malloc(48);
        links[i] = GC_HIDE_POINTER(p);
        GC_general_register_disappearing_link((void **)&links[i], p);
        words[i] = box(p);
    }
}

__attribute__((noinline)) static void wipe(void)
{
    char stack[65536];
    memset(stack, 0, sizeof stack);
    __asm__ volatile("" : : "r"(stack) : "memory");
}

static int alive(void)
{
    int n = 0;
    wipe();
    GC_gcollect();
    for (int i = 0; i < N; i++) n += links[i] != 0;
    return n;
}

/* All live while the words are there, and few when they are not. */
static int keeps(GC_word *words)
{
    in_data[0] = words;
    fill(words);
    if (alive() != N) return fprintf(stderr, "%d of %d live\n", alive(), N);
    memset(words, 0, N * sizeof *words);
    return alive() <= N / 10 ? 0 : fprintf(stderr, "%d live on\n", alive());
}

static GC_word *typed(void)
{
    GC_word bits[(N + 63) / 64];
    memset(bits, 0xff, sizeof bits);
    return GC_malloc_explicitly_typed(N * sizeof(GC_word), GC_make_descriptor(bits, N));
}

static int none(void)
{
    GC_INIT();
    in_data[0] = GC_malloc(N * sizeof(GC_word));
    fill(in_data[0]);
    for (int i = 0; i < N; i++) in_data[0][i] |= NAN_BOX;
    return GC_get_pointer_mask() != ~(GC_word)0 || GC_get_pointer_shift() != 0 || alive() > N / 10;
}

/* Also where the library has failed to start. */
static void at_exit(void)
{
    (void)GC_malloc(16);
}

int main(int argc, char **argv)
{
    atexit(at_exit);
    const char *part = argc > 1 ? argv[1] : "";
    if (strcmp(part, "none") == 0) return none();
    if (strcmp(part, "narrow") == 0) GC_set_pointer_mask(0xffff);
    if (strcmp(part, "holes") == 0) GC_set_pointer_mask(MASK & ~(GC_word)0xff00);
    if (strcmp(part, "far") == 0) GC_set_pointer_shift(40);
    if (strcmp(part, "late") == 0) GC_INIT();
    if (strcmp(part, "late-both") == 0) GC_INIT();
    if (strcmp(part, "both") == 0 || strcmp(part, "late-both") == 0) {
        GC_set_pointer_mask(MASK >> 5); /* 43 bits: not enough without the shift */
        GC_set_pointer_shift(4);
    }
    if (strcmp(part, "displaced") == 0) GC_set_all_interior_pointers(0);
    if (strcmp(part, "shift") == 0)
        GC_set_pointer_shift(4);
    else if (!GC_is_init_called() || strcmp(part, "late") == 0)
        if (GC_get_pointer_mask() == ~(GC_word)0 && strcmp(part, "far") != 0)
            GC_set_pointer_mask(MASK);
    GC_INIT();
    if (strcmp(part, "late-narrow") == 0) GC_set_pointer_mask(0xffff);
    if (keeps(GC_malloc(N * sizeof(GC_word)))) return 1;
    if (keeps(GC_malloc_uncollectable(N * sizeof(GC_word)))) return 1;
    return keeps(typed()) != 0;
}
