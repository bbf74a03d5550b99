# luajit.sh - LuaJIT with its compiler on: its allocator hook allocates pinned objects of a zone, as
# compiled code hides addresses.
# shellcheck shell=sh disable=SC2034,SC2154,SC2086
package=luajit
kind="host's allocator hook, pinned"

# All sides compile LuaJIT as Debian does; the shim's are linked with another main program's state.
build()
{
    cd src && make BUILDMODE=static CC="$CC" Q= E=@: || return 1
    if [ "$1" = original ]; then
        cp luajit ..
        return
    fi
    $CC -std=gnu11 $cflags $shim -I. -DPINNED -c "$here/lua51.c" -o hook.o &&
        $CC -std=gnu11 $cflags $shim -include "$here/lua51.h" -c luajit.c -o luajit-hook.o &&
        $CC -Wl,-E luajit-hook.o hook.o libluajit.a $libs -lm -ldl -o ../luajit
}

# It comes without tests: scripts of ours. The second time collections are checked, and are many.
suite()
{
    ./luajit "$here/works/suite.lua"
    ./luajit "$here/works/jit.lua"
    OAKUM_DEBUG=verify=1,stress=10007 ./luajit "$here/works/jit.lua"
}

outcome() { awk '/^[0-9]* of [0-9]* pass/ { p += $1; n += $3 } END { if (n) print p " of " n " pass" }' "$1"; }

works_of_port="fib strings tables trees"
work() { echo "./luajit $here/works/works.lua $1"; }
