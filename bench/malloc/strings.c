/* strings.c - many strings that grow by realloc, as a script's do: strings LIVE N. */
#include "work.h"

typedef struct string {
    size_t length, room;
    char *text;
} string;

int main(int argc, char **argv)
{
    size_t live = (size_t)bench_arg(argc, argv, 1, 1000);
    uint64_t n = bench_arg(argc, argv, 2, 1000000), random = 1, check = 0;
    string *all = calloc(live ? live : 1, sizeof *all);
    if (!all || live == 0) work_end("out of memory");
    uint64_t start = bench_now_ns();
    for (uint64_t i = 0; i < n; i++) {
        uint64_t r = bench_random(&random);
        string *s = &all[r % live];
        size_t more = 1 + (size_t)(r >> 40) % 32;
        if (s->length > 2000) {
            check += (unsigned char)s->text[s->length - 1];
            free(s->text);
            *s = (string){ 0, 0, NULL };
        }
        if (s->length + more > s->room) {
            s->room = s->length + more + s->room / 8;
            s->text = realloc(s->text, s->room);
            if (!s->text) work_end("out of memory");
        }
        memset(s->text + s->length, (int)(i & 0xff), more);
        s->length += more;
    }
    return work_print(check, start, n);
}
