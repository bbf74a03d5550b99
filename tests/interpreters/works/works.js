// works.js - works of JavaScript ports: works.js fib|strings|tables|trees

function fib(n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

function strings() {
    var sum = 0;
    for (var i = 0; i < 30000; i++) {
        var s = "";
        for (var j = 0; j < 10; j++) s += "item " + i + "." + j + ",";
        sum += s.split(",").reverse().join(";").length;
    }
    return sum;
}

function tables() {
    var sum = 0;
    for (var round = 0; round < 5; round++) {
        var table = {};
        for (var i = 0; i < 20000; i++) table["key" + i] = [i, i * round];
        for (var key in table) sum += table[key][1];
    }
    return sum;
}

function tree(depth) { return depth ? { left: tree(depth - 1), right: tree(depth - 1) } : null; }
function count(t) { return t ? 1 + count(t.left) + count(t.right) : 0; }

function trees() {
    var sum = 0;
    for (var i = 0; i < 40; i++) sum += count(tree(12));
    return sum;
}

var works = { fib: function () { return fib(25); }, strings: strings, tables: tables, trees: trees };
print(works[typeof scriptArgs === "undefined" ? process.argv[2] : scriptArgs[scriptArgs.length - 1]]());
