/* works.c - what the clients of libgc are given to do.
 *
 * Sizes are chosen so that a work takes a second or so on libgc. A shell runs the commands: most
 * become the client by exec. What a client wants compiled is compiled on libgc, by `prepare`. */
#include "clients.h"

/* clang-format off */
#define GUILE(file) .client = "guile", .name = #file, \
    .prepare = "guild compile -O2 -o $made/guile-" #file ".go $from/" #file ".scm", \
    .command = "exec guile -q -c '(load-compiled \"'$made'/guile-" #file ".go\")' $size"
#define ECL(file) .client = "ecl", .name = #file, \
    .prepare = "ecl --norc --eval '(ext:install-bytecodes-compiler)' " \
        "--eval '(compile-file \"'$from'/" #file ".lisp\" :output-file \"'$made'/ecl-" #file ".fasc\")' " \
        "--eval '(quit)'", \
    .command = "exec ecl --norc --load $made/ecl-" #file ".fasc --eval \"(main $size)\" --eval '(quit)'"
#define NEKO(file) .client = "neko", .name = #file, \
    .prepare = "nekoc -o $made $from/" #file ".neko", \
    .command = "exec neko $made/" #file ".n $size"
#define W3M(kind) .client = "w3m", .name = #kind, \
    .prepare = "$generate html-" #kind " $size >$made/" #kind ".html", \
    .command = "exec w3m -dump -cols 160 -T text/html $made/" #kind ".html"
#define CRYSTAL(file) .client = "crystal", .name = #file, \
    .prepare = "crystal build --release -o $made/crystal-" #file " $from/" #file ".cr", \
    .command = "exec $made/crystal-" #file " $size"
#define REPEATS .repeats = true

work works[] = {
    {.client = "guile", .name = "start", .full = "60", .quick = "2",
     .command = "i=0; while [ $i -lt $size ]; do guile -q -c '(display (+ 1 2))'; i=$((i+1)); done"},
    {.client = "guile", .name = "repl", .full = "100", .quick = "20",
     .prepare = "$generate scheme-lines $size >$made/repl.scm",
     .command = "exec guile -q <$made/repl.scm"},
    {GUILE(modules), .full = "80", .quick = "3"},
    {GUILE(guardians), .full = "300", .quick = "6"},
    {GUILE(weak), .full = "12", .quick = "2"},
    {GUILE(futures), .full = "100", .quick = "4", REPEATS},
    {GUILE(threads), .full = "30", .quick = "4", REPEATS},
    {.client = "guile", .name = "compile", .full = "250", .quick = "30",
     .prepare = "$generate scheme-file $size >$made/big.scm",
     .command = "guild compile -O2 -o $made/big.$side.go $made/big.scm >/dev/null && cksum <$made/big.$side.go"},
    {GUILE(trees), .full = "18", .quick = "12"},
    {GUILE(lists), .full = "15", .quick = "4"},
    {GUILE(strings), .full = "40", .quick = "4"},
    {GUILE(tables), .full = "12", .quick = "2"},
    {GUILE(bignums), .full = "80", .quick = "4"},
    {GUILE(control), .full = "25", .quick = "4"},

    {.client = "ecl", .name = "start", .full = "20", .quick = "2",
     .command = "i=0; while [ $i -lt $size ]; do ecl --norc --eval '(progn (princ (+ 1 2)) (quit))'; i=$((i+1)); done"},
    {ECL(conses), .full = "120", .quick = "3"},
    {ECL(tables), .full = "36", .quick = "2"},
    {ECL(bignums), .full = "60", .quick = "4"},
    {ECL(strings), .full = "60", .quick = "3"},
    {ECL(finalizers), .full = "100", .quick = "3"},
    {ECL(threads), .full = "20", .quick = "3", REPEATS},
    {ECL(bytecodes), .full = "8000", .quick = "200"},

    {NEKO(trees), .full = "16", .quick = "12"},
    {NEKO(strings), .full = "160", .quick = "4"},
    {NEKO(tables), .full = "120", .quick = "2"},
    {NEKO(threads), .full = "40", .quick = "4", REPEATS},
    {.client = "neko", .name = "nekoc", .full = "2000", .quick = "200",
     .prepare = "$generate neko-file $size >$made/big.neko; mkdir -p $made/libgc $made/oakum",
     .command = "nekoc -o $made/$side $made/big.neko && cksum <$made/$side/big.n"},

    {W3M(tables), .full = "12000", .quick = "200"},
    {W3M(text), .full = "24000", .quick = "200"},
    {W3M(nested), .full = "3000", .quick = "20"},

    {.client = "crystal", .name = "compile", .full = "1", .quick = "1",
     .command = "exec crystal tool hierarchy --no-color $from/tables.cr"},
    {CRYSTAL(trees), .full = "18", .quick = "12"},
    {CRYSTAL(fibers), .full = "160", .quick = "4"},
    {CRYSTAL(tables), .full = "100", .quick = "2"},

    {.client = "asymptote", .name = "structs", .full = "16", .quick = "10",
     .prepare = "sed \"s/DEPTH/$size/\" $from/structs.asy >$made/structs.asy",
     .command = "exec asy -noV $made/structs.asy"},
};
/* clang-format on */

const size_t nworks = sizeof works / sizeof works[0];
const char *const side_names[SIDES] = { "libgc", "oakum" };
