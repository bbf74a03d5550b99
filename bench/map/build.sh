# build.sh - builds a program of the map benchmarks for every peer; sourced after driver.sh.

# build_map PROGRAM SOURCE FLAG...: $out/PROGRAM-PEER for each peer that is there and wanted.
build_map()
{
    program=$1
    source=$srcdir/bench/map/$2
    shift 2
    for peer in $peers; do
        case " $built " in *" $peer "*) "build_$peer" "$@" ;; esac
    done
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

build_khash()
{
    c peer_khash.h "$@"
}

build_glib()
{
    c peer_glib.h "$@" $(pkg-config --cflags --libs glib-2.0)
}
}

# found PEER TITLE
found()
{
    built="$built $1"
    add "$1" "$2"
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
