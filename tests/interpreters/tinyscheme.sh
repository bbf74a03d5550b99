# tinyscheme.sh - TinyScheme: its cells become objects of the heap's.
# shellcheck shell=sh disable=SC2034,SC2154,SC2086
package=tinyscheme
kind="own heap of cells replaced"

build()
{
    file=scheme.c
    if [ "$1" != original ]; then
        # The definitions of what tinyscheme.c replaces; declarations end with a semicolon.
        for name in get_cell_x get_consecutive_cells reserve_cells alloc_cellseg push_recent_alloc \
            gc mk_port; do
            printf '%s\n' 's/^\(static[^;]* \)'$name'(\([^;]*\)$/\1own_'$name'(\2/'
        done >cells.sed
        sed -f cells.sed scheme.c >scheme-cells.c && [ "$(grep -c '^static.* own_' scheme-cells.c)" = 7 ] ||
            return 1
        file=$here/tinyscheme.c
    fi
    $CC -std=gnu11 $cflags $shim -I. -DSTANDALONE=1 -DUSE_DL=0 -DUSE_MATH=1 -DUSE_ASCII_NAMES=0 \
        "$file" $libs -lm -o scheme
}

# It comes without tests: a script of ours.
suite() { ./scheme "$here/works/suite.scm"; }

outcome() { sed -n 's/^\([0-9]* of [0-9]* pass.*\)/\1/p' "$1"; }

works_of_port="fib strings tables trees"
work() { echo "./scheme -1 $here/works/works.scm $1"; }
