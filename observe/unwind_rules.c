/* unwind_rules.c - runs the programs of an entry, which describe how rules change along its code.
 * (DWARF 5, section 6.4.2; the GNU and AArch64 extensions as binutils' readelf prints them.)
 *
 * Owns nothing; no lock. Bound: OPERATIONS. A saved row lies on the stack of a nested call.
 * Compilers nest rows once; more than NESTED are refused. */
#include "unwind_rules.h"

#define NESTED 3
#define OPERATIONS 50000 /* a large function has a few thousand */

enum {
    CFA_ADVANCE = 0x40, /* these three have an operand in their low six bits */
    CFA_OFFSET = 0x80,
    CFA_RESTORE = 0xc0,
    CFA_NOP = 0,
    CFA_SET_LOC = 1,
    CFA_ADVANCE_1 = 2,
    CFA_ADVANCE_2 = 3,
    CFA_ADVANCE_4 = 4,
    CFA_OFFSET_EXTENDED = 5,
    CFA_RESTORE_EXTENDED = 6,
    CFA_UNDEFINED = 7,
    CFA_SAME_VALUE = 8,
    CFA_REGISTER = 9,
    CFA_REMEMBER_STATE = 10,
    CFA_RESTORE_STATE = 11,
    CFA_DEF_CFA = 12,
    CFA_DEF_CFA_REGISTER = 13,
    CFA_DEF_CFA_OFFSET = 14,
    CFA_DEF_CFA_EXPRESSION = 15,
    CFA_EXPRESSION = 16,
    CFA_OFFSET_EXTENDED_SF = 17,
    CFA_DEF_CFA_SF = 18,
    CFA_DEF_CFA_OFFSET_SF = 19,
    CFA_VAL_OFFSET = 20,
    CFA_VAL_OFFSET_SF = 21,
    CFA_VAL_EXPRESSION = 22,
    CFA_AARCH64_NEGATE_RA_STATE_WITH_PC = 0x2c,
    CFA_AARCH64_NEGATE_RA_STATE = 0x2d, /* signed or not: the bits are stripped in any case */
    CFA_GNU_ARGS_SIZE = 0x2e,
    CFA_GNU_NEGATIVE_OFFSET_EXTENDED = 0x2f
};

typedef struct run {
    const oaki_cfi *cfi;
    oaki_cursor c;
    uintptr_t at, until; /* the code address reached, and the one wanted */
    oaki_row *row;
    unsigned *left; /* operations still allowed */
    bool over;      /* the row for `until` is complete, or the program has ended */
    bool common;    /* this is the CIE's program */
} run;

static void set(run *r, uint64_t column, unsigned kind, int64_t value)
{
    if (value != (int32_t)value) r->c.bad = true;
    if (column >= OAKI_COLUMNS) return; /* vector registers are not needed */
    r->row->kind[column] = (uint8_t)kind;
    r->row->value[column] = (int32_t)value;
}

static void advance(run *r, uint64_t units)
{
    uint64_t by;
    if (__builtin_mul_overflow(units, r->cfi->code_unit, &by) ||
        __builtin_add_overflow(r->at, by, &r->at))
        r->c.bad = true;
    if (r->at > r->until) r->over = true;
}

static void set_location(run *r)
{
    r->at = oaki_cursor_pointer(&r->c, r->cfi->encoding, 0);
    if (r->at > r->until) r->over = true;
}

static int64_t scaled(run *r, int64_t units)
{
    int64_t by;
    if (__builtin_mul_overflow(units, r->cfi->data_unit, &by)) r->c.bad = true;
    return r->c.bad ? 0 : by;
}

/* Skips an expression, and returns its place. */
static int64_t pass_expression(run *r)
{
    int64_t place = (int64_t)(r->c.at - r->cfi->entry);
    oaki_cursor_skip(&r->c, oaki_cursor_uleb(&r->c));
    return place;
}

static void set_cfa(run *r, bool column_too, int64_t value)
{
    if (!column_too && r->row->cfa_expression) r->c.bad = true;
    r->row->cfa_expression = false;
    r->row->cfa_value = value;
}

static void set_cfa_column(run *r, uint64_t column)
{
    if (column >= OAKI_COLUMNS) r->c.bad = true;
    r->row->cfa_column = (uint8_t)column;
}

static void execute(run *r, unsigned nested);

/* Sets the column to its rule after the CIE's program. */
static OAKI_NOINLINE void restore(run *r, uint64_t column)
{
    oaki_row initial;
    if (r->common) r->c.bad = true;
    if (r->common || column >= OAKI_COLUMNS) return;
    memset(&initial, 0, sizeof initial);
    run again = { r->cfi, r->cfi->common, r->at, UINTPTR_MAX, &initial, r->left, false, true };
    execute(&again, NESTED);
    if (again.c.bad) r->c.bad = true;
    r->row->kind[column] = initial.kind[column];
    r->row->value[column] = initial.value[column];
}

static OAKI_NOINLINE void remember(run *r, unsigned nested)
{
    oaki_row saved = *r->row;
    if (nested >= NESTED) {
        r->c.bad = true;
        return;
    }
    execute(r, nested + 1);
    if (!r->over && !r->c.bad) *r->row = saved;
}

static void execute_cfa(run *r, unsigned op)
{
    switch (op) {
    case CFA_DEF_CFA:
        set_cfa_column(r, oaki_cursor_uleb(&r->c));
        set_cfa(r, true, (int64_t)oaki_cursor_uleb(&r->c));
        break;
    case CFA_DEF_CFA_SF:
        set_cfa_column(r, oaki_cursor_uleb(&r->c));
        set_cfa(r, true, scaled(r, oaki_cursor_sleb(&r->c)));
        break;
    case CFA_DEF_CFA_REGISTER:
        set_cfa_column(r, oaki_cursor_uleb(&r->c));
        if (r->row->cfa_expression) r->c.bad = true;
        break;
    case CFA_DEF_CFA_OFFSET:
        set_cfa(r, false, (int64_t)oaki_cursor_uleb(&r->c));
        break;
    case CFA_DEF_CFA_OFFSET_SF:
        set_cfa(r, false, scaled(r, oaki_cursor_sleb(&r->c)));
        break;
    case CFA_DEF_CFA_EXPRESSION:
        r->row->cfa_value = pass_expression(r);
        r->row->cfa_expression = true;
        break;
    default:
        r->c.bad = true;
    }
}

static void execute_rule(run *r, unsigned op)
{
    uint64_t column = oaki_cursor_uleb(&r->c);
    switch (op) {
    case CFA_OFFSET_EXTENDED:
        set(r, column, OAKI_RULE_AT, scaled(r, (int64_t)oaki_cursor_uleb(&r->c)));
        break;
    case CFA_OFFSET_EXTENDED_SF:
        set(r, column, OAKI_RULE_AT, scaled(r, oaki_cursor_sleb(&r->c)));
        break;
    case CFA_GNU_NEGATIVE_OFFSET_EXTENDED:
        set(r, column, OAKI_RULE_AT, scaled(r, -(int64_t)oaki_cursor_uleb(&r->c)));
        break;
    case CFA_VAL_OFFSET:
        set(r, column, OAKI_RULE_IS, scaled(r, (int64_t)oaki_cursor_uleb(&r->c)));
        break;
    case CFA_VAL_OFFSET_SF:
        set(r, column, OAKI_RULE_IS, scaled(r, oaki_cursor_sleb(&r->c)));
        break;
    case CFA_REGISTER:
        set(r, column, OAKI_RULE_COPIED, (int64_t)oaki_cursor_uleb(&r->c));
        break;
    case CFA_EXPRESSION:
        set(r, column, OAKI_RULE_AT_EXPRESSION, pass_expression(r));
        break;
    case CFA_VAL_EXPRESSION:
        set(r, column, OAKI_RULE_IS_EXPRESSION, pass_expression(r));
        break;
    case CFA_UNDEFINED:
        set(r, column, OAKI_RULE_UNDEFINED, 0);
        break;
    case CFA_SAME_VALUE:
        set(r, column, OAKI_RULE_SAME, 0);
        break;
    case CFA_RESTORE_EXTENDED:
        restore(r, column);
        break;
    default:
        r->c.bad = true;
    }
}

static void execute_one(run *r, unsigned op, unsigned nested)
{
    switch (op) {
    case CFA_NOP:
    case CFA_AARCH64_NEGATE_RA_STATE:
    case CFA_AARCH64_NEGATE_RA_STATE_WITH_PC:
        break;
    case CFA_SET_LOC:
        set_location(r);
        break;
    case CFA_ADVANCE_1:
        advance(r, oaki_cursor_bytes(&r->c, 1));
        break;
    case CFA_ADVANCE_2:
        advance(r, oaki_cursor_bytes(&r->c, 2));
        break;
    case CFA_ADVANCE_4:
        advance(r, oaki_cursor_bytes(&r->c, 4));
        break;
    case CFA_REMEMBER_STATE:
        remember(r, nested);
        break;
    case CFA_GNU_ARGS_SIZE:
        (void)oaki_cursor_uleb(&r->c);
        break;
    case CFA_DEF_CFA:
    case CFA_DEF_CFA_SF:
    case CFA_DEF_CFA_REGISTER:
    case CFA_DEF_CFA_OFFSET:
    case CFA_DEF_CFA_OFFSET_SF:
    case CFA_DEF_CFA_EXPRESSION:
        execute_cfa(r, op);
        break;
    default:
        execute_rule(r, op);
    }
}

/* Runs to the end of the program, to the wanted row, or to the end of a nested part. A part may end
 * without restoring the remembered row. */
static void execute(run *r, unsigned nested)
{
    while (!r->c.bad && !r->over && r->c.at < r->c.end) {
        if (--*r->left == 0) r->c.bad = true;
        unsigned op = (unsigned)oaki_cursor_bytes(&r->c, 1), low = op & 63;
        switch (op & 0xc0) {
        case CFA_ADVANCE:
            advance(r, low);
            break;
        case CFA_OFFSET:
            set(r, low, OAKI_RULE_AT, scaled(r, (int64_t)oaki_cursor_uleb(&r->c)));
            break;
        case CFA_RESTORE:
            restore(r, low);
            break;
        default:
            if (op == CFA_RESTORE_STATE) {
                if (nested == 0) r->c.bad = true;
                return;
            }
            execute_one(r, op, nested);
        }
    }
    r->over = true;
}

bool oaki_row_read(const oaki_cfi *cfi, uintptr_t pc, oaki_row *out)
{
    memset(out, 0, sizeof *out);
    if (pc < cfi->start || pc - cfi->start >= cfi->size) return false;
    if (cfi->return_column != OAKI_COLUMN_RA) return false;
    unsigned left = OPERATIONS;
    run r = { cfi, cfi->common, cfi->start, UINTPTR_MAX, out, &left, false, true };
    execute(&r, NESTED);
    if (r.c.bad) return false;
    r.c = cfi->own;
    r.common = r.over = false;
    r.until = pc;
    execute(&r, 0);
    return !r.c.bad;
}
