# jimtcl.sh - Jim Tcl: references are counted, and what the last one frees is left to the collector.
# shellcheck shell=sh disable=SC2034,SC2154,SC2086
package=jimtcl
kind="counting that becomes nothing"

build()
{
    [ "$1" = original ] || shim="$shim -include $here/jimtcl.h"
    # Debian's archive is without the shell that configure runs in; this makes it.
    ./make-bootstrap-jim >autosetup/jimsh0.c &&
        CC="$CC" CFLAGS="$cflags" \
            ./configure --without-ext="openssl readline redis sdl sqlite3 zlib mk" &&
        make CPPFLAGS="$shim" LDLIBS="$libs" jimsh
}

suite() { cd tests && ../jimsh ./runall.tcl; }

outcome() { awk '/^ *Totals:/ { print $5 " of " $3 " pass, " $7 " skipped" }' "$1"; }

works_of_port="fib strings tables"
work() { echo "./jimsh $here/works/works.tcl $1"; }
