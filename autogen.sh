#!/bin/sh
# autogen.sh - from a clone to ./configure: installs the missing Debian packages, runs autoreconf.
#
# usage: ./autogen.sh [--with=GROUP]... [--packages]
#   --with=GROUP  the packages of this group of packages.txt too (bench, valgrind, doc, clang)
#   --packages    only install packages
# Packages are installed as root, or through sudo when that works; otherwise the one apt-get
# line to run is printed, and nothing else happens. With nothing missing it asks dpkg and is done.
set -eu

cd "$(dirname "$0")"
groups=build
only_packages=

die()
{
    printf 'autogen.sh: %s\n' "$1" >&2
    exit 1
}

for arg in "$@"; do
    case $arg in
    --with=?*)
        grep -q "^${arg#--with=} " packages.txt || die "packages.txt has no group ${arg#--with=}"
        groups="$groups ${arg#--with=}" ;;
    --packages) only_packages=yes ;;
    -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' autogen.sh; exit 0 ;;
    *) die "unknown argument $arg (try --help)" ;;
    esac
done

# Names of the packages of $groups that are not installed, one a line.
missing_packages()
{
    awk -v groups=" $groups " 'index(groups, " " $1 " ") && !seen[$2]++ { print $2 }' packages.txt |
    while read -r package; do
        dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
            echo "$package"
    done
}

# apt-get, as root or through sudo; sudo may ask for a password where somebody can answer.
as_root()
{
    if [ "$(id -u)" = 0 ]; then
        env DEBIAN_FRONTEND=noninteractive "$@"
    else
        sudo env DEBIAN_FRONTEND=noninteractive "$@"
    fi
}

can_be_root()
{
    [ "$(id -u)" = 0 ] && return 0
    command -v sudo >/dev/null 2>&1 || return 1
    sudo -n true 2>/dev/null && return 0
    [ -t 0 ] && [ -t 2 ] && sudo -v
}

apt_install()
{
    as_root apt-get install -qq -y --no-install-recommends -o DPkg::Lock::Timeout=300 \
        -o Dpkg::Use-Pty=0 "$@"
}

install_packages()
{
    missing=$(missing_packages | tr '\n' ' ')
    missing=${missing% }
    [ -n "$missing" ] || return 0
    by_hand="apt-get update && apt-get install -y --no-install-recommends $missing"
    if ! can_be_root; then
        printf '%s\n' "autogen.sh: packages are missing. As root, run:" "$by_hand" >&2
        exit 1
    fi
    echo "autogen.sh: installing $missing" >&2
    log=$(mktemp)
    # The package lists are fetched only when the ones that are there don't do.
    # shellcheck disable=SC2086 # one word for each package
    if apt_install $missing >"$log" 2>&1 ||
        { as_root apt-get update -qq >>"$log" 2>&1 && apt_install $missing >>"$log" 2>&1; }; then
        rm -f "$log"
        return 0
    fi
    tail -n 20 "$log" >&2
    rm -f "$log"
    printf '%s\n' "autogen.sh: that failed. What was tried, as root:" "$by_hand" >&2
    exit 1
}

if command -v dpkg-query >/dev/null 2>&1 && command -v apt-get >/dev/null 2>&1; then
    install_packages
else
    echo "autogen.sh: not a Debian system; packages.txt lists what must be installed" >&2
fi
[ -z "$only_packages" ] || exit 0

log=$(mktemp)
trap 'rm -f "$log"' EXIT
mkdir -p build-aux
if ! autoreconf --install --force >"$log" 2>&1; then
    cat "$log" >&2
    die "autoreconf failed"
fi
grep -i warning "$log" >&2 || :
