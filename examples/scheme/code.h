/* code.h - what compile.c makes and eval.c runs: trees of nodes.
 *
 * Variables are found when code is compiled: a local one is slot `index` of the frame that is
 * `depth` steps up, a global one is its symbol. So running looks nothing up by name. */
#ifndef CODE_H
#define CODE_H

#include "scheme.h"

enum op {
    CONSTANT_OP, /* datum */
    LOCAL,       /* depth, index */
    GLOBAL,      /* datum: the symbol */
    SET_LOCAL,   /* depth, index; kid: the value */
    SET_GLOBAL,  /* datum; kid */
    DEFINE_GLOBAL,
    TEST,        /* kids: the test, and what follows if so, or if not */
    AND,
    OR,
    SEQUENCE,
    MAKE_CLOSURE,/* datum: a name or FALSE; least, rest, slots; kid: the body */
    ENTER,       /* slots; kids: the first slots' values, in the frame outside; then the body */
    SELECT,      /* case. datum: a vector with a list for each clause, TRUE for else; kids: the key,
                  * and the clauses' bodies */
    CALL         /* kids: the procedure, the arguments */
};

struct node {
    enum op op;
    unsigned depth, index;
    unsigned least, slots;
    bool rest; /* what is more than `least` arguments goes to one more slot, as a list */
    value datum;
    size_t count;
    struct node *kid[];
};

#endif
