# driver.sh - what the scripts of the benchmarks share; sourced, with `name` and `peers` set, and
# `rounds` where it isn't 3.
#
# Not in the usage: `out` in the environment, a folder for what is built, as a test wants it.
# It takes the options and leaves behind: srcdir, builddir, out, common, cc, cxx, go; $quick and
# $only, in words; $titles, the peers as PEER=TITLE, quoted for eval. A script then builds its
# programs as $out/PROGRAM-PEER, names each peer to `add`, and ends in `run_suite TABLE`.

srcdir=$(cd "${srcdir:-$(dirname "$0")/..}" && pwd)
builddir=$(cd "${builddir:-.}" && pwd)
cc=${CC:-cc}
cxx=${CXX:-c++}
go=${GO:-/usr/lib/go-1.19/bin/go}
out=${out:-$builddir/bench/out}
common=$srcdir/bench/common
warnings="-Wall -Wextra"
cflags="-std=gnu11 -O2 -g $warnings -Wstrict-prototypes -D_GNU_SOURCE -pthread -I$srcdir/bench"
cxxflags="-std=gnu++20 -O2 -g $warnings -D_GNU_SOURCE -pthread -I$srcdir/bench"
without=
quoted=" --usual-rounds ${rounds:-3}"
quick=
only=
titles=

die()
{
    echo "$name: $1" >&2
    exit 2
}

# Quote for the eval below: the options go on to the runner as they came.
quote()
{
    printf " '%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"
}

while [ $# -gt 0 ]; do
    case $1 in
    --only | --rounds | --json | --markdown)
        [ $# -gt 1 ] || die "$1 takes a value"
        [ "$1" != --only ] || only="$only $2"
        quoted="$quoted$(quote "$1")$(quote "$2")"
        shift ;;
    --quick | --counted)
        quick=yes
        quoted="$quoted $1" ;;
    --minimum) quoted="$quoted $1" ;;
    --without)
        case " $peers " in
        *" ${2:-,} "*) without="$without $2 " ;;
        *) die "--without takes one of $peers" ;;
        esac
        shift ;;
    -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) die "unknown option $1 (try --help)" ;;
    esac
    shift
done

# wanted PEER: whether it is one of this script's, and not left out.
wanted()
{
    case $without in *" $1 "*) return 1 ;; esac
    case " $peers " in *" $1 "*) ;; *) return 1 ;; esac
}

# chosen NAME: whether --only leaves any benchmark whose name begins like that.
chosen()
{
    case "${only:- $1} " in *" $1"[-\ ]*) ;; *) return 1 ;; esac
}

left_out()
{
    echo "$name: $1; $2 is left out" >&2
}

# links HEADER LIBRARY...: whether a C program that uses both can be built.
links()
{
    printf '#include <%s>\nint main(void) { return 0; }\n' "$1" >"$out/try.c"
    shift
    $cc "$out/try.c" -o "$out/try" "$@" 2>/dev/null
}

# links_cxx HEADER LIBRARY...: the same in C++.
links_cxx()
{
    printf '#include <%s>\nint main() { return 0; }\n' "$1" >"$out/try.cc"
    shift
    $cxx -std=gnu++20 "$out/try.cc" -o "$out/try" "$@" 2>/dev/null
}

# version PACKAGE: what pkg-config says, with a space before; nothing when it doesn't know.
version()
{
    pkg-config --modversion "$1" 2>/dev/null | sed 's/_.*//; s/^/ /' || :
}

have_oakum()
{
    [ -e "$builddir/.libs/liboakum.so" ] && return 0
    left_out "no $builddir/.libs/liboakum.so (run make)" Oakum
    return 1
}

# What links a program with this build's Oakum.
oakum_flags="-I$srcdir/include -L$builddir/.libs -loakum -Wl,-rpath,$builddir/.libs"

# Whether there is a Go; it is told then where to keep what it builds.
have_go()
{
    if ! "$go" version >/dev/null 2>&1; then
        left_out "no $go (package golang-1.19-go)" Go
        return 1
    fi
    export GOCACHE="$out/go-cache" GOFLAGS=-mod=mod GO111MODULE=off
}

# build_go PROGRAM FILE...: Go wants the files of a program in one folder.
build_go()
{
    program=$1
    shift
    rm -rf "$out/src-$program"
    mkdir "$out/src-$program"
    cp "$@" "$out/src-$program"
    "$go" build -o "$out/$program-go" "$out/src-$program"/*.go
}

go_title()
{
    "$go" version | sed 's/^go version go\([^ ]*\).*/Go \1/'
}

# add PEER TITLE
add()
{
    titles="$titles$(quote "$1=$2")"
}

# run_suite TABLE: build the runner with the table of this suite, and run what was built. The figures
# go to $out/$name.txt too, a line for each: benchmark, figure, peer, value.
run_suite()
{
    # shellcheck disable=SC2086 # cc and cflags are words
    $cc $cflags -I"$srcdir" "$common/run.c" "$common/count.c" "$common/report.c" \
        "$common/report_json.c" "$srcdir/observe/json.c" "$1" -o "$out/run-$name" -lm
    eval "\"\$out/run-\$name\" --dir \"\$out\" --plain \"\$out/\$name.txt\" $quoted $titles"
}

# plots_folder: `plots` is where plots go: with --quick or --only, or without such an environment, $out.
plots_folder()
{
    if [ -n "$quick$only" ] || [ -z "${plots:-}" ]; then plots=$out; fi
}

# keep FILE: a copy of what is in $out beside the plots.
keep()
{
    [ "$plots" = "$out" ] || [ ! -f "$out/$1" ] || cp "$out/$1" "$plots/$1"
}

mkdir -p "$out"
