/* looks.c - what holds of each page that Oakum makes, at each width and in both schemes: it fits,
 * can be read, by a screen reader too, and can be used by the keyboard alone. */
#include "looks.h"
#include "browser.h"

#include <stdio.h>
#include <string.h>

#define TABS_MOST 60

/* ---- what is drawn ---- */

/* The sentences of WCAG 2.1, 1.4.3: the contrast of text is 4.5 at least. */
static const char contrast[] =
    "(() => {"
    "const parts = c => { const m = c.match(/[.0-9]+/g).map(Number);"
    "  return m.length < 4 ? [...m, 1] : m; };"
    "const light = c => { const f = c.slice(0, 3).map(v => v / 255)"
    "  .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);"
    "  return 0.2126 * f[0] + 0.7152 * f[1] + 0.0722 * f[2]; };"
    "const back = e => { for (; e; e = e.parentElement) {"
    "  const c = parts(getComputedStyle(e).backgroundColor); if (c[3] > 0) return c; }"
    "  return [255, 255, 255]; };"
    "const walker = document.createTreeWalker(document.body, 4); let n;"
    "while ((n = walker.nextNode())) {"
    "  const e = n.parentElement;"
    "  if (!n.data.trim() || /SCRIPT|STYLE|OPTION|title/.test(e.tagName)) continue;"
    "  if (!e.checkVisibility()) continue;"
    "  const s = getComputedStyle(e);"
    "  const a = light(parts(e instanceof SVGElement ? s.fill : s.color)), b = light(back(e));"
    "  if ((Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5) return false;"
    "}"
    "return true; })()";

/* No word is broken into letters: each cell is as wide as six of its letters, or its text. */
static const char cells[] =
    "[...document.querySelectorAll('th, td')].filter(e => e.checkVisibility() &&"
    " e.textContent.trim().length > 6).every(e => e.clientWidth >="
    " 3 * parseFloat(getComputedStyle(e).fontSize))";

/* Text in a picture is scaled with it. */
static const char letters[] =
    "[...document.querySelectorAll('svg text')].filter(e => e.checkVisibility())"
    ".every(e => e.getBoundingClientRect().height >= 10)";

static const char headings[] =
    "(() => { const l = [...document.querySelectorAll('h1, h2, h3, h4, h5, h6')]"
    ".filter(e => e.checkVisibility()).map(e => Number(e.tagName[1]));"
    "return l[0] === 1 && l.filter(x => x === 1).length === 1 &&"
    " l.every((x, i) => !i || x <= l[i - 1] + 1); })()";

/* ---- what a screen reader is told ---- */

static bool has(const char *m, size_t n, const char *part)
{
    return memmem(m, n, part, strlen(part)) != NULL;
}

/* Everything that can be used, and each picture and table, has a name. */
static void check_names(void)
{
    static const char *const roles[] = { "button",   "link",       "textbox", "searchbox",
                                         "combobox", "slider",     "image",   "table",
                                         "region",   "navigation", "heading", "columnheader" };
    const char *m = browser_call("Accessibility.getFullAXTree", " "), *next;
    unsigned nodes = 0;
    for (m = strstr(m, "{\"nodeId\":"); m; m = next) {
        next = strstr(m + 1, "{\"nodeId\":");
        size_t n = next ? (size_t)(next - m) : strlen(m);
        const char *role = memmem(m, n, "\"role\":{", 8);
        const char *is = role ? strstr(role, "\"value\":\"") + 9 : NULL;
        bool nameless = !has(m, n, "\"name\":{") ||
                        has(m, n, "\"name\":{\"type\":\"computedString\",\"value\":\"\"");
        nodes++;
        for (size_t i = 0; is && nameless && i < sizeof roles / sizeof roles[0]; i++)
            if (strncmp(is, roles[i], strlen(roles[i])) == 0 && is[strlen(roles[i])] == '"' &&
                has(m, n, "\"ignored\":false"))
                browser_fail("a %s has no name: %.*s", roles[i], (int)(n < 400 ? n : 400), m);
    }
    if (nodes < 10) browser_fail("the tree of accessibility has %u nodes", nodes);
}

/* ---- the keyboard ---- */

/* Tab goes to each control, in their order on the page, and is seen there. */
static void check_tabs(void)
{
    static const char list[] =
        "[...document.querySelectorAll('a[href], button, input, select, summary, [tabindex]')]"
        ".filter(e => e.checkVisibility() && e.tabIndex >= 0)";
    char text[1024];
    (void)browser_call("Runtime.evaluate", "\"expression\":\"%s[0].focus()\"", list);
    for (int i = 1; i < TABS_MOST; i++) {
        snprintf(text, sizeof text, "%s.length <= %d", list, i);
        if (browser_holds(text)) return;
        browser_press("Tab", 9);
        snprintf(text, sizeof text,
                 "document.activeElement === %s[%d] &&"
                 " getComputedStyle(document.activeElement).outlineStyle !== 'none'",
                 list, i);
        browser_must_hold(text);
    }
}

void looks_right(const char *where)
{
    static const int widths[] = { 1280, 390 };
    static const char *const schemes[] = { "light", "dark" };
    char text[128];
    for (int w = 0; w < 2; w++) {
        browser_set_size(widths[w], 900);
        snprintf(text, sizeof text, "document.documentElement.scrollWidth <= %d", widths[w]);
        browser_must_hold(text);
        browser_must_hold(cells);
        browser_must_hold(letters);
        browser_must_hold(headings);
        for (int s = 0; s < 2; s++) {
            browser_set_scheme(schemes[s]);
            browser_must_hold(contrast);
        }
        check_names();
        check_tabs();
    }
    browser_set_scheme("light");
    printf("%s: looks right at 1280 and 390 pixels, in both schemes\n", where);
}
