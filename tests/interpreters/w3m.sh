# w3m.sh - w3m, whose heap is libgc's: a header in the place of gc.h puts it on Oakum.
# shellcheck shell=sh disable=SC2034,SC2154,SC2086
package=w3m
kind="Boehm's collector replaced"
sides="original oakum" libgc_side=original

build()
{
    [ "$1" = oakum ] || libs=-lgc
    [ "$1" = original ] || shim="$shim -I$here/boehm"
    CC="$CC" CFLAGS="$cflags" ./configure --disable-nls --disable-mouse --disable-image \
        --without-imagelib --with-ssl=no --disable-w3mmailer --disable-help-cgi \
        --disable-external-uri-loader --with-termlib=ncurses &&
        make CPPFLAGS="$shim" GC_LIBS="$libs" w3m &&
        awk -f "$here/works/page.awk" >page.html
}

suite() { (cd tests && sh ./run_tests); }

same() { grep -v '^+'; }

outcome() { awk '/^TOTAL:/ { total = $2 } /^PASS/ { print $3 " of " total " pass" }' "$1"; }

works_of_port="tables lists"
work()
{
    case $1 in
    tables) echo './w3m -config /dev/null -I utf-8 -O utf-8 -T text/html -cols 120 -dump page.html' ;;
    lists) echo './w3m -config /dev/null -I utf-8 -O utf-8 -T text/html -cols 40 -dump page.html' ;;
    esac
}
