/* options.c - defaults, ranges and the environment parser, all from the table in <oakum/base.h>.
 *
 * Owns: oaki_debug_switches, written before the heap starts; oaki_options_complained.
 * Invariant: a value that does not parse or is out of range changes nothing. It is reported once,
 * however often the environment is read. */
#include "options.h"

#include "cgroup.h"
#include "cost.h"
#include "print.h"
#include "tags.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

oaki_debug oaki_debug_switches;

/* The bit number of each variable. */
enum {
#define VARIABLE(field, type, def, min, max, help) VARIABLE_##field,
    OAK_OPTIONS(VARIABLE)
#undef VARIABLE
    VARIABLE_pointer_tags,
    VARIABLE_host,
    VARIABLE_debug
};

AO_t oaki_options_complained;

/* One reading of the environment. */
typedef struct reading {
    AO_t before, now; /* variables reported, as bits */
} reading;

/* Should this variable's bad value be reported? */
static bool is_news(reading *r, unsigned variable)
{
    _Static_assert(VARIABLE_debug < 8 * sizeof(AO_t), "a bit for each variable");
    OAKI_ASSERT(variable <= VARIABLE_debug);
    AO_t bit = (AO_t)1 << variable;
    r->now |= bit;
    return !(r->before & bit);
}

/* Parses the digits of a whole number at s into *out. Returns the end of the digits; NULL when
 * there are none or the number is too large. */
static const char *parse_digits(const char *s, size_t *out)
{
    const char *p = s;
    size_t v = 0;
    for (; *p >= '0' && *p <= '9'; p++) {
        size_t digit = (size_t)(*p - '0');
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, digit, &v)) return NULL;
    }
    *out = v;
    return p > s ? p : NULL;
}

static int refuse(void)
{
    errno = EINVAL;
    return -1;
}

int oaki_parse_size(const char *s, size_t min, size_t max, size_t *out)
{
    OAKI_ASSERT(min <= max);
    static const char suffixes[] = "KMGT";
    size_t v;
    const char *p = parse_digits(s, &v);
    if (!p) return refuse();
    if (*p) {
        const char *suffix = strchr(suffixes, *p >= 'a' ? *p - 'a' + 'A' : *p);
        if (!suffix || p[1]) return refuse();
        if (__builtin_mul_overflow(v, (size_t)1 << 10 * (suffix - suffixes + 1), &v))
            return refuse();
    }
    if (v < min || v > max) return refuse();
    *out = v;
    return 0;
}

int oaki_parse_int(const char *s, int min, int max, int *out)
{
    OAKI_ASSERT(min <= max);
    bool minus = *s == '-';
    size_t v;
    const char *p = parse_digits(s + minus, &v);
    if (!p || *p || v > INT_MAX) return refuse();
    int i = minus ? -(int)v : (int)v;
    if (i < min || i > max) return refuse();
    *out = i;
    return 0;
}

static bool in_range_size(size_t v, size_t min, size_t max)
{
    return v >= min && v <= max;
}

static bool in_range_int(int v, int min, int max)
{
    return v >= min && v <= max;
}

static bool in_range_tracking(oak_tracking v, int min, int max)
{
    return in_range_int((int)v, min, max);
}

/* Excludes the signals that the kernel or libc reserve, and those that report a fault or a
 * child. */
static bool may_stop(int sig)
{
    static const int taken[] = { SIGKILL, SIGSTOP, SIGSEGV, SIGBUS,  SIGFPE,  SIGILL,
                                 SIGTRAP, SIGABRT, SIGSYS,  SIGCHLD, SIGCONT, 32, 33 };
    for (size_t i = 0; i < OAKI_COUNT(taken); i++)
        if (sig == taken[i]) return false;
    return sig >= 0 && sig <= SIGRTMAX;
}

const char *oaki_options_check(const oak_config *cfg)
{
    if (!may_stop(cfg->stop_signal)) return "stop_signal";
#define CHECK(field, type, def, min, max, help) \
    if (!in_range_##type(cfg->field, min, max)) return #field;
    OAK_OPTIONS(CHECK)
#undef CHECK
    size_t which;
    const char *wrong =
        oaki_tags_check(cfg->pointer_tags, OAK_POINTER_TAGS, cfg->heap_reserve, &which);
    if (!wrong) return NULL;
    oaki_log("oakum: pointer_tags[%zu]: %s\n", which, wrong);
    return "pointer_tags";
}

OAKI_AT_START const char *oaki_options_variable(const char *name)
{
    OAKI_ASSERT(strncmp(name, "OAKUM_", 6) == 0);
    return secure_getenv(name);
}

/* The value of the variable OAKUM_ plus the field's name in capitals, without its unit, or NULL.
 * The variable's name goes to `name`. */
static const char *variable_of(const char *field, char *name, size_t n)
{
    size_t len = oaki_format(name, n, "OAKUM_%s", field);
    for (size_t i = 0; i < len; i++)
        if (name[i] >= 'a' && name[i] <= 'z') name[i] = (char)(name[i] - 'a' + 'A');
    char *unit = len > 3 ? name + len - 3 : name;
    if (strcmp(unit, "_US") == 0 || strcmp(unit, "_MS") == 0) *unit = '\0';
    return oaki_options_variable(name);
}

static void read_size(reading *r, unsigned variable, const char *field, size_t *out, size_t min,
                      size_t max)
{
    char name[64], most[32] = "";
    const char *value = variable_of(field, name, sizeof name);
    if (!value || oaki_parse_size(value, min, max, out) == 0 || !is_news(r, variable)) return;
    if (max < SIZE_MAX) oaki_format(most, sizeof most, ", at most %zu", max);
    oaki_log("oakum: %s=%.100s is ignored: it must be a number of bytes, which may end in K, M, G "
             "or T%s\n",
             name, value, most);
}

static void read_int(reading *r, unsigned variable, const char *field, int *out, int min, int max)
{
    char name[64];
    const char *value = variable_of(field, name, sizeof name);
    if (!value || oaki_parse_int(value, min, max, out) == 0 || !is_news(r, variable)) return;
    oaki_log("oakum: %s=%.100s is ignored: it must be a whole number from %d to %d\n", name, value,
             min, max);
}

static const char *const tracking_names[] = {
#define NAME(name, text) text,
    OAK_TRACKINGS(NAME)
#undef NAME
};

#define NAME_LIST(name, text) " " text

static void read_tracking(reading *r, unsigned variable, const char *field, oak_tracking *out,
                          int min, int max)
{
    char name[64];
    OAKI_ASSERT(min >= 0 && (size_t)max < OAKI_COUNT(tracking_names));
    const char *value = variable_of(field, name, sizeof name);
    for (int i = min; value && i <= max; i++)
        if (strcmp(value, tracking_names[i]) == 0) {
            *out = (oak_tracking)i;
            return;
        }
    if (value && is_news(r, variable))
        oaki_log("oakum: %s=%.100s is ignored: it must be one of" OAK_TRACKINGS(NAME_LIST) "\n",
                 name, value);
}

/* Reads only tags that are sound for the heap's reserve, which has been read before. */
static void read_tags(reading *r, oak_config *cfg)
{
    char name[64];
    oak_pointer_tag tag[OAK_POINTER_TAGS] = { { .mask = 0 } };
    const char *value = variable_of("pointer_tags", name, sizeof name), *wrong;
    size_t which;
    if (!value) return;
    if (!oaki_tags_parse(value, tag))
        wrong = "it must be a list of nan-XXXX (four hexadecimal digits), top-byte, shift-N and "
                "compressed-N";
    else wrong = oaki_tags_check(tag, OAK_POINTER_TAGS, cfg->heap_reserve, &which);
    if (!wrong) memcpy(cfg->pointer_tags, tag, sizeof tag);
    else if (is_news(r, VARIABLE_pointer_tags))
        oaki_log("oakum: %s=%.100s is ignored: %s\n", name, value, wrong);
}

/* One "name_ns=N" of OAKUM_HOST. */
static bool read_cost(const char *item)
{
    int ns;
    const char *value = strchr(item, '=');
    size_t n = value ? (size_t)(value - item) : 0;
    if (!value || oaki_parse_int(value + 1, 0, INT_MAX, &ns) != 0) return false;
#define COST(name, help)                                                             \
    if (n == sizeof #name "_ns" - 1 && strncmp(item, #name "_ns", n) == 0) {         \
        oaki_cost_force(OAKI_COST_##name, (size_t)ns);                               \
        return true;                                                                 \
    }
    OAKI_COSTS(COST)
#undef COST
    return false;
}

/* "cpus=N" or "memory=BYTES". */
static bool read_limit(const char *item)
{
    int cpus;
    size_t memory;
    if (strncmp(item, "cpus=", 5) == 0 && oaki_parse_int(item + 5, 0, INT_MAX, &cpus) == 0)
        oaki_cgroup_force_cpus((unsigned)cpus);
    else if (strncmp(item, "memory=", 7) == 0 &&
             oaki_parse_size(item + 7, 0, SIZE_MAX, &memory) == 0)
        oaki_cgroup_force_memory(memory);
    else return false;
    return true;
}

#define COST_LIST(name, help) " " #name "_ns"

static void read_host(reading *r)
{
    char item[64];
    const char *s = oaki_options_variable("OAKUM_HOST");
    while (s && *s) {
        size_t len = strcspn(s, ",");
        oaki_format(item, sizeof item, "%.*s", (int)OAKI_MIN(len, sizeof item), s);
        if (len > 0 && !read_cost(item) && !read_limit(item) && is_news(r, VARIABLE_host))
            oaki_log("oakum: OAKUM_HOST: %s is ignored: it must be a cost in nanoseconds, NAME=N, "
                     "of" OAKI_COSTS(COST_LIST) "; or cpus=N or memory=BYTES\n",
                     item);
        s += len + (s[len] == ',');
    }
}

#define SWITCH_LIST(name, min, max, help) " " #name

/* Parses the words after "guard=", joined by +, or NULL for none. Returns the bits, or 0 if a word
 * is unknown. */
static int parse_guard(const char *words)
{
    int bits = OAKI_DEBUG_GUARD;
    for (const char *w = words; w; w = strchr(w, '+') ? strchr(w, '+') + 1 : NULL) {
        size_t n = strcspn(w, "+");
        if (n == 4 && strncmp(w, "page", n) == 0) bits |= OAKI_DEBUG_GUARD_PAGE;
        else if (n == 8 && strncmp(w, "continue", n) == 0) bits |= OAKI_DEBUG_GUARD_CONTINUE;
        else return 0;
    }
    return bits;
}

static void read_guard(reading *r, const char *value, oaki_debug *out)
{
    int bits = parse_guard(value);
    if (bits) out->guard = bits;
    else if (is_news(r, VARIABLE_debug))
        oaki_log("oakum: OAKUM_DEBUG: guard=%s is ignored: it must be guard, guard=page, "
                 "guard=continue or guard=page+continue\n",
                 value);
}

/* Reads one "name=value" of OAKUM_DEBUG. */
static void read_switch(reading *r, char *item, oaki_debug *out)
{
    char *value = strchr(item, '=');
    if (value) *value++ = '\0';
    if (strcmp(item, "guard") == 0) {
        read_guard(r, value, out);
        return;
    }
#define READ(switch, min, max, help)                                                             \
    if (strcmp(item, #switch) == 0) {                                                            \
        if ((!value || oaki_parse_int(value, min, max, &out->switch) != 0) &&                    \
            is_news(r, VARIABLE_debug))                                                          \
            oaki_log(                                                                            \
                "oakum: OAKUM_DEBUG: %s%s%s is ignored: it must be %s=N with N from %d to %d\n", \
                item, value ? "=" : "", value ? value : "", item, min, max);                     \
        return;                                                                                  \
    }
    OAKI_DEBUG_SWITCHES(READ)
#undef READ
    if (is_news(r, VARIABLE_debug))
        oaki_log("oakum: OAKUM_DEBUG: %s is unknown; the switches are" OAKI_DEBUG_SWITCHES(
                     SWITCH_LIST) " guard\n",
                 item);
}

static void read_debug(reading *r, oaki_debug *out)
{
    char item[64];
    const char *s = oaki_options_variable("OAKUM_DEBUG");
    while (s && *s) {
        size_t len = strcspn(s, ",");
        if (len > 0) {
            oaki_format(item, sizeof item, "%.*s", (int)OAKI_MIN(len, sizeof item), s);
            read_switch(r, item, out);
        }
        s += len + (s[len] == ',');
    }
}

void oaki_options_from_environment(oak_config *cfg)
{
    reading r = { .before = AO_load(&oaki_options_complained) };
#define READ(field, type, def, min, max, help) \
    read_##type(&r, VARIABLE_##field, #field, &cfg->field, min, max);
    OAK_OPTIONS(READ)
#undef READ
    read_tags(&r, cfg);
    read_host(&r);
    if (!may_stop(cfg->stop_signal)) {
        if (is_news(&r, VARIABLE_stop_signal))
            oaki_log("oakum: OAKUM_STOP_SIGNAL=%d is ignored: it must be a signal that nothing "
                     "else needs, such as 10, 12 or 34 to 64\n",
                     cfg->stop_signal);
        cfg->stop_signal = 0;
    }
    oaki_debug switches = { 0 };
    read_debug(&r, &switches);
    oaki_debug_switches = switches;
    AO_or(&oaki_options_complained, r.now);
}

void oak_config_default(oak_config *cfg)
{
    if (!cfg) return;
#define DEFAULT(field, type, def, min, max, help) cfg->field = def;
    OAK_OPTIONS(DEFAULT)
#undef DEFAULT
    memset(cfg->pointer_tags, 0, sizeof cfg->pointer_tags);
    oaki_options_from_environment(cfg);
}
