/* cfrac.c - small numbers that live shortly: the continued fraction of a square root, as in the
 * factoring of Morrison and Brillhart (1975): cfrac STEPS.
 *
 * Each result is a block of its own. sqrt(n) = [a0; a1, a2, ...], where m' = d a - m,
 * d' = (n - m'^2) / d and a' = (a0 + m') / d'. The numerators of the convergents are kept modulo n,
 * and each d is divided by small primes. */
#include "work.h"

enum { MOST = 16 };

typedef struct number {
    unsigned n;      /* limbs; 0 for zero */
    uint32_t limb[]; /* the least first; the last is not zero */
} number;

static uint64_t made;

static number *make(unsigned n)
{
    number *a = work_alloc(sizeof *a + n * sizeof a->limb[0]);
    if (n > MOST) work_end("a number is too large");
    a->n = n;
    made++;
    return a;
}

static number *trim(number *a)
{
    while (a->n > 0 && a->limb[a->n - 1] == 0) a->n--;
    return a;
}

static number *small(uint32_t x)
{
    number *a = make(1);
    a->limb[0] = x;
    return trim(a);
}

static uint32_t limb(const number *a, unsigned i)
{
    return i < a->n ? a->limb[i] : 0;
}

static int compare(const number *a, const number *b)
{
    if (a->n != b->n) return a->n < b->n ? -1 : 1;
    for (unsigned i = a->n; i-- > 0;)
        if (a->limb[i] != b->limb[i]) return a->limb[i] < b->limb[i] ? -1 : 1;
    return 0;
}

static number *add(const number *a, const number *b)
{
    number *c = make((a->n > b->n ? a->n : b->n) + 1);
    uint64_t carry = 0;
    for (unsigned i = 0; i < c->n; i++) {
        carry += (uint64_t)limb(a, i) + limb(b, i);
        c->limb[i] = (uint32_t)carry;
        carry >>= 32;
    }
    return trim(c);
}

/* a is not less than b. */
static number *subtract(const number *a, const number *b)
{
    number *c = make(a->n);
    int64_t borrow = 0;
    for (unsigned i = 0; i < c->n; i++) {
        borrow += (int64_t)limb(a, i) - limb(b, i);
        c->limb[i] = (uint32_t)borrow;
        borrow >>= 32;
    }
    return trim(c);
}

static number *multiply(const number *a, const number *b)
{
    number *c = make(a->n + b->n);
    memset(c->limb, 0, c->n * sizeof c->limb[0]);
    for (unsigned i = 0; i < a->n; i++) {
        uint64_t carry = 0;
        for (unsigned j = 0; j < b->n; j++) {
            carry += (uint64_t)a->limb[i] * b->limb[j] + c->limb[i + j];
            c->limb[i + j] = (uint32_t)carry;
            carry >>= 32;
        }
        c->limb[i + b->n] = (uint32_t)carry;
    }
    return trim(c);
}

static number *shifted(const number *a, unsigned bits, unsigned limbs)
{
    number *c = make(limbs);
    for (unsigned i = 0; i < limbs; i++) {
        uint64_t two = (uint64_t)limb(a, i) << 32 | (i > 0 ? limb(a, i - 1) : 0);
        c->limb[i] = (uint32_t)(two << bits >> 32);
    }
    return c;
}

/* u, from limb j on, less q v. Once more v is added where that was too much. */
static uint32_t take_away(number *u, const number *v, unsigned j, uint64_t q)
{
    int64_t borrow = 0;
    uint64_t carry = 0;
    for (unsigned i = 0; i <= v->n; i++) {
        carry += q * limb(v, i);
        borrow += (int64_t)u->limb[i + j] - (int64_t)(uint32_t)carry;
        u->limb[i + j] = (uint32_t)borrow;
        borrow >>= 32;
        carry >>= 32;
    }
    if (borrow == 0) return (uint32_t)q;
    for (unsigned i = 0; i <= v->n; i++) {
        carry += (uint64_t)u->limb[i + j] + limb(v, i);
        u->limb[i + j] = (uint32_t)carry;
        carry >>= 32;
    }
    return (uint32_t)q - 1;
}

/* Knuth, The Art of Computer Programming 2, 4.3.1, algorithm D. *rest may be asked for. b > 0. */
static number *divide(const number *a, const number *b, number **rest)
{
    unsigned bits = (unsigned)__builtin_clz(b->limb[b->n - 1]);
    unsigned extra = a->n >= b->n ? a->n - b->n : 0;
    number *u = shifted(a, bits, b->n + extra + 1), *v = shifted(b, bits, b->n);
    number *q = make(extra + 1);
    uint64_t top = v->limb[v->n - 1], next = v->n > 1 ? v->limb[v->n - 2] : 0;
    for (unsigned j = extra + 1; j-- > 0;) {
        uint64_t two = (uint64_t)u->limb[j + v->n] << 32 | u->limb[j + v->n - 1];
        uint64_t guess = two / top, left = two % top;
        uint64_t third = j + v->n > 1 ? u->limb[j + v->n - 2] : 0;
        while (guess >> 32 || (left >> 32 == 0 && guess * next > (left << 32 | third))) {
            guess--;
            left += top;
            if (left >> 32) break;
        }
        q->limb[j] = take_away(u, v, j, guess);
    }
    if (rest) {
        number *r = make(v->n);
        for (unsigned i = 0; i < r->n; i++)
            r->limb[i] = (uint32_t)(((uint64_t)limb(u, i + 1) << 32 | u->limb[i]) >> bits);
        *rest = trim(r);
    }
    free(u);
    free(v);
    return trim(q);
}

/* Newton's way, from above. */
static number *root(const number *n)
{
    number *x = make(n->n / 2 + 1), *two = small(2);
    memset(x->limb, 0xff, x->n * sizeof x->limb[0]);
    for (;;) {
        number *part = divide(n, x, NULL), *sum = add(x, part), *better = divide(sum, two, NULL);
        free(part);
        free(sum);
        bool less = compare(better, x) < 0;
        number *old = less ? x : better;
        if (less) x = better;
        free(old);
        if (less) continue;
        free(two);
        return x;
    }
}

static void set(number **at, number *to)
{
    free(*at);
    *at = to;
}

/* The primes are taken out of d; what is left tells whether it is smooth. */
static uint32_t smooth(const number *d)
{
    static const uint32_t primes[] = { 2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47 };
    number *left = add(d, (const number[]){ { 0 } });
    uint32_t count = 0;
    for (unsigned i = 0; i < sizeof primes / sizeof *primes; i++) {
        number *p = small(primes[i]);
        for (bool whole = true; whole;) {
            number *rest, *part = divide(left, p, &rest);
            whole = rest->n == 0;
            count += whole;
            if (whole)
                set(&left, part);
            else
                free(part);
            free(rest);
        }
        free(p);
    }
    count = count << 8 | (left->limb[0] & 0xff);
    free(left);
    return count;
}

int main(int argc, char **argv)
{
    uint64_t steps = bench_arg(argc, argv, 1, 10000), check = 0, start = bench_now_ns();
    number *n = make(4);
    for (unsigned i = 0; i < 4; i++) n->limb[i] = 0x9e3779b9u * (i + 1);
    number *a0 = root(n), *a = add(a0, (const number[]){ { 0 } }), *m = make(0), *d = small(1);
    number *before = small(1), *now = add(a0, (const number[]){ { 0 } });
    for (uint64_t k = 0; k < steps; k++) {
        number *da = multiply(d, a);
        set(&m, subtract(da, m));
        number *square = multiply(m, m), *less = subtract(n, square);
        set(&d, divide(less, d, NULL));
        number *sum = add(a0, m);
        set(&a, divide(sum, d, NULL));
        number *an = multiply(a, now), *all = add(an, before), *rest;
        free(divide(all, n, &rest));
        free(before);
        before = now;
        now = rest;
        check += smooth(d) + limb(now, 0);
        free(da);
        free(square);
        free(less);
        free(sum);
        free(an);
        free(all);
    }
    return work_print(check, start, made);
}
