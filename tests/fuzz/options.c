/* options.c - fuzz target: values of the variables that Oakum reads. A line of the input is a
 * variable without its OAKUM_, a "=" and the value. Whatever they are, what comes out is in
 * range. */
#include "runtime/options.h"
#include "fuzz.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define LINES 16

/* What is told of a bad value is not to be read here. */
static int quiet(void)
{
    int saved = dup(2), nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    FUZZ_REQUIRE(saved >= 0 && nowhere >= 0 && dup2(nowhere, 2) == 2);
    close(nowhere);
    return saved;
}

static bool is_name(const char *name)
{
    return *name && name[strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_")] == '\0';
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = strndup((const char *)data, size), *rest = text, *line, *set[LINES];
    char name[64];
    size_t n = 0;
    oak_config cfg;
    FUZZ_REQUIRE(text);
    while ((line = strsep(&rest, "\n")) && n < LINES) {
        char *value = strchr(line, '=');
        if (!value) continue;
        *value++ = '\0';
        if (!is_name(line) || snprintf(name, sizeof name, "OAKUM_%s", line) >= (int)sizeof name)
            continue;
        FUZZ_REQUIRE(setenv(name, value, 1) == 0);
        set[n++] = strdup(name);
    }
    int saved = quiet();
    oak_config_default(&cfg);
    FUZZ_REQUIRE(dup2(saved, 2) == 2);
    close(saved);
    FUZZ_REQUIRE(oaki_options_check(&cfg) == NULL);
#define IN_RANGE(field, min, max, help) \
    FUZZ_REQUIRE(oaki_debug_switches.field >= 0 && oaki_debug_switches.field <= (max));
    OAKI_DEBUG_SWITCHES(IN_RANGE)
#undef IN_RANGE
    while (n > 0) {
        unsetenv(set[--n]);
        free(set[n]);
    }
    free(text);
    return 0;
}
