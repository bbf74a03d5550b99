/* unwind_rules.h - rules that compute a caller's registers from those of its callee.
 *
 * A row holds for one pc: where the caller's frame begins (the CFA), and for each register a rule.
 * Columns are DWARF's register numbers. */
#ifndef OAKI_UNWIND_RULES_H
#define OAKI_UNWIND_RULES_H

#include "unwind_cfi.h"

#if defined(__x86_64__)
#define OAKI_COLUMNS 17 /* general registers, and the return address */
#define OAKI_COLUMN_FP 6
#define OAKI_COLUMN_SP 7
#define OAKI_COLUMN_RA 16
#elif defined(__aarch64__)
#define OAKI_COLUMNS 32 /* x0 to x30, and sp */
#define OAKI_COLUMN_FP 29
#define OAKI_COLUMN_SP 31
#define OAKI_COLUMN_RA 30
#else
#error "no register numbers for this machine"
#endif

typedef struct oaki_registers {
    uintptr_t r[OAKI_COLUMNS];
    uint32_t known; /* a bit for each register whose value is known */
} oaki_registers;

enum {
    OAKI_RULE_SAME, /* the callee doesn't change it */
    OAKI_RULE_UNDEFINED,
    OAKI_RULE_AT,     /* stored at CFA + value */
    OAKI_RULE_IS,     /* equals CFA + value */
    OAKI_RULE_COPIED, /* is in the column `value` */
    OAKI_RULE_AT_EXPRESSION,
    OAKI_RULE_IS_EXPRESSION
};

/* An expression is stored as its length and its bytes, at the entry's address + value. */
typedef struct oaki_row {
    bool cfa_expression;
    uint8_t cfa_column;
    uint8_t kind[OAKI_COLUMNS];
    int32_t value[OAKI_COLUMNS];
    int64_t cfa_value; /* CFA = column + this; or the expression's place */
} oaki_row;

/* The row of pc, which the entry covers. False if a program of the entry can't be run. */
bool oaki_row_read(const oaki_cfi *cfi, uintptr_t pc, oaki_row *out);

/* The inputs of an expression. */
typedef struct oaki_machine {
    const oaki_registers *registers;
    oaki_window *stack; /* window on the memory that it reads */
    bool unknown;       /* set when it needs a register whose value isn't known */
} oaki_machine;

/* Runs the expression in c, and nothing beyond it. If `pushed`, `initial` is on its stack first. */
bool oaki_expression_run(oaki_cursor c, oaki_machine *m, bool pushed, uintptr_t initial,
                         uintptr_t *out);

/* The bytes of the expression at cfi->entry + value. */
bool oaki_expression_at(const oaki_cfi *cfi, int64_t value, oaki_cursor *out);

#endif
