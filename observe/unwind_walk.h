/* unwind_walk.h - shared by the files of a walk: unwind.c (the walk), unwind_row.c (a frame with a
 * row), unwind_chain.c (a frame without). */
#ifndef OAKI_UNWIND_WALK_H
#define OAKI_UNWIND_WALK_H

#include "unwind_cache.h"
#include "unwind_find.h"
#include "unwind_rules.h"

typedef struct oaki_walk {
    uintptr_t pc;
    bool exact;   /* pc is the frame's current instruction, not a return address */
    bool sure;    /* no frame so far was a guess: the thread is in the object of pc */
    bool full;    /* all callee-saved registers are restored */
    bool unknown; /* a register was needed whose value isn't known */
    oaki_window stack;
    oaki_unwind_object object[2]; /* the last two used */
    oaki_registers registers;
} oaki_walk;

/* The object of a pc, moved to the front of the last used ones; NULL: none. */
const oaki_unwind_object *oaki_walk_find_object(oaki_walk *w, uintptr_t pc);

/* The walk continues on the stack that contains this stack pointer. */
void oaki_walk_enter_stack(oaki_walk *w, uintptr_t sp);

/* The rule of the code at `at`, from the tables of its object. */
oaki_rule oaki_walk_read_rule(const oaki_unwind_object *o, uintptr_t at);

/* Steps to the caller of the frame at `at`, by its row, and restores all registers that the row
 * describes. False where the walk ends. */
bool oaki_walk_row(oaki_walk *w, const oaki_unwind_object *o, uintptr_t at);

/* Steps without a table: by the kernel's signal frame, or by the frame pointer. */
bool oaki_walk_chain(oaki_walk *w);

/* Removes the authentication bits of a return address. */
OAKI_INLINE uintptr_t oaki_strip(uintptr_t pc)
{
#ifdef __aarch64__
    register uintptr_t x30 __asm__("x30") = pc;
    __asm__("hint #7" : "+r"(x30)); /* xpaclri; older processors execute it as a nop */
    return x30;
#else
    return pc;
#endif
}

#endif
