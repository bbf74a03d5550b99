#!/bin/sh
# bench.sh - how long three small programs take, here and in Guile's interpreter and compiler: for
# orientation, not a contest. usage: bench.sh [SCHEME]; seconds of processor time, best of three.
scheme=${1:-$(dirname "$0")/scheme}
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

cat >"$tmp/fib.scm" <<'END'
(define (fib n) (if (< n 2) n (+ (fib (- n 1)) (fib (- n 2)))))
(write (fib 30))
END
cat >"$tmp/tak.scm" <<'END'
(define (tak x y z)
  (if (not (< y x)) z (tak (tak (- x 1) y z) (tak (- y 1) z x) (tak (- z 1) x y))))
(write (tak 24 16 8))
END
cat >"$tmp/conses.scm" <<'END'
(define (make n) (let loop ((i 0) (l '())) (if (= i n) l (loop (+ i 1) (cons i l)))))
(define (repeat n) (if (> n 0) (begin (reverse (map (lambda (x) (+ x 1)) (make 1000))) (repeat (- n 1)))))
(repeat 3000)
(write 'done)
END

# best COMMAND... - of three runs, user and system time
best()
{
    for _ in 1 2 3; do
        { /usr/bin/env bash -c 'TIMEFORMAT="%U %S"; time "$@" >/dev/null 2>&1' - "$@"; } 2>&1
    done | awk '{ t = $1 + $2; if (NR == 1 || t < least) least = t } END { printf "%10.2f", least }'
}

printf '%-8s%10s%22s%22s\n' '' scheme 'guile, interpreted' 'guile, compiled'
for program in fib tak conses; do
    printf '%-8s' $program
    best "$scheme" "$tmp/$program.scm"
    if command -v guile >/dev/null; then
        printf '%12s' ''
        GUILE_AUTO_COMPILE=0 best guile --no-auto-compile -s "$tmp/$program.scm"
        guile --no-auto-compile -c "(compile-file \"$tmp/$program.scm\" #:output-file \"$tmp/$program.go\")" \
            >/dev/null 2>&1
        printf '%12s' ''
        best guile --no-auto-compile -c "(load-compiled \"$tmp/$program.go\")"
    fi
    echo
done
