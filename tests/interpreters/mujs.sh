# mujs.sh - mujs: a mark-sweep collector of its own goes, and the heap's takes its place.
# shellcheck shell=sh disable=SC2034,SC2154,SC2086
package=mujs
kind="own mark-sweep replaced"

build()
{
    if [ "$1" != original ]; then
        cp "$here/mujs.c" jsgc.c
        shim="$shim -include $here/mujs.h"
    fi
    $CC -std=gnu11 $cflags $shim js*.c utf.c regexp.c main.c $libs -lm -o mujs
}

# It comes without tests: a script of ours.
suite() { ./mujs "$here/works/suite.js"; }

outcome() { sed -n 's/^\([0-9]* of [0-9]* pass.*\)/\1/p' "$1"; }

works_of_port="fib strings tables trees"
work() { echo "./mujs $here/works/works.js $1"; }
