/* json.c - fuzz target: the command's reader of JSON, whose texts come from whoever answers. */
#include "cmd/live.h"
#include "fuzz.h"

#include <string.h>

static void walk(const cmd_json *v, unsigned depth)
{
    FUZZ_REQUIRE(depth < 100000);
    for (const cmd_json *c = v->first; c; c = c->next) walk(c, depth + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    FUZZ_REQUIRE(text);
    memcpy(text, data, size);
    text[size] = '\0';
    cmd_json *v = cmd_json_read(text);
    if (v) {
        walk(v, 0);
        (void)cmd_json_at(v, "a.b");
        (void)cmd_json_number(v, "a");
        (void)cmd_json_text(v, "a.b.c");
        (void)cmd_json_count(v, "a");
    }
    cmd_json_free(v);
    free(text);
    return 0;
}
