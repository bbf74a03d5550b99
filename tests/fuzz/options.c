/* options.c - fuzz target: values of the variables that Oakum reads. A line of the input is a
 * variable without its OAKUM_, a "=" and the value. Whatever they are, what comes out is in
 * range; and a debug server or a leak detector runs, or there is a line that says why not. */
#include "runtime/options.h"
#include "fuzz.h"
#include "observe/judge.h"
#include "observe/serve.h"

#include <errno.h>
#include <oakum/detector.h>
#include <string.h>
#include <unistd.h>

#define LINES 16

/* What is told of bad values is whole lines of Oakum's. What FUZZ_REQUIRE tells is to be read. */
static void check_lines(int fd)
{
    size_t n;
    char *text = fuzz_read(fd, &n), *line = text;
    for (char *end; *line; line = end + 1) {
        FUZZ_REQUIRE(strncmp(line, "oakum: ", 7) == 0);
        FUZZ_REQUIRE((end = strchr(line, '\n')) != NULL);
    }
    FUZZ_REQUIRE(line == text + n);
    free(text);
}

static void with_lines(void (*fn)(void *ctx), void *ctx)
{
    int saved = dup(2), fd = fuzz_file(NULL, 0, NULL);
    FUZZ_REQUIRE(saved >= 0 && dup2(fd, 2) == 2);
    fn(ctx);
    FUZZ_REQUIRE(dup2(saved, 2) == 2);
    close(saved);
    check_lines(fd);
    close(fd);
}

static void read_config(void *cfg)
{
    oak_config_default(cfg);
}

static void start_detector(void *unused)
{
    (void)unused;
    oaki_detector_from_environment();
}

static bool is_name(const char *name)
{
    return *name && name[strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_")] == '\0';
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    FUZZ_REQUIRE(oak_init(NULL) == 0); /* before there are bad values */
    return 0;
}

/* Sets what the text says, which is cut up. Returns how many names are in set. */
static size_t set_variables(char *text, char *set[LINES])
{
    char *line, name[64];
    size_t n = 0;
    while ((line = strsep(&text, "\n")) && n < LINES) {
        char *value = strchr(line, '=');
        if (!value) continue;
        *value++ = '\0';
        if (!is_name(line) || snprintf(name, sizeof name, "OAKUM_%s", line) >= (int)sizeof name)
            continue;
        FUZZ_REQUIRE(setenv(name, value, 1) == 0);
        set[n++] = strdup(name);
    }
    return n;
}

static void read_options(void)
{
    oak_config cfg;
    AO_store(&oaki_options_complained, 0);
    with_lines(read_config, &cfg);
    FUZZ_REQUIRE(oaki_options_check(&cfg) == NULL);
#define IN_RANGE(field, min, max, help) \
    FUZZ_REQUIRE(oaki_debug_switches.field >= 0 && oaki_debug_switches.field <= (max));
    OAKI_DEBUG_SWITCHES(IN_RANGE)
#undef IN_RANGE
    int guard = oaki_debug_switches.guard;
    int known = OAKI_DEBUG_GUARD | OAKI_DEBUG_GUARD_PAGE | OAKI_DEBUG_GUARD_CONTINUE;
    FUZZ_REQUIRE(guard == 0 || (guard & OAKI_DEBUG_GUARD && !(guard & ~known)));
    oaki_debug_switches = (oaki_debug){ 0 }; /* the heap that runs has none */
}

/* Only loopback, and any free port: nothing else is opened here. */
static bool may_open(const char *address)
{
    const char *port = strrchr(address, ':');
    return oaki_listen_is_loopback(address) < 0 ||
           (oaki_listen_is_loopback(address) == 1 && strspn(port + 1, "0") == strlen(port + 1));
}

static bool is_sendable(const char *token)
{
    size_t n = 0;
    while (token[n] > ' ' && token[n] < 127) n++;
    return token[n] == '\0' && n <= OAKI_SERVE_TOKEN_MAX;
}

static void serve(const char *address, const char *token)
{
    char line[OAKI_SERVE_ERROR], url[OAKI_SERVE_ERROR];
    bool open = strncmp(address, "open,", 5) == 0;
    const char *where = address + (open ? 5 : 0);
    int loopback = oaki_listen_is_loopback(where);
    FUZZ_REQUIRE(loopback >= -1 && loopback <= 1);
    if (!may_open(where)) return;
    int result = oak_debug_serve_with(address, &(oak_serve_options){ .token = token });
    size_t told = oak_debug_serve_error(line, sizeof line);
    FUZZ_REQUIRE(told < sizeof line && strlen(line) == told);
    if (result < 0) {
        FUZZ_REQUIRE(told > 0 && oak_debug_serve_url(url, sizeof url) == 0);
        FUZZ_REQUIRE(errno != EPERM || (open && loopback == 0));
        return;
    }
    FUZZ_REQUIRE(loopback == 1 ? result > 0 : strcmp(where, "1") == 0);
    FUZZ_REQUIRE(!(open && token && *token));
    FUZZ_REQUIRE(!token || is_sendable(token));
    FUZZ_REQUIRE(oak_debug_serve_url(url, sizeof url) < sizeof url);
    FUZZ_REQUIRE(!token || !*token || !strstr(url, "token=")); /* it is known to who gave it */
    oak_debug_serve_stop();
}

static void start_what_is_asked_for(void)
{
    const char *address = getenv("OAKUM_DEBUG_SERVE");
    if (address && *address) serve(address, getenv("OAKUM_DEBUG_TOKEN"));
    with_lines(start_detector, NULL);
    oak_detector_stop();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = strndup((const char *)data, size), *set[LINES];
    FUZZ_REQUIRE(text);
    size_t n = set_variables(text, set);
    read_options();
    start_what_is_asked_for();
    while (n > 0) {
        unsetenv(set[--n]);
        free(set[n]);
    }
    free(text);
    return 0;
}
