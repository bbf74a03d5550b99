/* pages.c - looks at pages that are files in a headless Chromium: the report of the scenarios, the
 * site.
 *
 * usage: check_pages CHROMIUM FILE... */
#include "browser.h"
#include "looks.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    char path[PATH_MAX];
    if (argc < 3) {
        fputs("usage: check_pages CHROMIUM FILE...\n", stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    browser_start(argv[1]);
    browser_open_page();
    for (int i = 2; i < argc; i++) {
        if (!realpath(argv[i], path)) browser_fail("%s is not there", argv[i]);
        (void)browser_call("Page.navigate", "\"url\":\"file://%s\"", path);
        browser_wait_for("document.readyState === 'complete' && location.protocol === 'file:'", 20);
        looks_right(argv[i]);
    }
    if (browser_errors > 0) browser_fail("%u errors in the console", browser_errors);
    browser_finish(0);
}
