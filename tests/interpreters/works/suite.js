// suite.js - what a heap could break of ECMAScript 5: objects that stay, and are what they were.

var passed = 0, tests = 0;

function check(name, value, expected) {
    tests++;
    if (String(value) === String(expected)) passed++;
    else print("FAIL " + name + ": " + value + ", not " + expected);
}

// Garbage between what is kept: what lives must be as it was written.
function churn(n) {
    for (var i = 0; i < n; i++) ({ a: [i, "s" + i], b: function () { return i; } });
}

function closures() {
    var made = [];
    for (var i = 0; i < 500; i++)
        made.push((function (n) { var calls = 0; return function () { return n + calls++; }; })(i));
    churn(2000);
    var sum = 0;
    for (i = 0; i < 500; i++) { made[i](); sum += made[i](); }
    return sum;
}

function circles() {
    var kept = null;
    for (var i = 0; i < 3000; i++) {
        var a = { n: i }, b = { n: -i, other: a };
        a.other = b;
        if (i % 100 === 0) { a.next = kept; kept = a; }
    }
    churn(2000);
    var sum = 0;
    for (var k = kept; k; k = k.next) sum += k.other.other.n - k.other.n;
    return sum;
}

function deepList() {
    var list = null, i, sum = 0;
    for (i = 0; i < 100000; i++) list = { next: list, value: i };
    for (; list; list = list.next) sum += list.value;
    return sum;
}

function exceptions() {
    var caught = 0;
    function thrower(n) {
        if (n === 0) throw new RangeError("deep " + [1, 2, 3].join("-"));
        try { thrower(n - 1); } finally { churn(3); caught++; }
    }
    for (var i = 0; i < 50; i++) {
        try { thrower(20); } catch (e) { if (e instanceof RangeError) caught += e.message.length; }
    }
    return caught;
}

function getters() {
    var o = {}, log = [];
    Object.defineProperty(o, "x", {
        get: function () { churn(50); return log.join(","); },
        set: function (v) { log.push(v); },
        enumerable: true, configurable: true
    });
    for (var i = 0; i < 5; i++) o.x = i;
    return o.x + Object.keys(o);
}

function deletes() {
    var o = {}, i;
    for (i = 0; i < 2000; i++) o["k" + i] = { i: i };
    for (i = 0; i < 2000; i += 2) delete o["k" + i];
    churn(1000);
    var sum = 0;
    for (var k in o) sum += o[k].i;
    return sum;
}

function sparse() {
    var a = [];
    a[5] = "five"; a[100000] = { far: true };
    churn(1000);
    a.length = 50;
    return [a.length, a[5], a[100000]].join();
}

function iteration() {
    var o = {}, seen = 0;
    for (var i = 0; i < 300; i++) o["p" + i] = i;
    for (var k in o) { churn(10); delete o[k]; seen++; }
    return seen + ":" + Object.keys(o).length;
}

check("closures", closures(), 125250);
check("circles", circles(), 87000);
check("deep list", deepList(), 4999950000);
check("exceptions", exceptions(), 50 * 20 + 50 * 10);
check("getters", getters(), "0,1,2,3,4x");
check("deletes", deletes(), 1000000);
check("sparse", sparse(), "50,five,");
check("iteration", iteration(), "300:0");
check("sort", [5, 3, 9, 1].sort(function (a, b) { churn(20); return a - b; }), "1,3,5,9");
check("map", [1, 2, 3].map(function (x) { churn(100); return { v: x * 2 }; })
    .reduce(function (s, o) { return s + o.v; }, 0), 12);
check("replace", "a1b22c333".replace(/[0-9]+/g, function (d) { churn(50); return "<" + d.length + ">"; }),
    "a<1>b<2>c<3>");
check("exec", (function () {
    var re = /(\w)(\d+)/g, m, out = [];
    while ((m = re.exec("x1 y22 z333"))) { churn(50); out.push(m[1] + m[2].length); }
    return out;
})(), "x1,y2,z3");
check("split", "a,b;c,d".split(/[,;]/), "a,b,c,d");
check("case", "Straße ABC".toUpperCase().length > 9, true);
check("json", JSON.stringify(JSON.parse('{"a":[1,2,{"b":null}],"c":"\\u00e9"}')),
    '{"a":[1,2,{"b":null}],"c":"é"}');
check("json functions", JSON.stringify({ a: 1, b: { toJSON: function () { churn(50); return [2]; } } }),
    '{"a":1,"b":[2]}');
check("revive", JSON.parse("[1,2,3]", function (k, v) { churn(20); return k === "" ? v : v * 2; }), "2,4,6");
check("bind", (function () { churn(10); return this.n + arguments[0] + arguments[1]; })
    .bind({ n: 1 }, 2)(3), 6);
check("arguments", (function () { churn(100); return Array.prototype.slice.call(arguments, 1); })(1, 2, 3), "2,3");
check("apply", Math.max.apply(null, [1, 9, 4]), 9);
check("prototype", (function () {
    function A(n) { this.n = n; }
    A.prototype.get = function () { churn(10); return this.n; };
    function B(n) { A.call(this, n + 1); }
    B.prototype = Object.create(A.prototype);
    return new B(4).get();
})(), 5);
check("eval", eval("var e1 = []; for (var q = 0; q < 9; q++) e1.push(function () { return q; }); churn(500); e1[3]()"), 9);
check("Function", new Function("a", "b", "return a * b")(6, 7), 42);
check("long string", (function () {
    var s = "";
    for (var i = 0; i < 3000; i++) s += String.fromCharCode(97 + i % 26);
    churn(500);
    return s.length + s.charAt(2999) + s.indexOf("xyzab");
})(), "3000j23");
check("numbers", [(0.1 + 0.2).toFixed(3), (255).toString(16), parseFloat("1e21") + 1, 1 / 3], "0.300,ff,1e+21,0.3333333333333333");
check("date", new Date(86400000).toISOString(), "1970-01-02T00:00:00.000Z");
check("freeze", (function () {
    var o = Object.freeze({ a: 1 });
    try { "use strict"; o.a = 2; } catch (e) { }
    return o.a;
})(), 1);
print(passed + " of " + tests + " pass");
