/* unwind_walk.h - what the files of a walk share: unwind.c (the walk), unwind_row.c (a frame by its
 * row), unwind_chain.c (one without). */
#ifndef OAKI_UNWIND_WALK_H
#define OAKI_UNWIND_WALK_H

#include "unwind_cache.h"
#include "unwind_find.h"
#include "unwind_rules.h"

typedef struct oaki_walk {
    uintptr_t pc;
    bool exact;   /* pc is where the frame is, not where it returns to */
    bool sure;    /* no frame was guessed so far: the thread is in the object that has pc */
    bool full;    /* all that a callee saves is restored */
    bool unknown; /* a register was needed that has no value here */
    oaki_window stack;
    oaki_unwind_object object[2]; /* met last */
    oaki_registers registers;
} oaki_walk;

/* The object of a pc, put first among those met last; NULL: none. */
const oaki_unwind_object *oaki_walk_find_object(oaki_walk *w, uintptr_t pc);

/* From here on the walk is on the stack of this stack pointer. */
void oaki_walk_enter_stack(oaki_walk *w, uintptr_t sp);

/* The rule of the code at `at`, by the tables of its object. */
oaki_rule oaki_walk_read_rule(const oaki_unwind_object *o, uintptr_t at);

/* To the caller of the frame at `at`, by its row, all registers told of. False where it ends. */
bool oaki_walk_row(oaki_walk *w, const oaki_unwind_object *o, uintptr_t at);

/* The same without a table: by what the kernel made for a signal, or by the frame pointer. */
bool oaki_walk_chain(oaki_walk *w);

/* Without the bits that authenticate it. */
OAKI_INLINE uintptr_t oaki_strip(uintptr_t pc)
{
#ifdef __aarch64__
    register uintptr_t x30 __asm__("x30") = pc;
    __asm__("hint #7" : "+r"(x30)); /* xpaclri, which older processors take for a nop */
    return x30;
#else
    return pc;
#endif
}

#endif
