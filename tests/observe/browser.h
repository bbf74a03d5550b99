/* browser.h - a headless Chromium for tests of the pages that Oakum makes, and for their pictures.
 * What fails says why on standard error and ends the process, with all that it has started. */
#ifndef TESTS_OBSERVE_BROWSER_H
#define TESTS_OBSERVE_BROWSER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

extern bool browser_expects_errors; /* errors in the console are not counted */
extern unsigned browser_errors;     /* errors and warnings in the console */

extern bool browser_serves_tools;   /* before the start: the pages of DevTools are at a port, too */

void browser_start(const char *program);
int browser_tools_port(void);
void browser_open_page(void);
/* A program that prints the address at which it serves, on either of its outputs. */
pid_t browser_start_child(char *const argv[], char *url, size_t n);
void browser_end_children(void);
void browser_finish(int status) __attribute__((noreturn));
void browser_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Calls a method of the DevTools protocol. The answer is in memory that the next call takes. */
const char *browser_call(const char *method, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Events that come within this time. */
void browser_listen_for(int ms);

/* Expressions of JavaScript without double quotes and backslashes: are they true? */
bool browser_holds(const char *expression);
void browser_must_hold(const char *expression);
void browser_wait_for(const char *expression, int seconds);

void browser_press(const char *key, int code);
/* In CSS pixels, below 600 as a telephone; height 0: of the whole page. */
void browser_set_size(int width, int height);
void browser_set_scheme(const char *scheme);
extern const int *browser_clip; /* x, y, width, height of pictures; NULL: all that is seen */
void browser_take_picture(const char *folder, const char *name);

#endif
