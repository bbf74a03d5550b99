# works.awk - works of the port of mawk: mawk -f works.awk fib|strings|tables|trees

function fib(n) { return n < 2 ? n : fib(n - 1) + fib(n - 2) }

function strings(    i, j, s, sum) {
    for (i = 1; i <= 20000; i++) {
        s = ""
        for (j = 1; j <= 10; j++) s = s "item " i "." j ","
        sum += length(s) + gsub(/,/, ";", s)
    }
    return sum
}

function tables(    round, i, t, k, sum) {
    for (round = 1; round <= 10; round++) {
        split("", t)
        for (i = 1; i <= 20000; i++) t["key" i] = i * round
        for (k in t) sum += t[k]
    }
    return sum
}

# A node's name is its path, and holds its children's names.
function tree(depth, path, nodes) {
    nodes[path] = path "0," path "1"
    return depth == 0 ? 1 : 1 + tree(depth - 1, path "0", nodes) + tree(depth - 1, path "1", nodes)
}

function trees(    i, nodes, sum) {
    for (i = 1; i <= 20; i++) {
        split("", nodes)
        sum += tree(11, "", nodes)
    }
    return sum
}

BEGIN {
    name = ARGV[1]
    if (name == "fib") print fib(26)
    if (name == "strings") print strings()
    if (name == "tables") print tables()
    if (name == "trees") print trees()
}
