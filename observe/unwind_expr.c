/* unwind_expr.c - DWARF expressions (DWARF 5, section 2.5), as far as they occur in .eh_frame.
 *
 * Owns nothing; no lock. Bound: STEPS operations, as an expression may jump backwards. */
#include "unwind_rules.h"

#define DEEPEST 16 /* most words on the stack */
#define STEPS 256

enum {
    OP_ADDR = 0x03,
    OP_DEREF = 0x06,
    OP_CONST_1U = 0x08, /* up to OP_CONST_8S: unsigned and signed, of 1, 2, 4 and 8 bytes */
    OP_CONST_8S = 0x0f,
    OP_CONSTU = 0x10,
    OP_CONSTS = 0x11,
    OP_DUP = 0x12,
    OP_DROP = 0x13,
    OP_OVER = 0x14,
    OP_PICK = 0x15,
    OP_SWAP = 0x16,
    OP_ROT = 0x17,
    OP_ABS = 0x19,
    OP_AND = 0x1a,
    OP_DIV = 0x1b,
    OP_MINUS = 0x1c,
    OP_MOD = 0x1d,
    OP_MUL = 0x1e,
    OP_NEG = 0x1f,
    OP_NOT = 0x20,
    OP_OR = 0x21,
    OP_PLUS = 0x22,
    OP_PLUS_UCONST = 0x23,
    OP_SHL = 0x24,
    OP_SHR = 0x25,
    OP_SHRA = 0x26,
    OP_XOR = 0x27,
    OP_BRA = 0x28,
    OP_EQ = 0x29,
    OP_GE = 0x2a,
    OP_GT = 0x2b,
    OP_LE = 0x2c,
    OP_LT = 0x2d,
    OP_NE = 0x2e,
    OP_SKIP = 0x2f,
    OP_LIT = 0x30,  /* up to 0x4f */
    OP_REG = 0x50,  /* up to 0x6f */
    OP_BREG = 0x70, /* up to 0x8f */
    OP_REGX = 0x90,
    OP_BREGX = 0x92,
    OP_DEREF_SIZE = 0x94,
    OP_NOP = 0x96
};

typedef struct stack {
    oaki_cursor c;
    uintptr_t begin;
    oaki_machine *m;
    uintptr_t word[DEEPEST];
    unsigned n;
} stack;

static void push(stack *s, uintptr_t x)
{
    if (s->n == DEEPEST)
        s->c.bad = true;
    else
        s->word[s->n++] = x;
}

static uintptr_t pop(stack *s)
{
    if (s->n > 0) return s->word[--s->n];
    s->c.bad = true;
    return 0;
}

static void pick(stack *s, uint64_t from_top)
{
    if (from_top >= s->n)
        s->c.bad = true;
    else
        push(s, s->word[s->n - 1 - from_top]);
}

static void push_register(stack *s, uint64_t column, int64_t offset)
{
    if (column < OAKI_COLUMNS && (s->m->registers->known >> column & 1)) {
        push(s, s->m->registers->r[column] + (uintptr_t)offset);
        return;
    }
    s->m->unknown = s->c.bad = true;
}

static void dereference(stack *s, size_t n)
{
    uintptr_t at = pop(s), value = 0;
    if (n > sizeof value || n == 0 || !oaki_window_read(s->m->stack, at, &value, n))
        s->c.bad = true;
    push(s, value);
}

static void jump(stack *s, bool taken)
{
    int64_t by = oaki_cursor_signed(&s->c, 2);
    if (!taken) return;
    s->c.at += (uintptr_t)by;
    if (s->c.at < s->begin || s->c.at > s->c.end) s->c.bad = true;
}

static uintptr_t divided(stack *s, intptr_t x, intptr_t y)
{
    if (y != 0 && !(y == -1 && x == INTPTR_MIN)) return (uintptr_t)(x / y);
    s->c.bad = true;
    return 0;
}

static uintptr_t binary(stack *s, unsigned op, uintptr_t x, uintptr_t y)
{
    intptr_t sx = (intptr_t)x, sy = (intptr_t)y;
    switch (op) {
    case OP_AND:
        return x & y;
    case OP_DIV:
        return divided(s, sx, sy);
    case OP_MINUS:
        return x - y;
    case OP_MOD:
        s->c.bad = s->c.bad || y == 0;
        return y ? x % y : 0;
    case OP_MUL:
        return x * y;
    case OP_OR:
        return x | y;
    case OP_PLUS:
        return x + y;
    case OP_SHL:
        return y < 64 ? x << y : 0;
    case OP_SHR:
        return y < 64 ? x >> y : 0;
    case OP_SHRA:
        return (uintptr_t)(sx >> OAKI_MIN(y, (uintptr_t)63));
    case OP_XOR:
        return x ^ y;
    case OP_EQ:
        return x == y;
    case OP_GE:
        return sx >= sy;
    case OP_GT:
        return sx > sy;
    case OP_LE:
        return sx <= sy;
    case OP_LT:
        return sx < sy;
    case OP_NE:
        return x != y;
    default:
        s->c.bad = true;
        return 0;
    }
}

static void swap(stack *s, unsigned a, unsigned b)
{
    if (a > s->n || b > s->n) {
        s->c.bad = true;
        return;
    }
    uintptr_t x = s->word[s->n - a];
    s->word[s->n - a] = s->word[s->n - b];
    s->word[s->n - b] = x;
}

static void move_words(stack *s, unsigned op)
{
    switch (op) {
    case OP_DUP:
        pick(s, 0);
        break;
    case OP_DROP:
        (void)pop(s);
        break;
    case OP_OVER:
        pick(s, 1);
        break;
    case OP_PICK:
        pick(s, oaki_cursor_bytes(&s->c, 1));
        break;
    case OP_SWAP:
        swap(s, 1, 2);
        break;
    default: /* OP_ROT: the top word moves below the next two */
        swap(s, 1, 2);
        swap(s, 2, 3);
    }
}

static void constant(stack *s, unsigned op)
{
    size_t n = (size_t)1 << (op - OP_CONST_1U) / 2;
    bool is_signed = (op - OP_CONST_1U) & 1;
    push(s, is_signed ? (uintptr_t)oaki_cursor_signed(&s->c, n) : oaki_cursor_bytes(&s->c, n));
}

static void unary(stack *s, unsigned op)
{
    uintptr_t x = pop(s);
    switch (op) {
    case OP_ABS:
        push(s, (intptr_t)x < 0 ? 0 - x : x);
        break;
    case OP_NEG:
        push(s, 0 - x);
        break;
    case OP_NOT:
        push(s, ~x);
        break;
    default:
        push(s, x + oaki_cursor_uleb(&s->c)); /* OP_PLUS_UCONST */
    }
}

static void one_of_the_rest(stack *s, unsigned op)
{
    uint64_t column;
    switch (op) {
    case OP_NOP:
        break;
    case OP_ADDR:
        push(s, oaki_cursor_bytes(&s->c, 8));
        break;
    case OP_DEREF:
        dereference(s, 8);
        break;
    case OP_DEREF_SIZE:
        dereference(s, oaki_cursor_bytes(&s->c, 1));
        break;
    case OP_CONSTU:
        push(s, oaki_cursor_uleb(&s->c));
        break;
    case OP_CONSTS:
        push(s, (uintptr_t)oaki_cursor_sleb(&s->c));
        break;
    case OP_BRA:
        jump(s, pop(s) != 0);
        break;
    case OP_SKIP:
        jump(s, true);
        break;
    case OP_REGX:
        push_register(s, oaki_cursor_uleb(&s->c), 0);
        break;
    case OP_BREGX:
        column = oaki_cursor_uleb(&s->c);
        push_register(s, column, oaki_cursor_sleb(&s->c));
        break;
    default: {
        uintptr_t y = pop(s), x = pop(s);
        push(s, binary(s, op, x, y));
    }
    }
}

static void step(stack *s)
{
    unsigned op = (unsigned)oaki_cursor_bytes(&s->c, 1);
    if (op >= OP_LIT && op < OP_REG)
        push(s, op - OP_LIT);
    else if (op >= OP_REG && op < OP_BREG)
        push_register(s, op - OP_REG, 0);
    else if (op >= OP_BREG && op < OP_REGX)
        push_register(s, op - OP_BREG, oaki_cursor_sleb(&s->c));
    else if (op >= OP_CONST_1U && op <= OP_CONST_8S)
        constant(s, op);
    else if (op >= OP_DUP && op <= OP_ROT)
        move_words(s, op);
    else if (op == OP_ABS || op == OP_NEG || op == OP_NOT || op == OP_PLUS_UCONST)
        unary(s, op);
    else
        one_of_the_rest(s, op);
}

bool oaki_expression_run(oaki_cursor c, oaki_machine *m, bool pushed, uintptr_t initial,
                         uintptr_t *out)
{
    stack s = { .c = c, .begin = c.at, .m = m };
    if (pushed) push(&s, initial);
    for (int i = 0; i < STEPS && !s.c.bad && s.c.at < s.c.end; i++) step(&s);
    if (s.c.bad || s.c.at != s.c.end || s.n == 0) return false;
    *out = s.word[s.n - 1];
    return true;
}

bool oaki_expression_at(const oaki_cfi *cfi, int64_t value, oaki_cursor *out)
{
    oaki_cursor c = cfi->own;
    c.bad = false;
    c.at = cfi->entry + (uintptr_t)value;
    if (c.at < cfi->entry || c.at >= c.end) c = cfi->common; /* the expression is in the CIE */
    c.bad = false;
    c.at = cfi->entry + (uintptr_t)value;
    uint64_t n = oaki_cursor_uleb(&c);
    if (c.bad || c.at > c.end || n > c.end - c.at) return false;
    c.end = c.at + n;
    *out = c;
    return true;
}
