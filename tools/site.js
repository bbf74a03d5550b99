/* site.js - the search: all words of the query, in a section's heading or text. */
(function () {
    "use strict";
    var script = document.currentScript || document.querySelector("script[data-up]");
    var up = script.getAttribute("data-up");
    var input = document.getElementById("site-query"), found = document.getElementById("found");
    var count = document.getElementById("count");

    /* On a narrow screen the list of pages is closed at first. */
    if (window.matchMedia("(max-width: 60rem)").matches)
        document.querySelector(".menu").removeAttribute("open");

    function plain(s) {
        var t = document.createElement("textarea");
        t.innerHTML = s;
        return t.value;
    }
    function rate(page, words) {
        var head = (page[1] + " " + page[2]).toLowerCase(), text = page[3].toLowerCase(), sum = 0;
        for (var i = 0; i < words.length; i++) {
            var inHead = head.indexOf(words[i]) >= 0, at = text.indexOf(words[i]);
            if (!inHead && at < 0) return 0;
            sum += (inHead ? 20 : 0) + (at >= 0 ? 1 : 0);
        }
        return sum;
    }
    function show() {
        var words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
        found.textContent = count.textContent = "";
        found.hidden = words.length === 0;
        if (found.hidden) return;
        var hits = OAKUM_PAGES.map(function (p) { return [rate(p, words), p]; })
            .filter(function (h) { return h[0] > 0; })
            .sort(function (a, b) { return b[0] - a[0]; });
        count.textContent = hits.length === 0 ? "Nothing has all of these words."
            : hits.length + (hits.length === 1 ? " section" : " sections") +
              (hits.length > 20 ? ", the first 20:" : ":");
        var list = document.createElement("ol");
        hits.slice(0, 20).forEach(function (h) {
            var p = h[1], item = document.createElement("li"), a = document.createElement("a");
            a.href = up + p[0];
            a.textContent = plain(p[1]) + (p[2] !== p[1] ? ": " + plain(p[2]) : "");
            var text = plain(p[3]), at = Math.max(0, text.toLowerCase().indexOf(words[0]) - 60);
            var part = document.createElement("span");
            part.textContent = (at > 0 ? "\u2026" : "") + text.slice(at, at + 160).trim() + "\u2026";
            item.appendChild(a);
            item.appendChild(part);
            list.appendChild(item);
        });
        found.appendChild(list);
    }
    input.addEventListener("input", show);
    /* Enter goes to what was found first. */
    input.form.addEventListener("submit", function (e) {
        var first = found.querySelector("a");
        e.preventDefault();
        if (first) first.click();
    });
    document.addEventListener("keydown", function (e) {
        if (e.key === "/" && !/^(INPUT|TEXTAREA)$/.test(document.activeElement.tagName)) {
            e.preventDefault();
            input.focus();
        } else if (e.key === "Escape" && !found.hidden) {
            input.value = "";
            show();
            input.focus();
        }
    });
})();
