/* operands.c - an interpreter's operand stack, whose slots above the top keep nothing alive.
 *
 * The slots are an object whose type marks nothing. The mark function of the object that knows the
 * top marks the live ones, so the live length is read at mark time. A pointer to the slots alone
 * keeps no values: keep the struct operands.
 *
 * It pushes 1,000 values, pops all but 10, and prints what a collection has left of both. */
#include <oakum/oakum.h>
#include <stdio.h>

enum { SLOTS = 1000, LIVE = 10 };

typedef struct operands {
    void **slot; /* an object of its own */
    size_t top;
} operands;

static oak_type *operands_type, *slots_type;
static operands *stack;        /* a root: static data */
static oak_weak *value[SLOTS]; /* tells whether it is still there */

static void mark_operands(oak_marker *m, void *object, size_t size)
{
    operands *s = object;
    (void)size;
    oak_mark_ptr(m, s->slot);
    if (s->slot) oak_mark_range(m, s->slot, s->top * sizeof *s->slot);
}

static void mark_nothing(oak_marker *m, void *object, size_t size)
{
    (void)m, (void)object, (void)size;
}

/* Two types, made once; NULL: there is no memory. */
static operands *operands_new(size_t slots)
{
    if (!operands_type) operands_type = oak_type_function("operands", 16, mark_operands);
    if (!slots_type) slots_type = oak_type_function("slots", 8, mark_nothing);
    operands *s = operands_type && slots_type ? oak_alloc_typed(operands_type, 1) : NULL;
    if (s) s->slot = oak_alloc_typed(slots_type, slots);
    return s && s->slot ? s : NULL;
}

/* A collection may come between any two instructions: the top is raised before the value is stored,
 * and lowered after it is read. */
static void push(operands *s, void *v)
{
    size_t at = s->top++;
    __asm__ volatile("" ::: "memory"); /* or atomic_signal_fence */
    s->slot[at] = v;
}

static void *pop(operands *s)
{
    void *v = s->slot[s->top - 1];
    __asm__ volatile("" ::: "memory");
    s->top--;
    return v;
}

static __attribute__((noinline)) void run(void)
{
    for (int i = 0; i < SLOTS; i++) {
        void *v = oak_alloc(48);
        value[i] = oak_weak_new(v);
        push(stack, v);
    }
    while (stack->top > LIVE) (void)pop(stack);
}

static int count(int from, int to)
{
    int n = 0;
    for (int i = from; i < to; i++) n += oak_weak_get(value[i]) != NULL;
    return n;
}

int main(void)
{
    if (!(stack = operands_new(SLOTS))) return 1;
    run();
    oak_collect();
    printf("%d of %d live values are there\n", count(0, LIVE), LIVE);
    printf("%d of %d popped ones are\n", count(LIVE, SLOTS), SLOTS - LIVE);
    return 0;
}
