/* espresso.c - lists of cubes that are split, copied and merged: espresso CUBES ROUNDS.
 *
 * The complement of a sum of products by Shannon's expansion, as in Brayton, Hachtel, McMullen and
 * Sangiovanni-Vincentelli, Logic Minimization Algorithms for VLSI Synthesis (1984). */
#include "work.h"

enum { VARIABLES = 28, LITERALS = 6 };

/* Two bits for each variable: it may be 0, it may be 1. */
typedef struct cube {
    uint64_t may;
} cube;

typedef struct cover {
    size_t n, room;
    cube **c;
} cover;

#define ANY ((UINT64_C(1) << 2 * VARIABLES) - 1)

static uint64_t made;

static uint64_t literal(unsigned v, unsigned value)
{
    return UINT64_C(1) << (2 * v + value);
}

static cover *new_cover(void)
{
    cover *f = work_alloc(sizeof *f);
    *f = (cover){ 0, 0, NULL };
    made++;
    return f;
}

static void put(cover *f, uint64_t may)
{
    if (f->n == f->room) {
        f->room = f->room ? 2 * f->room : 4;
        f->c = realloc(f->c, f->room * sizeof *f->c);
        if (!f->c) work_end("out of memory");
        made++;
    }
    f->c[f->n] = work_alloc(sizeof(cube));
    f->c[f->n++]->may = may;
    made++;
}

static void drop(cover *f)
{
    for (size_t i = 0; i < f->n; i++) free(f->c[i]);
    free(f->c);
    free(f);
}

/* What is left of f where v has the value. */
static cover *cofactor(const cover *f, unsigned v, unsigned value)
{
    cover *g = new_cover();
    for (size_t i = 0; i < f->n; i++)
        if (f->c[i]->may & literal(v, value)) put(g, f->c[i]->may | literal(v, 0) | literal(v, 1));
    return g;
}

/* The variable that most cubes depend on; VARIABLES if none depends on any. */
static unsigned splitting(const cover *f)
{
    unsigned best = VARIABLES, most = 0;
    for (unsigned v = 0; v < VARIABLES; v++) {
        unsigned n = 0;
        for (size_t i = 0; i < f->n; i++) n += (f->c[i]->may >> 2 * v & 3) != 3;
        if (n > most) {
            most = n;
            best = v;
        }
    }
    return best;
}

/* g's cubes go to f where v has the value; those that f has for the other value are made one. */
static void merge(cover *f, cover *g, unsigned v, unsigned value)
{
    uint64_t both = literal(v, 0) | literal(v, 1);
    size_t before = f->n;
    for (size_t i = 0; i < g->n; i++) {
        uint64_t may = g->c[i]->may;
        bool same = false;
        for (size_t j = 0; j < before && !same; j++) {
            same = (f->c[j]->may | both) == may;
            if (same) f->c[j]->may = may;
        }
        if (!same) put(f, may & ~(both & ~literal(v, value)));
    }
    drop(g);
}

static cover *complement(const cover *f)
{
    unsigned v = splitting(f);
    cover *g = new_cover();
    if (f->n == 0) put(g, ANY);
    if (v == VARIABLES) return g;
    for (unsigned value = 0; value < 2; value++) {
        cover *part = cofactor(f, v, value), *left = complement(part);
        drop(part);
        merge(g, left, v, value);
    }
    return g;
}

static cover *random_cover(uint64_t *random, size_t cubes)
{
    cover *f = new_cover();
    for (size_t i = 0; i < cubes; i++) {
        uint64_t may = ANY;
        for (unsigned k = 0; k < LITERALS; k++) {
            uint64_t r = bench_random(random);
            may &= ~literal((unsigned)(r % VARIABLES), (unsigned)(r >> 32) & 1);
        }
        bool empty = false;
        for (unsigned v = 0; v < VARIABLES; v++) empty |= (may >> 2 * v & 3) == 0;
        if (!empty) put(f, may);
    }
    return f;
}

int main(int argc, char **argv)
{
    size_t cubes = (size_t)bench_arg(argc, argv, 1, 24);
    uint64_t rounds = bench_arg(argc, argv, 2, 10), random = 1, check = 0, start = bench_now_ns();
    for (uint64_t r = 0; r < rounds; r++) {
        cover *f = random_cover(&random, cubes), *g = complement(f);
        check += g->n;
        for (size_t i = 0; i < g->n; i++) check += bench_mix(g->c[i]->may + i) & 0xffff;
        drop(f);
        drop(g);
    }
    return work_print(check, start, made);
}
