/* json.c - fuzz target: the command's reader of JSON, whose texts come from whoever answers, and
 * what `oakum top` shows of them. Behind a NUL there may be an earlier answer.
 *
 * A terminal gets characters of UTF-8 and ends of lines, and no more lines and columns than it
 * has. */
#include "cmd/live.h"
#include "fuzz.h"

#include <string.h>

#define COLUMNS 60
#define ROWS 24

static void walk(const cmd_json *v, unsigned depth)
{
    FUZZ_REQUIRE(depth < 100000);
    for (const cmd_json *c = v->first; c; c = c->next) walk(c, depth + 1);
}

static void check_page(const char *text, size_t n)
{
    unsigned rows = 0, columns = 0;
    for (size_t i = 0, len; i < n; i += len) {
        len = text[i] == '\n' ? 1 : cmd_character(text + i, n - i);
        FUZZ_REQUIRE(len > 0);
        rows += text[i] == '\n';
        columns = text[i] == '\n' ? 0 : columns + 1;
        FUZZ_REQUIRE(columns <= COLUMNS && rows <= ROWS);
    }
}

static void show(const cmd_json *now, const cmd_json *before)
{
    cmd_server server = { .host = "localhost", .port = "80" };
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    cmd_view view = { out, COLUMNS, ROWS, false, false };
    FUZZ_REQUIRE(out);
    cmd_view_page(&view, &server, now, before);
    check_page(text, n);
    cmd_view_line(out, now, before);
    view = (cmd_view){ out, COLUMNS, 0, true, true };
    cmd_view_page(&view, &server, now, before);
    fclose(out);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    FUZZ_REQUIRE(text);
    memcpy(text, data, size);
    text[size] = '\0';
    size_t n = strlen(text);
    cmd_json *v = cmd_json_read(text), *before = n < size ? cmd_json_read(text + n + 1) : NULL;
    if (v) {
        walk(v, 0);
        (void)cmd_json_at(v, "a.b");
        (void)cmd_json_number(v, "a");
        (void)cmd_json_text(v, "a.b.c");
        (void)cmd_json_count(v, "a");
        show(v, before);
    }
    cmd_json_free(v);
    cmd_json_free(before);
    free(text);
    return 0;
}
