/* main.c - the command: the interpreter's thread, its zone, scripts, the prompt.
 *
 * The interpreter runs on a thread of its own, whose stack may be as large as programs need that
 * recurse deeply; it is address space until it is used. main() has the interpreter in a local
 * variable, which is what keeps it alive. All that it allocates is in a zone, which may have a
 * limit, and is given back at one go. */
#include "scheme.h"

#include <errno.h>
#include <pthread.h>
#include <stdio_ext.h>
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
    struct scheme *s;
    oak_zone *zone;
    char *script, *text; /* a path, or what -e says; neither: standard input */
    int status;
};

static const char prelude[] =
#include "prelude.inc"
    ;

/* ---- running text ---- */

/* A form's place is what a heap profile calls the memory that it allocates. */
value run_source(struct scheme *s, void *source)
{
    struct source *in = source;
    for (value form; (form = read_value(s, in)) != END; wipe_stack()) {
        char where[128];
        place(in, in->form, where, sizeof where);
        int labels = oak_label_push("form", where);
        value v = eval(s, form, NIL);
        oak_labels_pop(labels);
        if (!in->show || v == NOTHING) continue;
        print(stdout, v, true, 0);
        putchar('\n');
    }
    return NOTHING;
}

/* An error is a list: a message, and what it is about. Anything else may be raised as well. */
static void print_error(FILE *out, value e)
{
    bool message = is_pair(e) && is(car(e), STRING);
    print(out, message ? car(e) : e, !message, 0);
    for (int few = 20; message && few > 0 && is_pair(e = cdr(e)); few--) {
        putc(' ', out);
        print(out, car(e), true, 0);
    }
}

/* As much as is read of it: what holds itself twice would be printed for ever. */
static void report(value e)
{
    char text[4096];
    FILE *out = fmemopen(text, sizeof text, "w");
    if (!out) abort();
    print_error(out, e);
    bool whole = fflush(out) == 0;
    size_t n = whole ? (size_t)ftell(out) : sizeof text - 1;
    fclose(out);
    fputs("error: ", stderr);
    fwrite(text, 1, n, stderr);
    fputs(whole ? "\n" : "...\n", stderr);
}

static value define_all(struct scheme *s, void *prelude_text)
{
    s->out_of_memory = cons(s, new_string(s, "out of memory", 13), NIL);
    define_forms(s);
    define_procedures(s);
    struct source in = { .name = "prelude", .text = prelude_text, .at = prelude_text };
    return run_source(s, &in);
}

/* Whether all went well. What didn't is told, but not that the text has ended where there may be
 * more of it. */
static bool run_text(struct scheme *s, struct source *in, bool more)
{
    value e;
    char where[128];
    int labels = oak_label_push("script", in->name); /* to pop those that an error has left, too */
    interrupted = 0;
    in->unfinished = false;
    bool fine = try(s, FALSE, run_source, in, &e);
    oak_labels_pop(labels);
    fflush(stdout);
    if (fine || (in->unfinished && more)) return fine;
    report(e);
    place(in, in->form, where, sizeof where);
    fprintf(stderr, "  in the form at %s\n", where);
    return false;
}

/* Standard input is run to its end, with results, whatever goes wrong; a script up to an error. */
static value run_file(struct scheme *s, void *path)
{
    bool show = strcmp(path, "/dev/stdin") == 0;
    struct source in = { .name = show ? "input" : path, .show = show };
    in.text = in.at = read_file(s, new_string(s, path, strlen(path)));
    bool fine = run_text(s, &in, false);
    while (show && *in.at) run_text(s, &in, false);
    return boolean(fine);
}

/* ---- the prompt ---- */

/* A line, the C library's; NULL at the end. Waits for somebody to type, and so runs where a
 * collection need not wait for it: nothing of the heap is touched here. */
static void *read_terminal(void *prompt)
{
#ifdef HAVE_LIBEDIT
    char *line = readline(prompt);
    if (line && *line) add_history(line);
    return line;
#else
    char *line = NULL;
    size_t room = 0;
    fputs(prompt, stdout);
    fflush(stdout);
    return getline(&line, &room, stdin) < 0 ? NULL : line;
#endif
}

/* A form that is not finished goes on with the next line; those before it have been run. */
static void run_prompt(struct scheme *s)
{
    struct source in = { .name = "prompt", .show = true };
    char *line, *text = NULL;
    while ((line = oak_blocking_call(read_terminal, text ? ". " : "> "))) {
        char *before = text;
        if (asprintf(&text, "%s%s\n", before ? before : "", line) < 0) abort();
        free(before);
        free(line);
        in.text = in.at = text;
        in.counted = NULL;
        bool more = !run_text(s, &in, true) && in.unfinished;
        before = text;
        if (!more) text = NULL;
        else if (!(text = strdup(in.form))) abort();
        free(before);
    }
    putchar('\n');
}

/* ---- the interpreter's thread ---- */

static void interrupt(UNUSED int signal)
{
    interrupted = 1;
}

/* Whoever makes the interpreter keeps it, in j->s. The zone is left as the thread ends. */
static void *run_job(void *job)
{
    struct job *j = job;
    char *here = __builtin_frame_address(0), *path = j->script ? j->script : "/dev/stdin";
    struct source text = { .name = "-e", .text = j->text, .at = j->text };
    value fine = TRUE;
    if (oak_zone_enter(j->zone) != 0 || !(j->s = new_scheme(here - STACK_SIZE + STACK_LEFT)) ||
        !try(j->s, FALSE, define_all, (void *)(uintptr_t)prelude, &fine)) {
        fputs("scheme: not enough memory to begin\n", stderr);
        return NULL;
    }
    sigaction(SIGINT, &(struct sigaction){ .sa_handler = interrupt, .sa_flags = SA_RESTART }, NULL);
    wipe_stack();
    if (!j->text && !j->script && isatty(STDIN_FILENO)) run_prompt(j->s);
    else if (j->text) fine = boolean(run_text(j->s, &text, false));
    else if (!try(j->s, FALSE, run_file, path, &fine)) report(fine);
    j->status = fine == TRUE ? 0 : 1;
    return NULL;
}

static void *join(void *thread)
{
    pthread_join(*(pthread_t *)thread, NULL);
    return NULL;
}

static int run_thread(struct job *j)
{
    pthread_t thread;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    errno = oak_thread_create(&thread, &attr, run_job, j);
    pthread_attr_destroy(&attr);
    if (errno == 0) oak_blocking_call(join, &thread);
    else perror("scheme: no thread for the interpreter");
    return j->status;
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
    fputs("usage: scheme [--limit SIZE] [SCRIPT | -e TEXT]\n"
          "Without either, reads what is typed, or standard input. With a limit, as 64M, a\n"
          "program that needs more memory gets an error.\n", out);
    return status;
}

/* However the program ends: what it wrote must have got out. */
static void close_stdout(void)
{
    bool lost = ferror(stdout), pending = __fpending(stdout) > 0;
    if ((fclose(stdout) == 0 || (errno == EBADF && !pending)) && !lost) return;
    fputs("scheme: the output could not be written\n", stderr);
    _exit(1);
}

int main(int argc, char **argv)
{
    atexit(close_stdout);
    struct job j = { .status = 1 };
    oak_zone_options options = { .name = "scheme" };
    int i = 1;
    if (i < argc && strcmp(argv[i], "--help") == 0) return usage(stdout, 0);
    if (i < argc && strcmp(argv[i], "--version") == 0) return puts(oak_version()) < 0;
    if (i + 1 < argc && strcmp(argv[i], "--limit") == 0) {
        options.limit = parse_size(argv[i + 1]);
        if (options.limit == 0) return usage(stderr, 2);
        i += 2;
    }
    if (i + 1 < argc && strcmp(argv[i], "-e") == 0) j.text = argv[i + 1];
    else if (i < argc && argv[i][0] == '-') return usage(stderr, 2);
    else if (i < argc) j.script = argv[i];
    if (oak_init(NULL) != 0 || !(j.zone = oak_zone_new(&options))) {
        perror("scheme");
        return 1;
    }
    int status = run_thread(&j);
    oak_zone_discard(j.zone); /* whatever there was of it, in no time */
    return status;
}
