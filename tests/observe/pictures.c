/* pictures.c - makes the pictures of docs/ anew: the dashboard, the report of the scenarios, a
 * profile in pprof's web view, and a trace in DevTools.
 *
 * usage: pictures CHROMIUM DEMO OAKUM GO REPORT WORK FOLDER
 * REPORT is a page of `oakum leaks --html`, WORK a folder for what is needed on the way. */
#include "browser.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECONDS 60 /* of the demo's life, on the dashboard */

static const char *demo, *oakum, *go, *work, *folder;
static char pid[16], address[] = "127.0.0.1:0";

static void run(char *const argv[])
{
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        execvp(argv[0], argv);
        _exit(127);
    }
    if (waitpid(child, &status, 0) != child || status != 0) browser_fail("%s fails", argv[0]);
}

static void go_to(const char *url)
{
    (void)browser_call("Page.navigate", "\"url\":\"%s\"", url);
    browser_wait_for("document.readyState === 'complete'", 120);
}

static void dashboard(const char *url)
{
    go_to(url);
    browser_wait_for("document.querySelector('#suspectrows').textContent.includes('site-growth')",
                     90);
    browser_listen_for(1000 * SECONDS);
    (void)browser_call("Runtime.evaluate",
                       "\"expression\":\"[...document.querySelectorAll('#suspectrows tr')]"
                       ".find(r => r.textContent.includes('audit_request'))"
                       ".querySelector('button').click()\"");
    browser_wait_for("document.querySelector('#path').textContent.includes('-> ')", 60);
    /* not where this was built */
    (void)browser_call("Runtime.evaluate",
                       "\"expression\":\"{ const p = document.querySelector('#path');"
                       "p.textContent = p.textContent.replace(/ in [^ ]*[/]demo,/, ' in "
                       "/usr/local/bin/demo,'); }\"");
    browser_set_size(960, 0);
    browser_take_picture(folder, "dashboard.png");
    browser_set_scheme("dark");
    browser_set_size(390, 844);
    (void)browser_call("Runtime.evaluate", "\"expression\":\"scrollTo(0, 0)\"");
    browser_take_picture(folder, "dashboard-narrow.png");
    browser_set_scheme("light");
}

static void report(const char *file)
{
    char url[PATH_MAX + 8], path[PATH_MAX];
    if (!realpath(file, path)) browser_fail("%s is not there", file);
    snprintf(url, sizeof url, "file://%s", path);
    go_to(url);
    browser_set_size(1000, 900);
    browser_take_picture(folder, "report.png");
}

static void flame_graph(void)
{
    char file[PATH_MAX], at[128], url[160];
    snprintf(file, sizeof file, "%s/heap.pb.gz", work);
    run((char *[]){ (char *)oakum, "profile", "-o", file, pid, NULL });
    browser_start_child(
        (char *[]){ (char *)go, "tool", "pprof", "-no_browser", "-http=127.0.0.1:", file, NULL },
        at, sizeof at);
    snprintf(url, sizeof url, "%s/ui/flamegraph", at);
    browser_set_size(1200, 255);
    go_to(url);
    browser_take_picture(folder, "flame-graph.png");
}

/* A pause of about 2 ms for which a request waits, what is around it, and no event beyond that. */
static const char around[] =
    "(async () => {"
    "const m = await import('/devtools/panels/timeline/timeline.js');"
    "let panel;"
    "for (let i = 0; i < 100 && !panel; i++) {"
    "  try { panel = m.TimelinePanel.TimelinePanel.instance(); }"
    "  catch (e) { await new Promise(r => setTimeout(r, 200)); } }"
    "const all = JSON.parse(await document.querySelector('#trace').files[0].text()).traceEvents;"
    "const pauses = all.filter(e => e.name === 'GC pause');"
    "const held = pauses.filter(g => all.some(e => e.name === 'request' && e.ts <= g.ts"
    "  && e.ts + e.dur >= g.ts + g.dur));"
    "if (!held.length) { window.loaded = 'no request waits'; return; }"
    "const g = held"
    "  .sort((a, b) => Math.abs(a.dur - 2000) - Math.abs(b.dur - 2000))[0];"
    "const from = g.ts - g.dur * 0.05, to = g.ts + g.dur * 1.05;"
    "const near = all.filter(e => e.ph === 'M' || (e.ts < to && e.ts + (e.dur || 0) > from))"
    "  .map(e => { if (e.ph !== 'X') return e; const b = Math.max(e.ts, from);"
    "    return { ...e, ts: b, dur: Math.min(e.ts + e.dur, to) - b }; });"
    "await panel.loadFromFile(new File([JSON.stringify({ traceEvents: near })], 'trace.json'));"
    "window.loaded = true; })()";

/* What hides the trace is clicked away: the list of hints, and the text on keys, which come when
 * they have been loaded. Was there anything? */
static const char aside[] =
    "(() => { const of = r => [...r.querySelectorAll('*')].flatMap(e => e.shadowRoot ?"
    " [e, ...of(e.shadowRoot)] : [e]);"
    "const there = of(document).filter(e => e.tagName === 'BUTTON' && e.checkVisibility() &&"
    " /^close$|hide sidebar/i.test(e.getAttribute('aria-label') || e.title));"
    "there.forEach(e => e.click()); return there.length > 0; })()";

static void click(int x, int y)
{
    for (int i = 0; i < 2; i++)
        (void)browser_call("Input.dispatchMouseEvent",
                           "\"type\":\"%s\",\"x\":%d,\"y\":%d,\"button\":\"left\","
                           "\"clickCount\":1",
                           i ? "mouseReleased" : "mousePressed", x, y);
    browser_listen_for(1000);
}

static void trace(void)
{
    char file[PATH_MAX], path[PATH_MAX], url[128], id[64];
    const char *m, *at;
    snprintf(file, sizeof file, "%s/trace.json", work);
    run((char *[]){ (char *)oakum, "trace", "--seconds=10", "-o", file, pid, NULL });
    if (!realpath(file, path)) browser_fail("%s is not there", file);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/devtools/devtools_app.html?panel=timeline",
             browser_tools_port());
    browser_set_size(1300, 500);
    (void)browser_call("Network.disable", " "); /* hundreds of modules are loaded */
    (void)browser_call("Accessibility.disable", " ");
    go_to(url);
    m = browser_call("Runtime.evaluate", "\"expression\":\"document.body.appendChild(Object.assign("
                                         "document.createElement('input'),"
                                         "{ type: 'file', id: 'trace' }))\"");
    at = strstr(m, "\"objectId\":\"");
    if (!at) browser_fail("no object in %.200s", m);
    snprintf(id, sizeof id, "%.*s", (int)strcspn(at + 12, "\""), at + 12);
    (void)browser_call("DOM.setFileInputFiles", "\"files\":[\"%s\"],\"objectId\":\"%s\"", path, id);
    (void)browser_call("Runtime.evaluate", "\"expression\":\"%s\"", around);
    browser_wait_for("window.loaded", 120);
    browser_must_hold("window.loaded !== 'no request waits'");
    for (int quiet = 0, tries = 0; quiet < 5 && tries < 60; tries++) {
        browser_listen_for(1000);
        quiet = browser_holds(aside) ? 0 : quiet + 1;
    }
    /* the process, the collector and the thread that waits are unfolded */
    click(10, 129);
    click(20, 167);
    click(20, 146);
    browser_clip = (int[4]){ 0, 54, 1300, 205 };
    browser_take_picture(folder, "trace.png");
    browser_clip = NULL;
}

int main(int argc, char **argv)
{
    char url[128];
    if (argc != 8) {
        fputs("usage: pictures CHROMIUM DEMO OAKUM GO REPORT WORK FOLDER\n", stderr);
        return 2;
    }
    demo = argv[2], oakum = argv[3], go = argv[4], work = argv[6], folder = argv[7];
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    snprintf(pid, sizeof pid, "%d",
             (int)browser_start_child((char *[]){ (char *)demo, address, NULL }, url, sizeof url));
    browser_serves_tools = browser_expects_errors = true;
    browser_start(argv[1]);
    browser_open_page();
    dashboard(url);
    report(argv[5]);
    flame_graph();
    trace();
    browser_finish(0);
}
