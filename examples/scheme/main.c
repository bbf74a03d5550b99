/* main.c - the command: arguments, the interpreter's thread, scripts, the prompt.
 *
 * The interpreter runs on a thread of its own, whose stack may be as large as programs need that
 * recurse deeply; it is address space until it is used. main() makes the interpreter, holds it in
 * a local variable, which is what keeps it alive, and waits. All that the interpreter allocates is
 * in a zone, which may have a limit, and is given back at one go. */
#include "scheme.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef HAVE_LIBEDIT
#include <editline/readline.h>
#endif

#ifndef STACK_SIZE /* AddressSanitizer takes up to 64 MiB */
#define STACK_SIZE ((size_t)256 << 20)
#endif
#define STACK_LEFT ((size_t)4 << 20) /* below the depth that programs may reach, for C's own use */

struct job {
    oak_zone *zone;
    struct scheme *s;
    const char *script; /* NULL: standard input */
    int status;
};

/* ---- running text ---- */

/* Its place is what a heap profile calls the memory that it allocates. */
static value run_form(struct scheme *s, const struct source *in, value form)
{
    char place[128];
    snprintf(place, sizeof place, "%s:%u", in->name, in->form_line);
    int labels = oak_label_push("form", place);
    value v = eval(s, compile(s, form, NULL), NULL);
    oak_labels_pop(labels);
    return v;
}

value run_source(struct scheme *s, void *source)
{
    struct source *in = source;
    value form;
    while ((form = read_value(s, in)) != END) {
        value v = run_form(s, in, form);
        wipe_stack();
        if (!in->show || v == NOTHING) continue;
        print(stdout, v, true);
        putchar('\n');
    }
    return NOTHING;
}

/* Whether all went well; what didn't is told, unless the text only ends too early and `more` says
 * that there may be more of it. */
static bool run_text(struct scheme *s, struct source *in, bool more)
{
    value error;
    int labels = oak_label_push("script", in->name); /* to pop those that an error has left, too */
    scheme_interrupted = 0;
    bool fine = try(s, run_source, in, &error);
    oak_labels_pop(labels);
    fflush(stdout);
    if (fine || (in->unfinished && more)) return fine;
    print_error(stderr, error);
    if (!in->reading) fprintf(stderr, "  in the form at %s:%u\n", in->name, in->form_line);
    return false;
}

static value open_text(struct scheme *s, void *path)
{
    return VALUE(read_file(s, path));
}

static int run_script(struct scheme *s, const char *path)
{
    value text;
    if (!try(s, open_text, (void *)(uintptr_t)path, &text)) {
        print_error(stderr, text);
        return 1;
    }
    char *bytes = AS(string, text)->bytes;
    struct source in = { path, bytes, bytes + AS(string, text)->length, .line = 1 };
    return run_text(s, &in, false) ? 0 : 1;
}

/* What doesn't come from a terminal: results are shown, and what follows an error is run. */
static int run_input(struct scheme *s)
{
    value text;
    int status = 0;
    if (!try(s, open_text, (void *)(uintptr_t)"/dev/stdin", &text)) {
        print_error(stderr, text);
        return 1;
    }
    char *bytes = AS(string, text)->bytes;
    struct source in = { .name = "input", .at = bytes, .end = bytes + AS(string, text)->length,
                         .line = 1, .show = true };
    while (!run_text(s, &in, false)) {
        status = 1;
        if (in.reading) break;
    }
    return status;
}

/* ---- the prompt ---- */

struct prompt {
    const char *text;
    char *line; /* the C library's; NULL: no more */
};

/* Waits for somebody to type, and so runs where a collection need not wait for it: nothing of the
 * heap is touched here. */
static void *read_terminal(void *prompt)
{
    struct prompt *p = prompt;
#ifdef HAVE_LIBEDIT
    free(p->line);
    p->line = readline(p->text);
    if (p->line && *p->line) add_history(p->line);
#else
    size_t room = 0;
    free(p->line);
    p->line = NULL;
    fputs(p->text, stdout);
    fflush(stdout);
    if (getline(&p->line, &room, stdin) <= 0) {
        free(p->line);
        p->line = NULL;
    }
#endif
    return NULL;
}

struct turn {
    const struct source *old; /* whose unfinished form goes on */
    const char *line;
};

static value add_line(struct scheme *s, void *turn)
{
    const struct turn *t = turn;
    size_t before = (size_t)(t->old->end - t->old->form), n = strlen(t->line);
    struct string *text = new_string(s, NULL, before + n + 1);
    if (before > 0) memcpy(text->bytes, t->old->form, before);
    memcpy(text->bytes + before, t->line, n);
    text->bytes[before + n] = '\n';
    return VALUE(text);
}

static int run_prompt(struct scheme *s)
{
    static const struct source nothing = { "prompt", NULL, NULL, .line = 1, .show = true };
    struct source in = nothing;
    struct prompt p = { "> ", NULL };
    for (;;) {
        value text;
        p.text = in.unfinished ? ". " : "> ";
        oak_blocking_call(read_terminal, &p);
        if (!p.line) break;
        if (!try(s, add_line, &(struct turn){ &in, p.line }, &text)) {
            print_error(stderr, text);
            continue;
        }
        in = nothing;
        in.at = in.form = AS(string, text)->bytes;
        in.end = in.at + AS(string, text)->length;
        if (run_text(s, &in, true) || !in.unfinished) in = nothing;
    }
    putchar('\n');
    return 0;
}

/* ---- the interpreter's thread ---- */

static void interrupt(int signal)
{
    (void)signal;
    scheme_interrupted = 1;
}

/* The lowest address that calls may go down to. */
static char *stack_end(void)
{
    pthread_attr_t attr;
    void *lowest;
    size_t size;
    if (pthread_getattr_np(pthread_self(), &attr) != 0) abort();
    pthread_attr_getstack(&attr, &lowest, &size);
    pthread_attr_destroy(&attr);
    return (char *)lowest + STACK_LEFT;
}

static __attribute__((noinline)) int run(struct job *j)
{
    j->s->stack_end = stack_end();
    if (j->script) return run_script(j->s, j->script);
    if (!isatty(STDIN_FILENO)) return run_input(j->s);
    sigaction(SIGINT, &(struct sigaction){ .sa_handler = interrupt, .sa_flags = SA_RESTART }, NULL);
    return run_prompt(j->s);
}

static void *run_job(void *job)
{
    struct job *j = job;
    if (oak_zone_enter(j->zone) != 0) return NULL; /* ends with the thread */
    wipe_stack();                                  /* of what starting a thread has left */
    j->status = run(j);
    return NULL;
}

static void *join(void *thread)
{
    pthread_join(*(pthread_t *)thread, NULL);
    return NULL;
}

static int die(const char *what, int error)
{
    fprintf(stderr, "scheme: %s: %s\n", what, strerror(error));
    return 1;
}

static int run_thread(struct job *j)
{
    pthread_t thread;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    int error = oak_thread_create(&thread, &attr, run_job, j);
    pthread_attr_destroy(&attr);
    if (error != 0) return die("no thread for the interpreter", error);
    oak_blocking_call(join, &thread);
    return j->status;
}

/* Makes the interpreter in its zone, and with it the arguments: argv[0] is the script. */
static int make_job(struct job *j, size_t limit, int argc, char **argv)
{
    j->zone = oak_zone_new(&(oak_zone_options){ .name = "scheme", .limit = limit });
    if (!j->zone || oak_zone_enter(j->zone) != 0) return die("no zone", errno);
    j->s = new_scheme();
    if (!j->s) return die("no interpreter", errno);
    if (argc > 0) j->script = argv[0];
    while (argc > 0) {
        const char *text = argv[--argc];
        value argument = VALUE(new_string(j->s, text, strlen(text)));
        j->s->arguments = cons(j->s, argument, j->s->arguments);
    }
    oak_zone_leave(j->zone);
    return 0;
}

/* Bytes; K, M, G at the end count as powers of 1024. 0: this is no size. */
static size_t parse_size(const char *text)
{
    static const char units[] = "KMG";
    char *end;
    unsigned long long n = strtoull(text, &end, 10);
    const char *unit = *end ? strchr(units, *end) : NULL;
    unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
    if (end == text || *text == '-' || (*end && (!unit || end[1]))) return 0;
    return n <= SIZE_MAX >> shift ? (size_t)n << shift : 0;
}

static int usage(FILE *out, int status)
{
    fputs("usage: scheme [--limit SIZE] [SCRIPT [ARGUMENT...]]\n"
          "Without a script, reads what is typed, or standard input. With a limit, as 64M, a\n"
          "program that needs more memory gets an error.\n",
          out);
    return status;
}

int main(int argc, char **argv)
{
    struct job j = { .status = 1 };
    size_t limit = 0;
    int i = 1;
    if (i < argc && strcmp(argv[i], "--help") == 0) return usage(stdout, 0);
    if (i + 1 < argc && strcmp(argv[i], "--limit") == 0) {
        limit = parse_size(argv[i + 1]);
        if (limit == 0) return usage(stderr, 2);
        i += 2;
    }
    if (i < argc && argv[i][0] == '-') return usage(stderr, 2);
    if (oak_init(NULL) != 0) return die("no heap", errno);
    if (make_job(&j, limit, argc - i, argv + i) != 0) return 1;
    int status = run_thread(&j);
    oak_zone_discard(j.zone); /* whatever there was of it, in no time */
    return status;
}
