/* why.c - `oakum why`: a shortest path from a root to an object of a snapshot; of a running
 * program, its debug server tells it. */
#include "live.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { OPT_JSON, OPT_HELP };

static const cmd_option options[] = {
    { "json", 0, NULL, "print JSON" },
    { "help", 'h', NULL, "print this" },
    { NULL, 0, NULL, NULL },
};

static void put_json(const oak_path *p)
{
    static const char *const kinds[] = { "none",     "global", "range",     "pinned",
                                         "tls",      "stack",  "register",  "fiber",
                                         "finalizer", "cleanup", "waiting", "runtime" };
    char root[512];

    oak_root_format(&p->root, root, sizeof(root));
    printf("{\"object\": \"%p\", \"size\": %zu, \"length\": %zu, \"root\": {\"kind\": \"%s\", "
           "\"thread\": %d, \"address\": \"%p\", \"text\": ",
           p->object, p->size, p->length, kinds[p->root.kind], p->root.thread, p->root.address);
    cmd_json_string(stdout, root);
    fputs("}, \"steps\": [", stdout);
    for (size_t i = 0; i < p->nsteps; i++) {
        const oak_step *s = &p->steps[i];

        printf("%s\n  {\"object\": \"%p\", \"size\": %zu, \"type\": ", i == 0 ? "" : ",",
               s->object, s->size);
        cmd_json_string(stdout, s->type);
        if (s->offset != SIZE_MAX)
            printf(", \"offset\": %zu", s->offset);
        else
            fputs(", \"offset\": null", stdout);
        printf(", \"interior\": %zu, \"label\": ", s->interior);
        cmd_json_string(stdout, s->label);
        fputs("}", stdout);
    }
    fputs("]}\n", stdout);
}

/* To stdout, however long it is. */
static int put_text(const oak_path *p)
{
    size_t n = oak_path_format(p, NULL, 0) + 1;
    char *text = malloc(n);

    if (text == NULL) return CMD_FAILED;
    oak_path_format(p, text, n);
    cmd_clean(text, strlen(text), "\n");
    fputs(text, stdout);
    free(text);
    return CMD_OK;
}

static int why(const char *file, const char *word, unsigned long long address, bool json)
{
    oak_snapshot *s = cmd_snapshot_open("oakum why", file);
    oak_path *p;
    int status = CMD_OK;

    if (s == NULL) return CMD_FAILED;
    p = oak_snapshot_why(s, address);
    if (p == NULL) {
        if (errno == EINVAL)
            cmd_say(stderr, "oakum why: %s is in no object of %s\n", word, file);
        else
            cmd_say(stderr, "oakum why: %s: %s\n", file, strerror(errno));
        status = CMD_FAILED;
    } else if (json) {
        put_json(p);
    } else {
        status = put_text(p);
    }
    oak_path_free(p);
    oak_snapshot_close(s);
    return status;
}

typedef struct request {
    bool json, help;
} request;

static bool take(void *ctx, int option, const char *value)
{
    request *r = ctx;

    (void)value;
    if (option == OPT_JSON) r->json = true;
    if (option == OPT_HELP) r->help = true;
    return true;
}

static int help(void)
{
    fputs("usage: oakum why [OPTION...] FILE|PID|URL ADDRESS\n"
          "Print a shortest path from a root to the object that the address is in: of a "
          "snapshot, or of a\nrunning program that has a debug server. There site=N, as "
          "'oakum top' shows, means an object\nthat this site of the heap profile made.\n\n",
          stdout);
    cmd_options_print(options);
    return CMD_OK;
}

int cmd_why(int argc, char **argv)
{
    cmd_args args = { "oakum why", options, argc, 1, argv, false };
    request r = { false, false };
    const char *name[2] = { NULL, NULL };
    int names = cmd_args_read(&args, take, &r, name, 2);
    unsigned long long address;
    char *end;

    if (names == CMD_ARG_BAD) return CMD_USAGE;
    if (r.help) return help();
    if (names != 2) {
        fputs("oakum why: wants a snapshot or a program, and an address\n", stderr);
        return CMD_USAGE;
    }
    if (cmd_is_server(name[0])) return cmd_why_live(name[0], name[1], r.json);
    errno = 0;
    address = strtoull(name[1], &end, 16);
    if (end == name[1] || *end != '\0' || errno != 0 || name[1][0] == '-') {
        cmd_say(stderr, "oakum why: '%s' is no address\n", name[1]);
        return CMD_USAGE;
    }
    return why(name[0], name[1], address, r.json);
}
