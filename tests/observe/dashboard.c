/* dashboard.c - opens the debug server's page in a headless Chromium, fails on errors in its
 * console, uses it, looks at it, and takes pictures of it.
 *
 * usage: check_dashboard CHROMIUM DEMO FOLDER [SECONDS]
 * DEMO prints its server's address. Pictures go to FOLDER, after so many seconds: light.png,
 * dark.png, narrow.png. */
#include "browser.h"
#include "looks.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FINDINGS_S 90 /* until the demo's leak has been found */

/* Without a token the page asks for it, and shows nothing else. The console says that it was
 * refused. */
static void unlock_page(const char *url)
{
    const char *token = strstr(url, "?token=");
    if (!token) browser_fail("the demo has no token");
    browser_expects_errors = true;
    (void)browser_call("Page.navigate", "\"url\":\"%.*s\"", (int)(token - url), url);
    browser_wait_for("!document.querySelector('#locked').hidden", 20);
    browser_must_hold("[...document.querySelectorAll('.data')].every(e => e.hidden)");
    looks_right("the page without a token");
    (void)browser_call("Runtime.evaluate",
                       "\"expression\":\"document.querySelector('#token').value = '%s';"
                       "document.querySelector('#unlock').requestSubmit()\"",
                       token + 7);
    browser_wait_for("document.querySelector('#status').textContent.includes('pid')", 20);
    (void)browser_call("Network.clearBrowserCookies", " ");
    browser_expects_errors = false;
}

/* The address has it once; from then on a cookie, which no script can read. */
static void token_is_hidden(const char *url)
{
    char text[128];
    browser_wait_for("document.querySelector('#status').textContent.includes('pid')", 20);
    browser_must_hold("location.search === '' && location.hash === '' && document.cookie === ''");
    snprintf(text, sizeof text, "!document.documentElement.outerHTML.includes('%.32s')",
             strstr(url, "?token=") + 7);
    browser_must_hold(text);
}

static void use_page(void)
{
    browser_wait_for("document.querySelector('#status').textContent.includes('pid')", 20);
    browser_wait_for("document.querySelectorAll('#maprows tr').length >= 3", 20);
    browser_wait_for("document.querySelector('#suspectrows').textContent.includes('audit_request')",
                     FINDINGS_S);
    browser_must_hold("document.querySelectorAll('svg.chart path.series').length >= 8");
    browser_wait_for(
        "[...document.querySelectorAll('#heap path.s0')][0].getAttribute('d').length > 50", 20);
    browser_must_hold("document.querySelectorAll('line.pause').length > 0");
    browser_must_hold("document.querySelector('#locked').hidden");
    browser_must_hold("!document.querySelector('#status').className");
    /* by keyboard: a chart's cursor is in all of them, and leaves again */
    (void)browser_call("Runtime.evaluate",
                       "\"expression\":\"document.querySelector('svg.chart').focus()\"");
    browser_press("ArrowLeft", 37);
    browser_must_hold("document.querySelectorAll('line.cursor').length == "
                      "document.querySelectorAll('svg.chart').length");
    browser_must_hold("document.activeElement.getAttribute('aria-valuetext')"
                      ".includes('seconds ago: allocated ')");
    browser_press("Escape", 27);
    browser_must_hold("document.querySelectorAll('line.cursor').length == 0");
    (void)browser_call("Runtime.evaluate", "\"expression\":\"document.activeElement.blur()\"");
    /* a click on the suspect's site tells the way to one of its objects */
    (void)browser_call("Runtime.evaluate",
                       "\"expression\":\"[...document.querySelectorAll('#suspectrows tr')]"
                       ".find(r => r.textContent.includes('audit_request')).querySelector('button')"
                       ".click()\"");
    browser_wait_for("document.querySelector('#path').textContent.includes('global `audit`')", 60);
}

/* A program that has ended is told of, with what to do; what was seen before stays. */
static void end_program(void)
{
    browser_expects_errors = true;
    browser_end_children();
    browser_wait_for("document.querySelector('#late').textContent.includes('Start it again')", 20);
    browser_must_hold("document.querySelector('#status').textContent.startsWith('as of ')");
    browser_must_hold("document.querySelectorAll('#maprows tr').length >= 3");
    looks_right("the page of a program that has ended");
    browser_expects_errors = false;
}

int main(int argc, char **argv)
{
    char url[128], address[] = "127.0.0.1:0";
    if (argc < 4 || argc > 5) {
        fputs("usage: check_dashboard CHROMIUM DEMO FOLDER [SECONDS]\n", stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    browser_start_child((char *[]){ argv[2], address, NULL }, url, sizeof url);
    browser_start(argv[1]);
    browser_open_page();
    unlock_page(url);
    (void)browser_call("Page.navigate", "\"url\":\"%s\"", url);
    token_is_hidden(url);
    use_page();
    if (argc == 5) browser_listen_for(1000 * atoi(argv[4]));
    looks_right("the page");
    browser_set_size(960, 0);
    browser_take_picture(argv[3], "light.png");
    browser_set_scheme("dark");
    browser_take_picture(argv[3], "dark.png");
    browser_set_size(390, 0);
    browser_take_picture(argv[3], "narrow.png");
    end_program();
    if (browser_errors > 0) browser_fail("%u errors in the console", browser_errors);
    puts("check_dashboard: no errors in the console");
    browser_finish(0);
}
