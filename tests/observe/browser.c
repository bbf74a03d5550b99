/* browser.c - a headless Chromium, spoken to in its DevTools protocol: JSON that ends in a zero
 * byte, through the pipes 3 and 4 (--remote-debugging-pipe).
 *
 * One browser and one page a process. A call that fails ends the process, the browser and the
 * children with it. */
#include "browser.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_MS 30000
#define CHILDREN_MOST 4

bool browser_expects_errors, browser_serves_tools;
unsigned browser_errors;
const int *browser_clip;

static pid_t browser, children[CHILDREN_MOST];
static int child_count, to_browser, from_browser, last_id;
static char profile[] = "/tmp/oakum-browser-XXXXXX";
static char session[64];

/* ---- the end ---- */

static void end_child(pid_t pid)
{
    if (pid <= 0) return;
    kill(pid, SIGTERM);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
}

void browser_end_children(void)
{
    while (child_count > 0) end_child(children[--child_count]);
}

void browser_finish(int status)
{
    char command[128];
    end_child(browser);
    browser_end_children();
    snprintf(command, sizeof command, "rm -rf %s", profile);
    if (browser > 0 && system(command) != 0) fprintf(stderr, "%s stays\n", profile);
    exit(status);
}

void browser_fail(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    fprintf(stderr, "%s: ", program_invocation_short_name);
    vfprintf(stderr, format, ap);
    fputc('\n', stderr);
    va_end(ap);
    browser_finish(1);
    abort();
}

/* ---- children ---- */

pid_t browser_start_child(char *const argv[], char *url, size_t n)
{
    int out[2];
    char line[1024], *at = NULL;
    FILE *f;
    if (child_count == CHILDREN_MOST || pipe(out) != 0) browser_fail("no pipe");
    pid_t pid = fork();
    if (pid == 0) {
        dup2(out[1], STDOUT_FILENO);
        dup2(out[1], STDERR_FILENO);
        execvp(argv[0], argv);
        _exit(127);
    }
    children[child_count++] = pid;
    close(out[1]);
    f = fdopen(out[0], "r");
    while (f && !at && fgets(line, sizeof line, f)) at = strstr(line, "http://");
    if (!at) browser_fail("%s does not say where it serves", argv[0]);
    snprintf(url, n, "%.*s", (int)strcspn(at, " \n"), at);
    return pid;
}

void browser_start(const char *program)
{
    int in[2], out[2];
    char data[64];
    if (!mkdtemp(profile) || pipe(in) != 0 || pipe(out) != 0) browser_fail("no pipe");
    snprintf(data, sizeof data, "--user-data-dir=%s", profile);
    browser = fork();
    if (browser == 0) {
        int input = fcntl(in[0], F_DUPFD, 10), output = fcntl(out[1], F_DUPFD, 10);
        int null = open("/dev/null", O_WRONLY);
        dup2(input, 3);
        dup2(output, 4);
        dup2(null, STDERR_FILENO);
        execlp(program, program, "--headless=new", "--no-sandbox", "--disable-gpu",
               "--hide-scrollbars", "--no-first-run", "--remote-debugging-pipe", data,
               browser_serves_tools ? "--remote-debugging-port=0" : "--mute-audio", "about:blank",
               (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    to_browser = in[1];
    from_browser = out[0];
}

/* ---- messages ---- */

static void note_error(const char *message)
{
    if (browser_expects_errors) return;
    browser_errors++;
    fprintf(stderr, "in the console: %.600s\n", message);
}

static void look_at_event(const char *m)
{
    bool error = strstr(m, "\"method\":\"Runtime.exceptionThrown\"") != NULL;
    error |= strstr(m, "\"method\":\"Runtime.consoleAPICalled\"") &&
             (strstr(m, "\"type\":\"error\"") || strstr(m, "\"type\":\"warning\""));
    error |= strstr(m, "\"method\":\"Log.entryAdded\"") &&
             (strstr(m, "\"level\":\"error\"") || strstr(m, "\"level\":\"warning\""));
    if (error) note_error(m);
}

/* One message, in memory that the next one takes; NULL when none comes in time. */
static const char *receive(int timeout_ms)
{
    static char *text, buffer[1 << 16];
    static size_t cap, at, got;
    size_t n = 0;
    for (;;) {
        struct pollfd p = { .fd = from_browser, .events = POLLIN };
        if (n + 1 >= cap) text = realloc(text, cap = cap ? 2 * cap : 1 << 16);
        if (!text) browser_fail("out of memory");
        if (at == got) {
            if (poll(&p, 1, n ? ANSWER_MS : timeout_ms) <= 0) return NULL;
            ssize_t more = read(from_browser, buffer, sizeof buffer);
            if (more <= 0) browser_fail("the browser has ended");
            at = 0, got = (size_t)more;
        }
        text[n] = buffer[at++];
        if (text[n++] == '\0') return text;
    }
}

void browser_listen_for(int ms)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    long long end = now.tv_sec * 1000LL + now.tv_nsec / 1000000 + ms;
    for (;;) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        long long left = end - (now.tv_sec * 1000LL + now.tv_nsec / 1000000);
        const char *m = left > 0 ? receive((int)left) : NULL;
        if (!m) return;
        look_at_event(m);
    }
}

const char *browser_call(const char *method, const char *format, ...)
{
    char params[8192], text[16384], id[32];
    va_list ap;
    va_start(ap, format);
    vsnprintf(params, sizeof params, format, ap);
    va_end(ap);
    int n = snprintf(text, sizeof text, "{\"id\":%d,%s\"method\":\"%s\",\"params\":{%s}}",
                     ++last_id, session, method, params);
    if (write(to_browser, text, (size_t)n + 1) != n + 1) browser_fail("the browser has ended");
    snprintf(id, sizeof id, "{\"id\":%d,", last_id);
    for (;;) {
        const char *m = receive(ANSWER_MS);
        if (!m) browser_fail("no answer to %s", method);
        if (strncmp(m, id, strlen(id)) != 0) {
            look_at_event(m);
            continue;
        }
        if (strncmp(m + strlen(id), "\"error\"", 7) == 0) browser_fail("%s: %.400s", method, m);
        return m;
    }
}

static void find_string(const char *m, const char *key, char *out, size_t n)
{
    char name[64];
    snprintf(name, sizeof name, "\"%s\":\"", key);
    const char *at = strstr(m, name);
    if (!at) browser_fail("no %s in %.200s", key, m);
    at += strlen(name);
    snprintf(out, n, "%.*s", (int)strcspn(at, "\""), at);
}

bool browser_holds(const char *expression)
{
    return strstr(browser_call("Runtime.evaluate",
                               "\"expression\":\"!!(%s)\",\"returnByValue\":true", expression),
                  "\"value\":true") != NULL;
}

void browser_must_hold(const char *expression)
{
    if (!browser_holds(expression)) browser_fail("not so: %s", expression);
}

/* ---- pictures ---- */

static int digit(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

static void put_base64(const char *s, FILE *f)
{
    unsigned bits = 0, have = 0;
    for (; digit(*s) >= 0; s++) {
        bits = bits << 6 | (unsigned)digit(*s);
        have += 6;
        if (have < 8) continue;
        have -= 8;
        fputc((int)(bits >> have & 255), f);
    }
}

void browser_take_picture(const char *folder, const char *name)
{
    char path[512];
    browser_listen_for(1500); /* drawn anew with the next reading */
    char clip[128] = "";
    if (browser_clip)
        snprintf(clip, sizeof clip,
                 ",\"clip\":{\"x\":%d,\"y\":%d,\"width\":%d,\"height\":%d,\"scale\":1}",
                 browser_clip[0], browser_clip[1], browser_clip[2], browser_clip[3]);
    const char *m = browser_call("Page.captureScreenshot", "\"format\":\"png\"%s", clip);
    const char *data = strstr(m, "\"data\":\"");
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = data ? fopen(path, "wb") : NULL;
    if (!f) browser_fail("%s can't be written", path);
    put_base64(data + 8, f);
    if (fclose(f) != 0) browser_fail("%s can't be written", path);
    printf("%s\n", path);
}

void browser_set_size(int width, int height)
{
    char text[32];
    for (int i = 0; i < 2; i++) {
        (void)browser_call("Emulation.setDeviceMetricsOverride",
                           "\"width\":%d,\"height\":%d,\"deviceScaleFactor\":1,"
                           "\"mobile\":%s",
                           width, height ? height : 900, width < 600 ? "true" : "false");
        browser_listen_for(1500);
        if (height) return;
        const char *m = browser_call("Runtime.evaluate",
                                     "\"expression\":\"'h'+document.documentElement.scrollHeight\","
                                     "\"returnByValue\":true");
        find_string(m, "value", text, sizeof text);
        height = atoi(text + 1);
    }
}

int browser_tools_port(void)
{
    char path[64];
    int port = 0;
    snprintf(path, sizeof path, "%s/DevToolsActivePort", profile);
    FILE *f = fopen(path, "r");
    if (!f || fscanf(f, "%d", &port) != 1) browser_fail("%s has no port", path);
    fclose(f);
    return port;
}

void browser_set_scheme(const char *scheme)
{
    (void)browser_call("Emulation.setEmulatedMedia",
                       "\"features\":[{\"name\":\"prefers-color-scheme\",\"value\":\"%s\"}]",
                       scheme);
}

void browser_press(const char *key, int code)
{
    static const char *const types[] = { "rawKeyDown", "keyUp" };
    for (int i = 0; i < 2; i++)
        (void)browser_call("Input.dispatchKeyEvent",
                           "\"type\":\"%s\",\"key\":\"%s\",\"code\":\"%s\","
                           "\"windowsVirtualKeyCode\":%d",
                           types[i], key, key, code);
}

/* ---- the page ---- */

void browser_open_page(void)
{
    char target[64], id[40];
    find_string(browser_call("Target.createTarget", "\"url\":\"about:blank\""), "targetId", target,
                sizeof target);
    find_string(
        browser_call("Target.attachToTarget", "\"targetId\":\"%s\",\"flatten\":true", target),
        "sessionId", id, sizeof id);
    snprintf(session, sizeof session, "\"sessionId\":\"%s\",", id);
    (void)browser_call("Runtime.enable", " ");
    (void)browser_call("Log.enable", " ");
    (void)browser_call("Page.enable", " ");
    (void)browser_call("Accessibility.enable", " ");
    (void)browser_call("Network.enable", " ");
    browser_set_scheme("light");
}

void browser_wait_for(const char *expression, int seconds)
{
    for (int i = 0; i < 2 * seconds; i++) {
        browser_listen_for(500);
        if (browser_holds(expression)) return;
    }
    browser_fail("not so after %d s: %s", seconds, expression);
}
