/* dashboard.c - opens the debug server's page in a headless Chromium, fails on errors in its
 * console, uses it, and takes pictures of it.
 *
 * usage: check_dashboard CHROMIUM DEMO FOLDER [SECONDS]
 * DEMO prints its server's address. Pictures go to FOLDER, after so many seconds: light.png,
 * dark.png, narrow.png.
 * The browser is spoken to in its DevTools protocol, JSON that ends in a zero byte, through the
 * pipes 3 and 4 (--remote-debugging-pipe). */
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
#define FINDINGS_S 90 /* until the demo's leak has been found */

static pid_t browser, demo;
static int to_browser, from_browser;
static char profile[] = "/tmp/oakum-dashboard-XXXXXX";
static char session[64];
static int last_id;
static unsigned console_errors;
static bool expects_errors;

/* ---- the end ---- */

static void end_child(pid_t pid)
{
    if (pid <= 0) return;
    kill(pid, SIGTERM);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {}
}

static void finish(int status)
{
    char command[128];
    end_child(browser);
    end_child(demo);
    snprintf(command, sizeof command, "rm -rf %s", profile);
    if (system(command) != 0) fprintf(stderr, "check_dashboard: %s stays\n", profile);
    exit(status);
}

static void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
static void fail(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    fputs("check_dashboard: ", stderr);
    vfprintf(stderr, format, ap);
    fputc('\n', stderr);
    va_end(ap);
    finish(1);
    abort();
}

/* ---- children ---- */

/* The address that it prints. */
static void start_demo(const char *program, char *url, size_t n)
{
    int out[2];
    FILE *f;
    if (pipe(out) != 0) fail("no pipe");
    demo = fork();
    if (demo == 0) {
        dup2(out[1], STDOUT_FILENO);
        execl(program, program, "127.0.0.1:0", (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    f = fdopen(out[0], "r");
    if (!f || !fgets(url, (int)n, f)) fail("%s does not say where it serves", program);
    url[strcspn(url, "\n")] = '\0';
}

static void start_browser(const char *program)
{
    int in[2], out[2];
    char data[64];
    if (!mkdtemp(profile) || pipe(in) != 0 || pipe(out) != 0) fail("no pipe");
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
               "about:blank", (char *)NULL);
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
    if (expects_errors) return;
    console_errors++;
    fprintf(stderr, "check_dashboard: in the console: %.600s\n", message);
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
    static char *text;
    static size_t cap;
    size_t n = 0;
    for (;;) {
        struct pollfd p = { .fd = from_browser, .events = POLLIN };
        if (n + 1 >= cap) text = realloc(text, cap = cap ? 2 * cap : 1 << 16);
        if (!text) fail("out of memory");
        if (poll(&p, 1, n ? ANSWER_MS : timeout_ms) <= 0) return NULL;
        if (read(from_browser, text + n, 1) != 1) fail("the browser has ended");
        if (text[n++] == '\0') return text;
    }
}

/* Events that come within this time. */
static void listen_for(int ms)
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

static const char *call(const char *method, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static const char *call(const char *method, const char *format, ...)
{
    char params[4096], text[8192], id[32];
    va_list ap;
    va_start(ap, format);
    vsnprintf(params, sizeof params, format, ap);
    va_end(ap);
    int n = snprintf(text, sizeof text, "{\"id\":%d,%s\"method\":\"%s\",\"params\":{%s}}",
                     ++last_id, session, method, params);
    if (write(to_browser, text, (size_t)n + 1) != n + 1) fail("the browser has ended");
    snprintf(id, sizeof id, "{\"id\":%d,", last_id);
    for (;;) {
        const char *m = receive(ANSWER_MS);
        if (!m) fail("no answer to %s", method);
        if (strncmp(m, id, strlen(id)) != 0) {
            look_at_event(m);
            continue;
        }
        if (strncmp(m + strlen(id), "\"error\"", 7) == 0) fail("%s: %.400s", method, m);
        return m;
    }
}

static void find_string(const char *m, const char *key, char *out, size_t n)
{
    char name[64];
    snprintf(name, sizeof name, "\"%s\":\"", key);
    const char *at = strstr(m, name);
    if (!at) fail("no %s in %.200s", key, m);
    at += strlen(name);
    snprintf(out, n, "%.*s", (int)strcspn(at, "\""), at);
}

/* Is this expression, without quotes of its own kind, true? */
static bool holds(const char *expression)
{
    return strstr(call("Runtime.evaluate",
                       "\"expression\":\"!!(%s)\",\"returnByValue\":true", expression),
                  "\"value\":true") != NULL;
}

static void must_hold(const char *expression)
{
    if (!holds(expression)) fail("not so: %s", expression);
}

/* ---- pictures ---- */

static int digit(char c)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
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

static void take_picture(const char *folder, const char *name)
{
    char path[512];
    listen_for(1500); /* drawn anew with the next reading */
    const char *m = call("Page.captureScreenshot", "\"format\":\"png\"");
    const char *data = strstr(m, "\"data\":\"");
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = data ? fopen(path, "wb") : NULL;
    if (!f) fail("%s can't be written", path);
    put_base64(data + 8, f);
    if (fclose(f) != 0) fail("%s can't be written", path);
    printf("%s\n", path);
}

static void set_size(int width)
{
    char text[32];
    (void)call("Emulation.setDeviceMetricsOverride",
               "\"width\":%d,\"height\":900,\"deviceScaleFactor\":1,\"mobile\":false", width);
    listen_for(1500);
    const char *m = call("Runtime.evaluate",
                         "\"expression\":\"'h'+document.documentElement.scrollHeight\","
                         "\"returnByValue\":true");
    find_string(m, "value", text, sizeof text);
    (void)call("Emulation.setDeviceMetricsOverride",
               "\"width\":%d,\"height\":%d,\"deviceScaleFactor\":1,\"mobile\":false", width,
               atoi(text + 1));
}

static void set_scheme(const char *scheme)
{
    (void)call("Emulation.setEmulatedMedia",
               "\"features\":[{\"name\":\"prefers-color-scheme\",\"value\":\"%s\"}]", scheme);
}

/* ---- the page ---- */

static void open_page(void)
{
    char target[64], id[40];
    find_string(call("Target.createTarget", "\"url\":\"about:blank\""), "targetId", target,
                sizeof target);
    find_string(call("Target.attachToTarget", "\"targetId\":\"%s\",\"flatten\":true", target),
                "sessionId", id, sizeof id);
    snprintf(session, sizeof session, "\"sessionId\":\"%s\",", id);
    (void)call("Runtime.enable", " ");
    (void)call("Log.enable", " ");
    (void)call("Page.enable", " ");
    (void)call("Network.enable", " ");
    set_scheme("light");
}

static void wait_for(const char *expression, int seconds)
{
    for (int i = 0; i < 2 * seconds; i++) {
        listen_for(500);
        if (holds(expression)) return;
    }
    fail("not so after %d s: %s", seconds, expression);
}

/* Without a token the page asks for it, and the console says that it was refused. */
static void unlock_page(const char *url)
{
    const char *token = strstr(url, "?token=");
    if (!token) fail("the demo has no token");
    expects_errors = true;
    (void)call("Page.navigate", "\"url\":\"%.*s\"", (int)(token - url), url);
    wait_for("!document.querySelector('#locked').hidden", 20);
    must_hold("document.querySelectorAll('#maprows tr').length == 0");
    (void)call("Runtime.evaluate",
               "\"expression\":\"document.querySelector('#token').value = '%s';"
               "document.querySelector('#unlock').requestSubmit()\"",
               token + 7);
    wait_for("document.querySelector('#status').textContent.includes('pid')", 20);
    (void)call("Network.clearBrowserCookies", " ");
    expects_errors = false;
}

/* The address has it once; from then on a cookie, which no script can read. */
static void token_is_hidden(const char *url)
{
    char text[128];
    wait_for("document.querySelector('#status').textContent.includes('pid')", 20);
    must_hold("location.search === '' && location.hash === '' && document.cookie === ''");
    snprintf(text, sizeof text, "!document.documentElement.outerHTML.includes('%.32s')",
             strstr(url, "?token=") + 7);
    must_hold(text);
}

static void use_page(void)
{
    wait_for("document.querySelector('#status').textContent.includes('pid')", 20);
    wait_for("document.querySelectorAll('#maprows tr').length >= 3", 20);
    wait_for("document.querySelector('#suspectrows').textContent.includes('audit_request')",
             FINDINGS_S);
    must_hold("document.querySelectorAll('svg.chart path.series').length >= 8");
    must_hold("[...document.querySelectorAll('#heap path.s0')][0].getAttribute('d').length > 50");
    must_hold("document.querySelectorAll('line.pause').length > 0");
    must_hold("document.querySelector('#locked').hidden");
    must_hold("!document.querySelector('#status').className");
    /* by keyboard: a chart's cursor is in all of them, and leaves again */
    (void)call("Runtime.evaluate",
               "\"expression\":\"document.querySelector('svg.chart').focus()\"");
    (void)call("Input.dispatchKeyEvent", "\"type\":\"keyDown\",\"key\":\"ArrowLeft\"");
    must_hold("document.querySelectorAll('line.cursor').length == "
              "document.querySelectorAll('svg.chart').length");
    (void)call("Input.dispatchKeyEvent", "\"type\":\"keyDown\",\"key\":\"Escape\"");
    must_hold("document.querySelectorAll('line.cursor').length == 0");
    (void)call("Runtime.evaluate", "\"expression\":\"document.activeElement.blur()\"");
    /* a click on the suspect's site tells the way to one of its objects */
    (void)call("Runtime.evaluate",
               "\"expression\":\"[...document.querySelectorAll('#suspectrows tr')]"
               ".find(r => r.textContent.includes('audit_request')).querySelector('button')"
               ".click()\"");
    wait_for("document.querySelector('#path').textContent.includes('global `audit`')", 60);
}

int main(int argc, char **argv)
{
    char url[128];
    if (argc < 4 || argc > 5) {
        fputs("usage: check_dashboard CHROMIUM DEMO FOLDER [SECONDS]\n", stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    start_demo(argv[2], url, sizeof url);
    start_browser(argv[1]);
    open_page();
    unlock_page(url);
    (void)call("Page.navigate", "\"url\":\"%s\"", url);
    token_is_hidden(url);
    use_page();
    if (argc == 5) listen_for(1000 * atoi(argv[4]));
    set_size(960);
    take_picture(argv[3], "light.png");
    set_scheme("dark");
    take_picture(argv[3], "dark.png");
    set_size(360);
    must_hold("document.documentElement.scrollWidth <= 360");
    take_picture(argv[3], "narrow.png");
    if (console_errors > 0) fail("%u errors in the console", console_errors);
    puts("check_dashboard: no errors in the console");
    finish(0);
}
