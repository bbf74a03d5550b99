# build.sh - builds a program of the map benchmarks for every peer; sourced after driver.sh.

# build_map PROGRAM SOURCE FLAG...: $out/PROGRAM-PEER for each peer that is there and wanted, two at
# a time.
build_map()
{
    program=$1 job=
    source=$srcdir/bench/map/$2
    shift 2
    for peer in $built; do
        "build_$peer" "$@" &
        [ -z "$job" ] || wait "$job"
        job=$!
    done
    [ -z "$job" ] || wait "$job"
}

# Libraries come after the source. cc, cflags and what pkg-config says are words.
# shellcheck disable=SC2086
{
c()
{
    peer_header=$1
    shift
    $cc $cflags "-DPEER=\"$peer_header\"" "$source" -o "$out/$program-$peer" "$@"
}

cxx()
{
    $cxx $cxxflags '-DPEER="peer_cxx.h"' -x c++ "$source" -x none -o "$out/$program-$peer" "$@"
}

build_oakum()
{
    c peer_oakum.h "$@" $oakum_flags
}

build_classic()
{
    c peer_classic.h "$@" $oakum_flags
}

build_absl()
{
    cxx -DABSL "$@" $(pkg-config --libs absl_flat_hash_map)
}

build_boost()
{
    cxx -DBOOST "$@"
}

build_std()
{
    cxx "$@"
}

build_ankerl()
{
    cxx -DANKERL -isystem "$sources/rspamd/contrib" "$@"
}

build_robin()
{
    cxx -DROBIN "$@"
}

build_hopscotch()
{
    cxx -DHOPSCOTCH "$@"
}

build_ska()
{
    cxx -DSKA "$@"
}

build_khash()
{
    c peer_khash.h "$@"
}

build_verstable()
{
    c peer_verstable.h -isystem "$sources/kitty/3rdparty" "$@"
}

build_glib()
{
    c peer_glib.h "$@" $(pkg-config --cflags --libs glib-2.0)
}
}

# build_course: the programs of course.c, one for each kind of entries that --only leaves.
build_course()
{
    for kind in u32 u64 wide texts; do
        if chosen $kind; then
            build_map course-$kind course.c -DSAME_HASH "-D$(echo $kind | tr a-z A-Z)"
        fi
    done
}

# found PEER TITLE
found()
{
    built="$built $1"
    add "$1" "$2"
}

# A header that no package has, from the sources of one that has it in them. Nothing of these is
# kept but in the build folder.
sources=$builddir/sub/maps
release=trixie

# found_source PEER PACKAGE HEADER PATTERN: the header's version is what \1 of the pattern is.
found_source()
{
    header=$sources/$2/$3
    if ! "$srcdir/tools/debian-fetch" "$sources" "source/$release" rspamd kitty 2>/dev/null ||
        [ ! -e "$header" ]; then
        left_out "no $3 (Debian's source package $2, of $release)" "$1"
        return
    fi
    found "$1" "$1 $(sed -n "s/$4/\1/p;T;q" "$header")"
    echo "$name: $1 is $3 of Debian's source package $(cd "$sources.apt" && ls "$2"_*.dsc)" >&2
}

# found_cxx PEER HEADER PACKAGE: one whose version only its Debian package says.
found_cxx()
{
    if links_cxx "$2"; then
        found "$1" "$1$(dpkg-query -W -f ' ${source:Upstream-Version}' "$3" 2>/dev/null |
            sed 's/+.*//; s/^ 0\.0$//')"
    else
        left_out "no $2 (package $3)" "$1"
    fi
}

# What is there, into $built, and to the runner with its titles.
built=
if wanted oakum && have_oakum; then found oakum Oakum; fi
if wanted classic && have_oakum; then found classic classic; fi
if wanted absl; then
    # shellcheck disable=SC2046 # words
    if links_cxx absl/container/flat_hash_map.h $(pkg-config --libs absl_flat_hash_map); then
        found absl "absl$(version absl_flat_hash_map)"
    else
        left_out "no Abseil (package libabsl-dev)" absl
    fi
fi
if wanted boost; then
    if links_cxx boost/unordered/unordered_flat_map.hpp; then
        found boost "boost$(sed -n 's/^#define BOOST_LIB_VERSION "\(.*\)"/ \1/p' \
            /usr/include/boost/version.hpp 2>/dev/null | tr _ .)"
    else
        left_out "no boost::unordered_flat_map (package libboost1.81-dev)" boost
    fi
fi
if wanted std; then
    if links_cxx unordered_map; then found std std; else left_out "no C++ compiler" std; fi
fi
if wanted ankerl; then
    found_source ankerl rspamd contrib/ankerl/unordered_dense.h '^\/\/ Version \(.*\)'
fi
if wanted robin; then found_cxx robin tsl/robin_map.h robin-map-dev; fi
if wanted hopscotch; then
    found_cxx hopscotch tsl/hopscotch_map.h libtsl-hopscotch-map-dev
fi
if wanted ska; then found_cxx ska flat_hash_map.hpp libflathashmap-dev; fi
if wanted verstable; then
    found_source verstable kitty 3rdparty/verstable.h '.* VERSTABLE v\([0-9.]*\).*'
fi
if wanted khash; then
    if links htslib/khash.h; then
        found khash khash
    else
        left_out "no khash (package libhts-dev)" khash
    fi
fi
if wanted glib; then
    # shellcheck disable=SC2046 # words
    if links glib.h $(pkg-config --cflags --libs glib-2.0 2>/dev/null); then
        found glib "GLib$(version glib-2.0)"
    else
        left_out "no GLib (package libglib2.0-dev)" GLib
    fi
fi
