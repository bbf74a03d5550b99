/* snapshot.c - `oakum snapshot`: shows the contents of a snapshot and the objects that retain most,
 * or converts it for DevTools. */
#include "cmd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { OPT_JSON, OPT_COUNT, OPT_HELP };

static const cmd_option options[] = {
    { "json", 0, NULL, "print JSON" },
    { "count", 0, "N", "show at most N objects (20)" },
    { "help", 'h', NULL, "print this" },
    { NULL, 0, NULL, NULL },
};

#define TOP_MOST 100000ul

typedef struct request {
    const char *what, *file, *output;
    unsigned count;
    bool json, help;
} request;

oak_snapshot *cmd_snapshot_open(const char *command, const char *path)
{
    char error[256];
    oak_snapshot *s = oak_snapshot_open(path, error, sizeof(error));

    if (s == NULL)
        cmd_say(stderr, "%s: %s: %s; %s\n", command, path, error,
                errno == EBADMSG ? "oak_snapshot_save writes a whole one" : cmd_remedy(errno));
    return s;
}

const char *cmd_bytes(char out[24], double bytes)
{
    static const char *const units[] = { "B", "kB", "MB", "GB", "TB" };
    size_t unit = 0;
    double size = bytes < 0 ? -bytes : bytes;

    while (size >= 1000 && unit < 4) {
        size /= 1000;
        unit++;
    }
    snprintf(out, 24, unit == 0 ? "%s%.0f %s" : "%s%.1f %s", bytes < 0 ? "-" : "", size,
             units[unit]);
    return out;
}

/* ---- info ---- */

static void info_text(const oak_snapshot_info *i)
{
    char when[32] = "?", size[24];
    time_t t = (time_t)i->time;
    struct tm tm;

    if (gmtime_r(&t, &tm) != NULL) strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S UTC", &tm);
    cmd_say(stdout, "program   %s, process %llu\n", i->program, (unsigned long long)i->pid);
    cmd_say(stdout, "taken     %s, by oakum %s, format %u\n", when, i->oakum, i->version);
    printf("heap      0x%llx, %s of addresses\n", (unsigned long long)i->heap_base,
           cmd_bytes(size, (double)i->heap_used));
    printf("objects   %llu, %s\n", (unsigned long long)i->objects,
           cmd_bytes(size, (double)i->object_bytes));
    printf("edges     %llu\nroots     %llu\nthreads   %llu\ntypes     %llu\n",
           (unsigned long long)i->edges, (unsigned long long)i->roots,
           (unsigned long long)i->threads, (unsigned long long)i->types);
    printf("map keys  %llu%s\n", (unsigned long long)i->keys, i->keys_cut ? ", not all" : "");
    printf("file      %s\n", cmd_bytes(size, (double)i->bytes));
}

static void info_json(const oak_snapshot_info *i)
{
    oaki_json j;

    cmd_json_init(&j, stdout);
    oaki_json_object(&j);
    oaki_json_put_string(&j, "program", i->program);
    oaki_json_put_string(&j, "oakum", i->oakum);
    oaki_json_put_u64(&j, "format", i->version);
    oaki_json_put_u64(&j, "pid", i->pid);
    oaki_json_put_u64(&j, "time", i->time);
    oaki_json_put_u64(&j, "heap_base", i->heap_base);
    oaki_json_put_u64(&j, "heap_used", i->heap_used);
    oaki_json_put_u64(&j, "objects", i->objects);
    oaki_json_put_u64(&j, "object_bytes", i->object_bytes);
    oaki_json_put_u64(&j, "edges", i->edges);
    oaki_json_put_u64(&j, "roots", i->roots);
    oaki_json_put_u64(&j, "threads", i->threads);
    oaki_json_put_u64(&j, "types", i->types);
    oaki_json_put_u64(&j, "keys", i->keys);
    oaki_json_put_bool(&j, "keys_cut", i->keys_cut);
    oaki_json_put_u64(&j, "file_bytes", i->bytes);
    oaki_json_object_end(&j);
    (void)oaki_json_finish(&j);
}

static int info(const request *r, const oak_snapshot *s)
{
    oak_snapshot_info i;

    oak_snapshot_info_read(s, &i);
    if (r->json)
        info_json(&i);
    else
        info_text(&i);
    return CMD_OK;
}

/* ---- top ---- */

static void top_text(oak_snapshot *s, const uint64_t *list, size_t n)
{
    char retained[24], size[24];
    oak_snapshot_object o;

    printf("%12s %12s  %-16s %s\n", "retained", "size", "object", "type");
    for (size_t i = 0; i < n; i++) {
        if (oak_snapshot_object_read(s, list[i], &o) != 0) continue;
        cmd_say(stdout, "%12s %12s  0x%-14llx %s\n", cmd_bytes(retained, (double)o.retained),
                cmd_bytes(size, (double)o.size), (unsigned long long)o.address, o.type);
    }
}

static void top_json(oak_snapshot *s, const uint64_t *list, size_t n)
{
    oak_snapshot_object o;
    oaki_json j;

    cmd_json_init(&j, stdout);
    oaki_json_array(&j);
    for (size_t i = 0; i < n; i++) {
        if (oak_snapshot_object_read(s, list[i], &o) != 0) continue;
        oaki_json_line(&j, 2);
        oaki_json_object(&j);
        oaki_json_put_address(&j, "address", (const void *)(uintptr_t)o.address);
        oaki_json_put_u64(&j, "retained", o.retained);
        oaki_json_put_u64(&j, "size", o.size);
        oaki_json_put_string(&j, "type", o.type);
        oaki_json_object_end(&j);
    }
    oaki_json_line(&j, 0);
    oaki_json_array_end(&j);
    (void)oaki_json_finish(&j);
}

static int top(const request *r, oak_snapshot *s)
{
    uint64_t *list = malloc(r->count * sizeof(*list));
    size_t n;

    if (list == NULL || oak_snapshot_analyse(s) != 0) {
        cmd_say(stderr, "oakum snapshot: %s: out of memory; %s\n", r->file,
                cmd_remedy(ENOMEM));
        free(list);
        return CMD_FAILED;
    }
    n = oak_snapshot_top(s, list, r->count);
    if (r->json)
        top_json(s, list, n);
    else
        top_text(s, list, n);
    free(list);
    return CMD_OK;
}

/* ---- convert ---- */

static bool is_same_file(const char *a, const char *b)
{
    struct stat s, t;

    return stat(a, &s) == 0 && stat(b, &t) == 0 && s.st_dev == t.st_dev && s.st_ino == t.st_ino;
}

static int convert(const request *r, const oak_snapshot *s)
{
    cmd_output o;
    int result;

    if (r->output != NULL && is_same_file(r->file, r->output)) {
        cmd_say(stderr, "oakum snapshot: %s is the snapshot itself; name another file to write\n",
                r->output);
        return CMD_USAGE;
    }
    if (r->output == NULL) {
        result = oak_snapshot_convert(s, STDOUT_FILENO);
    } else {
        result = cmd_output_open(&o, r->output);
        if (result == 0) result = cmd_output_close(&o, oak_snapshot_convert(s, fileno(o.stream)));
    }
    if (result == 0) return CMD_OK;
    /* a closed standard output is no error: its reader wanted no more */
    if (r->output != NULL || errno != EPIPE)
        cmd_say(stderr, "oakum snapshot: cannot write %s: %s; %s\n",
                r->output != NULL ? r->output : "the output", strerror(errno), cmd_remedy(errno));
    return CMD_FAILED;
}

/* ---- the command line ---- */

static int help(void)
{
    fputs("usage: oakum snapshot info|top [OPTION...] FILE\n"
          "       oakum snapshot convert FILE [OUTPUT]\n"
          "Look into a snapshot that oak_snapshot_save has written; '-' is standard input.\n\n"
          "  info     what is in it\n"
          "  top      the objects that retain the most\n"
          "  convert  write it as a .heapsnapshot for Chrome's DevTools and memlab\n\n",
          stdout);
    cmd_options_print(options);
    return CMD_OK;
}

static const char *action_name(size_t i, const void *ctx)
{
    static const char *const names[] = { "info", "top", "convert" };

    (void)ctx;
    return i < 3 ? names[i] : NULL;
}

static bool known(const char *what)
{
    const char *name;

    for (size_t i = 0; (name = action_name(i, NULL)) != NULL; i++)
        if (strcmp(name, what) == 0) return true;
    cmd_tell_unknown("oakum snapshot", "action", "", what, "--help", action_name, NULL);
    return false;
}

static int run(const request *r)
{
    oak_snapshot *s = cmd_snapshot_open("oakum snapshot", r->file);
    int status;

    if (s == NULL) return CMD_FAILED;
    if (strcmp(r->what, "info") == 0)
        status = info(r, s);
    else if (strcmp(r->what, "top") == 0)
        status = top(r, s);
    else
        status = convert(r, s);
    oak_snapshot_close(s);
    return status;
}

static bool take(void *ctx, int option, const char *value)
{
    request *r = ctx;

    if (option == OPT_HELP) r->help = true;
    if (option == OPT_JSON) r->json = true;
    return option != OPT_COUNT ||
           cmd_parse_number("oakum snapshot", "count", TOP_MOST, value, &r->count);
}

int cmd_snapshot(int argc, char **argv)
{
    cmd_args args = { "oakum snapshot", options, argc, 1, argv, false };
    request r = { .count = 20 };
    const char *name[3] = { NULL, NULL, NULL };
    int names = cmd_args_read(&args, take, &r, name, 3);

    if (names == CMD_ARG_BAD) return CMD_USAGE;
    if (r.help) return help();
    if (name[0] != NULL && !known(name[0])) return CMD_USAGE;
    if (names < 2 || names > (strcmp(name[0], "convert") == 0 ? 3 : 2)) {
        fputs("oakum snapshot: wants an action and a file; 'oakum snapshot --help' tells more\n",
              stderr);
        return CMD_USAGE;
    }
    r.what = name[0];
    r.file = name[1];
    r.output = name[2];
    return run(&r);
}
