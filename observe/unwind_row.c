/* unwind_row.c - a frame by the row of its pc: as a rule that fits in a word, or the whole row
 * (unwind_walk.h).
 *
 * Owns nothing; no lock. */
#include "unwind_walk.h"

#include "unwind_content.h"

#define OP_DEREF 0x06
#define OP_BREG_FP (0x70 + OAKI_COLUMN_FP)

const oaki_unwind_object *oaki_walk_find_object(oaki_walk *w, uintptr_t pc)
{
    oaki_unwind_object o = w->object[1];
    if (pc - o.lo >= o.hi - o.lo) {
        if (!oaki_unwind_find_object(pc, &o)) return NULL;
        o.identity ^= oaki_unwind_content(&o, w->sure);
    }
    w->object[1] = w->object[0];
    w->object[0] = o;
    return &w->object[0];
}

static bool find_row(const oaki_unwind_object *o, uintptr_t at, oaki_window *tables, oaki_cfi *cfi,
                     oaki_row *row)
{
    uintptr_t entry = oaki_unwind_find_entry(o, at, tables);
    return entry >= o->lo && entry < o->hi && oaki_cfi_read(entry, o->hi, tables, cfi) &&
           oaki_row_read(cfi, at, row);
}

/* ---- a row as a word ---- */

/* Is the expression "frame pointer + n"; or, with `stored`, the word stored there? */
static bool is_relative_to_fp(const oaki_cfi *cfi, int64_t expression, bool stored, int64_t *n)
{
    oaki_cursor c;
    if (!oaki_expression_at(cfi, expression, &c)) return false;
    bool fits = oaki_cursor_bytes(&c, 1) == OP_BREG_FP;
    *n = oaki_cursor_sleb(&c);
    if (stored) fits = fits && oaki_cursor_bytes(&c, 1) == OP_DEREF;
    return fits && !c.bad && c.at == c.end;
}

static bool in_words(int64_t bytes, int *words)
{
    *words = (int)(bytes / 8);
    return bytes % 8 == 0 && bytes > INT16_MIN * 8 && bytes < INT16_MAX * 8;
}

/* Other columns may have any rule. If a frame above needs one, the walk restarts (unwind.c). */
static bool fits_in_word(const oaki_cfi *cfi, const oaki_row *row)
{
    return !cfi->signal && row->kind[OAKI_COLUMN_SP] == OAKI_RULE_SAME &&
           row->kind[OAKI_COLUMN_RA] == OAKI_RULE_AT;
}

static bool compact_cfa(const oaki_cfi *cfi, const oaki_row *row, unsigned *kind, int64_t *distance)
{
    *distance = row->cfa_value;
    if (!row->cfa_expression) {
        *kind = row->cfa_column == OAKI_COLUMN_SP ? OAKI_BY_SP : OAKI_BY_FP;
        if (row->cfa_column != OAKI_COLUMN_SP && row->cfa_column != OAKI_COLUMN_FP) return false;
    } else {
        *kind = OAKI_BY_STORED;
        if (!is_relative_to_fp(cfi, row->cfa_value, true, distance)) return false;
    }
    return *distance > -(1 << 23) && *distance < 1 << 23;
}

static bool compact_fp(const oaki_cfi *cfi, const oaki_row *row, unsigned kind, int *fp)
{
    int64_t place = row->value[OAKI_COLUMN_FP];
    switch (row->kind[OAKI_COLUMN_FP]) {
    case OAKI_RULE_SAME:
        *fp = OAKI_FP_KEPT;
        return true;
    case OAKI_RULE_AT:
        return kind != OAKI_BY_STORED && in_words(place, fp);
    case OAKI_RULE_AT_EXPRESSION:
        return kind == OAKI_BY_STORED && is_relative_to_fp(cfi, place, false, &place) &&
               in_words(place, fp);
    default:
        return false;
    }
}

oaki_rule oaki_walk_read_rule(const oaki_unwind_object *o, uintptr_t at)
{
    oaki_window tables = { 0, 0 };
    oaki_cfi cfi;
    oaki_row row;
    unsigned kind;
    int ra, fp;
    int64_t distance;
    if (!find_row(o, at, &tables, &cfi, &row)) return oaki_rule_of(OAKI_BY_CHAIN, 0, 0, 0);
    if (row.kind[OAKI_COLUMN_RA] == OAKI_RULE_UNDEFINED) return oaki_rule_of(OAKI_AT_END, 0, 0, 0);
    if (!fits_in_word(&cfi, &row) || !in_words(row.value[OAKI_COLUMN_RA], &ra) ||
        !compact_cfa(&cfi, &row, &kind, &distance) || !compact_fp(&cfi, &row, kind, &fp))
        return oaki_rule_of(OAKI_BY_ROW, 0, 0, 0);
    return oaki_rule_of(kind, ra, fp, distance);
}

/* ---- the whole row ---- */

static bool find_cfa(const oaki_cfi *cfi, const oaki_row *row, oaki_machine *m, uintptr_t *out)
{
    oaki_cursor c;
    if (row->cfa_expression)
        return oaki_expression_at(cfi, row->cfa_value, &c) &&
               oaki_expression_run(c, m, false, 0, out);
    if (!(m->registers->known >> row->cfa_column & 1)) {
        m->unknown = true;
        return false;
    }
    *out = m->registers->r[row->cfa_column] + (uintptr_t)row->cfa_value;
    return true;
}

typedef struct caller {
    const oaki_cfi *cfi;
    const oaki_row *row;
    oaki_machine machine; /* with the callee's registers */
    uintptr_t cfa;
} caller;

/* False: the register has no known value in the caller. */
static bool find_register(caller *c, unsigned column, uintptr_t *out)
{
    const oaki_registers *r = c->machine.registers;
    int32_t value = c->row->value[column];
    uintptr_t at = c->cfa + (uintptr_t)(intptr_t)value;
    oaki_cursor expression;
    switch (c->row->kind[column]) {
    case OAKI_RULE_SAME:
    case OAKI_RULE_COPIED:
        if (c->row->kind[column] == OAKI_RULE_COPIED) column = (unsigned)value;
        if (column >= OAKI_COLUMNS || !(r->known >> column & 1)) return false;
        *out = r->r[column];
        return true;
    case OAKI_RULE_IS:
        *out = at;
        return true;
    case OAKI_RULE_AT:
        break;
    case OAKI_RULE_AT_EXPRESSION:
    case OAKI_RULE_IS_EXPRESSION:
        if (!oaki_expression_at(c->cfi, value, &expression) ||
            !oaki_expression_run(expression, &c->machine, true, c->cfa, &at))
            return false;
        *out = at;
        if (c->row->kind[column] == OAKI_RULE_IS_EXPRESSION) return true;
        break;
    default:
        return false;
    }
    return oaki_window_read(c->machine.stack, at, out, sizeof *out);
}

/* Without another rule, the caller's stack pointer is the CFA. */
static void restore_all(caller *c, oaki_registers *to)
{
    to->known = 0;
    for (unsigned i = 0; i < OAKI_COLUMNS; i++)
        if (find_register(c, i, &to->r[i])) to->known |= 1u << i;
    if (c->row->kind[OAKI_COLUMN_SP] != OAKI_RULE_SAME) return;
    to->r[OAKI_COLUMN_SP] = c->cfa;
    to->known |= 1u << OAKI_COLUMN_SP;
}

bool oaki_walk_row(oaki_walk *w, const oaki_unwind_object *o, uintptr_t at)
{
    oaki_window tables = { 0, 0 };
    oaki_registers callee = w->registers;
    oaki_cfi cfi;
    oaki_row row;
    caller c = { &cfi, &row, { &callee, &w->stack, false }, 0 };
    if (!find_row(o, at, &tables, &cfi, &row)) return false;
    if (!find_cfa(&cfi, &row, &c.machine, &c.cfa)) {
        w->unknown = c.machine.unknown && !w->full;
        return false;
    }
    uintptr_t sp = callee.r[OAKI_COLUMN_SP];
    restore_all(&c, &w->registers);
    uint32_t needed = 1u << OAKI_COLUMN_SP | 1u << OAKI_COLUMN_RA;
    if ((w->registers.known & needed) != needed) return false;
    uintptr_t above = w->registers.r[OAKI_COLUMN_SP];
    w->pc = oaki_strip(w->registers.r[OAKI_COLUMN_RA]);
    if (cfi.signal)
        oaki_walk_enter_stack(w, above); /* it may be another stack */
    else if (above < sp || (above == sp && !w->exact))
        return false;
    w->exact = cfi.signal;
    return true;
}
