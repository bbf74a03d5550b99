/* why.c - `oakum why`: prints a shortest path from a root to an object of a snapshot. For a running
 * program, its debug server finds the path. */
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

/* An address in the format of printf's %p, which writes NULL as "(nil)". */
static void put_address(oaki_json *j, const char *key, const void *p)
{
    char text[32];

    snprintf(text, sizeof(text), "%p", p);
    oaki_json_put_string(j, key, text);
}

static void put_root(oaki_json *j, const oak_root_info *root)
{
    static const char *const kinds[] = { "none",     "global", "range",     "pinned",
                                         "tls",      "stack",  "register",  "fiber",
                                         "finalizer", "cleanup", "waiting", "runtime" };
    char text[512];

    oak_root_format(root, text, sizeof(text));
    oaki_json_object(j);
    oaki_json_put_string(j, "kind", kinds[root->kind]);
    oaki_json_put_i64(j, "thread", root->thread);
    put_address(j, "address", root->address);
    oaki_json_put_string(j, "text", text);
    oaki_json_object_end(j);
}

static void put_step(oaki_json *j, const oak_step *s)
{
    oaki_json_line(j, 2);
    oaki_json_object(j);
    put_address(j, "object", s->object);
    oaki_json_put_u64(j, "size", s->size);
    oaki_json_put_string(j, "type", s->type);
    oaki_json_key(j, "offset");
    if (s->offset != SIZE_MAX)
        oaki_json_u64(j, s->offset);
    else
        oaki_json_null(j);
    oaki_json_put_u64(j, "interior", s->interior);
    oaki_json_put_string(j, "label", s->label);
    oaki_json_object_end(j);
}

static void put_json(const oak_path *p)
{
    oaki_json j;

    cmd_json_init(&j, stdout);
    oaki_json_object(&j);
    put_address(&j, "object", p->object);
    oaki_json_put_u64(&j, "size", p->size);
    oaki_json_put_u64(&j, "length", p->length);
    oaki_json_key(&j, "root");
    put_root(&j, &p->root);
    oaki_json_key(&j, "steps");
    oaki_json_array(&j);
    for (size_t i = 0; i < p->nsteps; i++) put_step(&j, &p->steps[i]);
    oaki_json_array_end(&j);
    oaki_json_object_end(&j);
    (void)oaki_json_finish(&j);
}

/* Print a path of any length as text. */
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
            cmd_say(stderr,
                    "oakum why: %s is in no object of %s; 'oakum snapshot top' lists objects\n",
                    word, file);
        else
            cmd_say(stderr, "oakum why: %s: %s; %s\n", file, strerror(errno), cmd_remedy(errno));
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
          "Print a shortest path from a root to the object that the address is in: of a\n"
          "snapshot, or of a running program that has a debug server. There site=N, as\n"
          "'oakum top' shows, means an object that this site of the heap profile made.\n\n",
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
        fputs("oakum why: wants a snapshot or a program, and an address; "
              "'oakum why --help' tells more\n",
              stderr);
        return CMD_USAGE;
    }
    if (cmd_is_server(name[0])) return cmd_why_live(name[0], name[1], r.json);
    errno = 0;
    address = strtoull(name[1], &end, 16);
    if (end == name[1] || *end != '\0' || errno != 0 || name[1][0] == '-') {
        cmd_say(stderr, "oakum why: '%s' is no address, as 0x7f0010\n", name[1]);
        return CMD_USAGE;
    }
    return why(name[0], name[1], address, r.json);
}
