/* info.c - `oakum info`: the version, the place of the heap, and all options with their values.
 *
 * The options come from the table OAK_OPTIONS, so none can be missing here. */
#include "cmd.h"

#include <stdlib.h>
#include <string.h>

static const cmd_option options[] = {
    { "help", 'h', NULL, "print this" },
    { NULL, 0, NULL, NULL },
};

/* Format a size with a unit, such as 4M or 1T, if it is a multiple of one; otherwise in bytes. */
static void format_size(char *out, size_t n, size_t value)
{
    static const char units[] = "KMGT";
    int unit = -1;

    if (value == SIZE_MAX) {
        snprintf(out, n, "SIZE_MAX");
        return;
    }
    while (value != 0 && value % 1024 == 0 && unit < 3) {
        value /= 1024;
        unit++;
    }
    if (unit < 0)
        snprintf(out, n, "%zu", value);
    else
        snprintf(out, n, "%zu%c", value, units[unit]);
}

static void format_int(char *out, size_t n, int value)
{
    snprintf(out, n, "%d", value);
}

static void format_tracking(char *out, size_t n, oak_tracking value)
{
    static const char *const names[] = {
#define NAME(name, text) text,
        OAK_TRACKINGS(NAME)
#undef NAME
    };

    snprintf(out, n, "%s", names[value]);
}

static void put_option(const char *field, const char *value, const char *def, const char *text)
{
    char name[64];

    cmd_variable_name(name, sizeof(name), field);
    printf("  %-24s %-10s %-10s %s%s\n", name, value, def, text,
           getenv(name) != NULL ? " (set in the environment)" : "");
}

/* An invalid list in the environment sets no tags. */
static bool has_tags(const oak_config *cfg)
{
    static const oak_pointer_tag none[OAK_POINTER_TAGS];

    return memcmp(cfg->pointer_tags, none, sizeof(none)) != 0;
}

static void put_options(const oak_config *cfg)
{
    char value[32], def[32];

    printf("\n  %-24s %-10s %-10s\n", "option", "value", "default");
#define PUT(field, type, default_value, min, max, text) \
    format_##type(value, sizeof(value), cfg->field);    \
    format_##type(def, sizeof(def), default_value);     \
    put_option(#field, value, def, text);
    OAK_OPTIONS(PUT)
#undef PUT
    put_option("pointer_tags", has_tags(cfg) ? getenv("OAKUM_POINTER_TAGS") : "none", "none",
               "tagged words that are references too: nan-fffc, top-byte, shift-N, compressed-N");
    cmd_say(stdout, "  %-24s %-10s %-10s switches for debugging: see oakum(1)\n", "OAKUM_DEBUG",
            getenv("OAKUM_DEBUG") != NULL ? getenv("OAKUM_DEBUG") : "", "");
}

/* Print a refused way of tracking: "userfaultfd: Operation not permitted (EPERM)". */
static void put_refused(const oak_writes_told *told)
{
    const char *name = strerrorname_np(told->error);

    if (told->refused == NULL) return;
    printf("; %s: %s", told->refused,
           told->error != 0 ? strerror(told->error) : "the program handles SIGSEGV itself");
    if (told->error != 0 && name != NULL) printf(" (%s)", name);
}

static void put_marking(const oak_config *cfg)
{
    oak_writes_told told;

    printf("marking        ");
    if (!cfg->concurrent)
        printf("in one pause, as OAKUM_CONCURRENT says");
    else if (oak_heap_tells_writes(&told)) {
        printf("concurrent (%s)", told.by);
        put_refused(&told);
    } else if (cfg->tracking == OAK_TRACKING_NONE)
        printf("in one pause, as OAKUM_TRACKING says");
    else {
        printf("in one pause");
        put_refused(&told);
    }
    putchar('\n');
}

static void put_cost(const char *text, size_t small, size_t huge)
{
    printf("  %-36s", text);
    if (small != 0)
        printf(" %8zu ns", small);
    else
        printf(" %11s", "unknown");
    if (huge != 0) printf("   huge %8zu ns", huge);
    putchar('\n');
}

static void put_decided(const oak_host *h, const oak_config *cfg)
{
    oak_writes_told told = { NULL, NULL, 0 };
    bool tells = oak_heap_tells_writes(&told);
    bool by_faults = tells && strcmp(told.by, "page faults") == 0;

    printf("objective      at most 1.15 of the total cost of the best fixed mode");
    if (h->pause_goal_us != 0) printf(", in pauses of up to %u us", h->pause_goal_us);
    printf("\ndecided        ");
    if (h->pause_goal_us == 0)
        puts("each cycle is one pause");
    else if (!cfg->concurrent || !tells)
        puts("longer pauses too, as marking is never concurrent");
    else if (h->dear && h->pause_goal_us >= OAK_PAUSE_GOAL_US)
        puts(cfg->huge_pages ? "longer pauses too, as first writes are dear"
                             : "longer pauses too where first writes take over 15 % of the time");
    else
        printf("marking is concurrent where a pause would be longer, at any cost%s\n",
               by_faults ? "" : "; from 1 ms on at up to 15 % of the time");
    printf("now            %s: %s; ", h->concurrent ? "concurrent" : "one pause", h->why);
    printf("%u of %u processors mark; pages are %s and %s\n", h->workers, h->processors,
           h->tracks ? "tracked" : "not tracked", h->huge_pages ? "huge" : "small");
}

/* Print the costs of this host, and the decisions that follow from them. */
static void put_host(const oak_config *cfg)
{
    oak_host h;

    oak_host_read(&h);
    printf("\nhost           %u processor%s, ", h.processors, h.processors == 1 ? "" : "s");
    if (h.memory_limit != 0)
        printf("a memory limit of %zu bytes", h.memory_limit);
    else
        printf("no memory limit");
    if (h.group_limit != 0) printf(" (control groups: %zu)", h.group_limit);
    putchar('\n');
    put_cost("first write to a protected page", h.write, h.write_huge);
    put_cost("protecting a page", h.protect, h.protect_huge);
    put_cost("asking whether a page was written", h.ask, h.ask_huge);
    put_cost("first use of a fresh page", h.fresh, h.fresh_huge);
    put_cost("waking a thread", h.wake, 0);
    put_cost("stopping a thread", h.stop, 0);
    put_decided(&h, cfg);
}

static int info(void)
{
    oak_config cfg;
    oak_heap_info heap;
    char size[32];

    oak_config_default(&cfg);
    if (oak_init(NULL) != 0) {
        perror("oakum info: cannot start Oakum");
        return CMD_FAILED;
    }
    oak_heap_info_read(&heap);
    format_size(size, sizeof(size), heap.reserved);
    printf("oakum          %s\n", oak_version());
    printf("address range  %p to %p, %s reserved\n", heap.base,
           (void *)((char *)heap.base + heap.reserved), size);
    printf("metadata       %s\n", heap.metadata);
    put_marking(&cfg);
    put_host(&cfg);
    put_options(&cfg);
    return CMD_OK;
}

int cmd_info(int argc, char **argv)
{
    cmd_args args = { "oakum info", options, argc, 1, argv, false };
    const char *text;
    int what = cmd_args_next(&args, &text);

    if (what == CMD_ARG_END) return info();
    if (what == 0) {
        fputs("usage: oakum info\nPrint the version, where the heap is, and every option with its "
              "value.\n\n",
              stdout);
        cmd_options_print(options);
        return CMD_OK;
    }
    if (what == CMD_ARG_NAME)
        cmd_say(stderr, "oakum info: takes no arguments, got '%s'; leave it out\n", text);
    return CMD_USAGE;
}
