# mawk.sh - mawk: its allocator's file is replaced; strings are counted, and what the last reference
# frees is left to the collector.
# shellcheck shell=sh disable=SC2034,SC2154,SC2086
package=mawk
kind="counting that becomes nothing, own allocator replaced"

build()
{
    if [ "$1" != original ]; then
        cp "$here/mawk.c" zmalloc.c || return 1
        shim="$shim -include $here/mawk-heap.h"
    fi
    CC="$CC" CFLAGS="$cflags" ./configure && make CC="$CC $shim" BUILD_CC="$CC" LIBS="$libs -lm" mawk
}

suite() { cd test && MAWK=../mawk sh ./mawktest; }

outcome() { awk '/ OK$/ { n++ } / failures?$/ { bad++ } END { if (n) print n " parts pass, " bad + 0 " fail" }' "$1"; }

works_of_port="fib strings tables trees"
work() { echo "./mawk -f $here/works/works.awk $1"; }
