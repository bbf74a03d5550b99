# lua51.sh - Lua 5.1: its collector stays, and its allocator hook allocates on the heap.
# shellcheck shell=sh disable=SC2034,SC2154,SC2086
package=lua5.1
kind="host's allocator hook, a zone"

build()
{
    cd src && rm luac.c print.c || return 1
    echo "#define DEB_HOST_MULTIARCH \"any\"" >lua5.1-deb-multiarch.h # of Debian's rules
    if [ "$1" != original ]; then
        cp "$here/lua51.c" . || return 1
        hook="-include $here/lua51.h"
    else
        hook=
    fi
    for file in *.c; do
        case $file in lua.c) more=$hook ;; *) more= ;; esac
        $CC -std=gnu11 $cflags $shim $more -DLUA_USE_POSIX -c "$file" || return 1
    done
    $CC ./*.o $libs -lm -o ../lua
}

# Its own scripts, as far as they end by themselves and don't print addresses.
suite()
{
    for name in bisect cf echo env factorial fib fibfor hello printf readonly sieve sort; do
        echo "== $name"
        ./lua "test/$name.lua" 20 30
    done
    echo '== life'
    ./lua test/life.lua | cksum
    ./lua test/table.lua <test/README
    ./lua test/xd.lua <test/hello.lua
    ./lua -l test/trace-globals test/cf.lua
    ./lua "$here/works/suite.lua"
}

# Times of day, addresses, and what took how long.
same() { sed 's/^\(plain\|cached\)\(\t[0-9]*\t[0-9]*\).*/\1\2/; s/0x[0-9a-f]*/0x/; /^Hello there/d'; }

outcome() { awk '/^==/ { n++ } /^[0-9]* of [0-9]* pass/ { own = $1 " of " $3 } END { if (n && own) print n " scripts of its own, and " own " of ours" }' "$1"; }

works_of_port="fib strings tables trees"
work() { echo "./lua $here/works/works.lua $1"; }
