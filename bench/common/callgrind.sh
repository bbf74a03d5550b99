# callgrind.sh - what scripts that count instructions share; sourced, with `name` set.
#
# It leaves behind: CC, top_srcdir; $tmp, a folder that goes with the script; $callgrind, which runs a
# command, and `total`, which reads its count from that output.
: "${CC:=cc}" "${top_srcdir:=.}"
export LC_ALL=C
tmp=$(mktemp -d "${TMPDIR:-/tmp}/oakum.XXXXXX") || exit 99
trap 'rm -rf "$tmp"' EXIT
command -v valgrind >/dev/null || { echo "$name: valgrind is missing" >&2; exit 1; }
# shellcheck disable=SC2034 # for the script
callgrind="valgrind --tool=callgrind --callgrind-out-file=/dev/null"

total()
{
    sed -n 's/.*refs: *//p' | tr -d ,
}
