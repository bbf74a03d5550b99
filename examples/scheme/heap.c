/* heap.c - what Oakum offers a program: hash tables, weak references, files that close themselves,
 * and a look at the heap. */
#include "scheme.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- hash tables: Oakum's map with Scheme's equal? ---- */

static uint64_t hash_key(value const *key, uint64_t seed)
{
    return hash(*key, seed);
}

/* What is too deep to be compared equals itself only. */
static bool equal_keys(value const *a, value const *b)
{
    return equal(*a, *b) == 1;
}

/* Keys and values are pointers, so the map is scanned; how, the collector knows by itself. */
OAK_MAP_DEFINE_WITH(entries, value, value, hash_key, equal_keys);

PROCEDURE(make_table)
{
    struct table *t = new_object(s, TABLE);
    t->entries = checked(s, entries_new(0));
    return VALUE(t);
}

PROCEDURE(table_set)
{
    value *slot = checked(s, entries_put(AS(table, arg[0])->entries, arg[1]));
    *slot = arg[2];
    return NOTHING;
}

PROCEDURE(table_ref)
{
    value *slot = entries_get(AS(table, arg[0])->entries, arg[1]);
    return slot ? *slot : n > 2 ? arg[2] : FALSE;
}

EXPRESSION(table_delete, boolean(entries_delete(AS(table, arg[0])->entries, arg[1])))
EXPRESSION(table_size, fixnum((intptr_t)entries_len(AS(table, arg[0])->entries)))

/* The procedure may change the table: an iterator is a place in it, and holds nothing. */
PROCEDURE(table_walk)
{
    entries_iter it;
    for (entries_iter_init(&it, AS(table, arg[0])->entries); entries_iter_next(&it);) {
        value entry[] = { *it.key, *it.value };
        apply(s, arg[1], 2, entry);
    }
    if (errno == ENOMEM) checked(s, NULL);
    return NOTHING;
}

PROCEDURE(table_to_list)
{
    entries_iter it;
    value list = NIL;
    for (entries_iter_init(&it, AS(table, arg[0])->entries); entries_iter_next(&it);) {
        value entry = cons(s, *it.key, *it.value);
        list = cons(s, entry, list);
    }
    return list;
}

/* ---- weak references ---- */

PROCEDURE(make_weak)
{
    struct weak *w = new_object(s, WEAK);
    w->reference = checked(s, oak_weak_new(arg[0])); /* a tag is part of what it gives back */
    return VALUE(w);
}

PROCEDURE(weak_ref)
{
    value v = oak_weak_get(AS(weak, arg[0])->reference);
    return v ? v : FALSE;
}

/* ---- files ---- */

/* A port that was forgotten. Runs on Oakum's own thread, beside the program, which can't reach the
 * port any more; nothing else is touched here. */
static void close_forgotten(void *object, void *context)
{
    struct port *p = object;
    (void)context;
    if (p->file) fclose(p->file);
    p->file = NULL;
}

static struct port *open_port(struct scheme *s, const char *path, const char *mode)
{
    struct port *p = new_object(s, PORT);
    if (oak_finalizer_set_ex(p, close_forgotten, NULL, OAK_FINALIZER_NO_ORDER, NULL, NULL) != 0)
        checked(s, NULL);
    p->file = fopen(path, mode);
    if (!p->file) fail(s, VALUE(new_string(s, path, strlen(path))), "%s", strerror(errno));
    return p;
}

static const char *path_of(struct scheme *s, value name)
{
    struct string *t = AS(string, name);
    if (memchr(t->bytes, 0, t->length)) fail(s, name, "there is a zero byte in this name");
    return t->bytes;
}

EXPRESSION(open_input, VALUE(open_port(s, path_of(s, arg[0]), "re")))
EXPRESSION(open_output, VALUE(open_port(s, path_of(s, arg[0]), "we")))

PROCEDURE(close_port)
{
    struct port *p = AS(port, arg[0]);
    FILE *f = p->file;
    p->file = NULL;
    if (f && fclose(f) != 0) fail(s, UNASSIGNED, "close-port: %s", strerror(errno));
    return NOTHING;
}

static FILE *file_of(struct scheme *s, value *arg, size_t n, size_t i)
{
    if (n <= i) return stdout;
    if (!AS(port, arg[i])->file) fail(s, UNASSIGNED, "this port is closed");
    return AS(port, arg[i])->file;
}

PROCEDURE(read_line)
{
    FILE *in = n > 0 ? file_of(s, arg, n, 0) : stdin;
    size_t length = 0, room = 64;
    char *text = checked(s, oak_alloc_noscan(room));
    int c;
    while ((c = getc(in)) != EOF && c != '\n') {
        if (length == room) text = checked(s, oak_realloc(text, room *= 2));
        text[length++] = (char)c;
    }
    return c == EOF && length == 0 ? END : VALUE(new_string(s, text, length));
}

EXPRESSION(display, (print(file_of(s, arg, n, 1), arg[0], false), NOTHING))
EXPRESSION(write_, (print(file_of(s, arg, n, 1), arg[0], true), NOTHING))
EXPRESSION(newline, (putc('\n', file_of(s, arg, n, 0)), NOTHING))

struct string *read_file(struct scheme *s, const char *path)
{
    struct port *p = open_port(s, path, "re");
    size_t length = 0, room = 4096, got;
    char *text = checked(s, oak_alloc_noscan(room));
    while ((got = fread(text + length, 1, room - length, p->file)) > 0) {
        length += got;
        if (length == room) text = checked(s, oak_realloc(text, room *= 2));
    }
    if (ferror(p->file)) fail(s, VALUE(new_string(s, path, strlen(path))), "%s", strerror(errno));
    value port = VALUE(p);
    close_port(s, &port, 1);
    return new_string(s, text, length);
}

PROCEDURE(load)
{
    const char *path = path_of(s, arg[0]);
    struct string *text = read_file(s, path);
    struct source in = { path, text->bytes, text->bytes + text->length, .line = 1 };
    return run_source(s, &in);
}

/* ---- a look at the heap ---- */

EXPRESSION(gc, (oak_collect(), NOTHING))

PROCEDURE(heap)
{
    oak_memstats m;
    value list = NIL;
    oak_memstats_read(&m);
    const struct {
        const char *name;
        uint64_t figure;
    } all[] = {
        { "pause-microseconds", m.pause_total_ns / 1000 },
        { "collections", m.num_gc },
        { "objects-allocated", m.mallocs },
        { "bytes-allocated", m.total_alloc },
        { "bytes-from-system", m.sys },
        { "objects", m.heap_objects },
        { "bytes", m.heap_alloc },
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        value entry = cons(s, named(s, all[i].name), fixnum((intptr_t)all[i].figure));
        list = cons(s, entry, list);
    }
    return list;
}

/* One step of a path: the field of the object before, and what is there. What has a name of its
 * own is told by that. Nothing is allocated here, so the objects are as they were. */
static void print_step(const oak_step *before, const oak_step *step)
{
    char field[96];
    if (step->label[0]) snprintf(field, sizeof field, "%s", step->label);
    else field_text(before->type, step->offset, field, sizeof field);
    printf("  %s -> %s", field, step->type);
    value v = VALUE(step->object);
    if (strcmp(step->type, "symbol") == 0 || strcmp(step->type, "closure") == 0) {
        putchar(' ');
        print(stdout, v, false);
    }
    putchar('\n');
}

/* How the object is reached. Something here refers to it anyway, if only the argument on the stack
 * of this call; such words come last, and are called what they are. */
PROCEDURE(why)
{
    char root[512];
    oak_path *path = oak_why_alive(arg[0]);
    if (!path) fail(s, arg[0], "why: %s", strerror(errno));
    oak_root_format(&path->root, root, sizeof root);
    if (path->root.caller) printf("only what is being evaluated refers to it\n");
    printf("%s -> %s\n", root, path->steps[0].type);
    for (size_t i = 1; i < path->nsteps; i++) print_step(&path->steps[i - 1], &path->steps[i]);
    if (path->nsteps < path->length) printf("  (of %zu steps)\n", path->length);
    oak_path_free(path);
    return NOTHING;
}

/* Bytes that would be free without this object. */
PROCEDURE(retained)
{
    size_t bytes = oak_retained_size((const void *const *)arg, n, NULL);
    if (bytes == SIZE_MAX) fail(s, UNASSIGNED, "retained: %s", strerror(errno));
    return fixnum((intptr_t)bytes);
}

void define_heap(struct scheme *s)
{
    static const struct definition all[] = {
        { "make-hash-table", "", make_table },
        { "hash-table-set!", "h..", table_set },
        { "hash-table-ref/default", "h..", table_ref },
        { "hash-table-delete!", "h.", table_delete },
        { "hash-table-size", "h", table_size },
        { "hash-table-walk", "hf", table_walk },
        { "hash-table->alist", "h", table_to_list },
        { "make-weak", "r", make_weak },
        { "weak-ref", "w", weak_ref },
        { "open-input-file", "s", open_input },
        { "open-output-file", "s", open_output },
        { "close-port", "o", close_port },
        { "read-line", "|o", read_line },
        { "display", ".|o", display },
        { "write", ".|o", write_ },
        { "newline", "|o", newline },
        { "load", "s", load },
        { "gc", "", gc },
        { "heap", "", heap },
        { "why", "r", why },
        { "retained", "r", retained },
        { NULL, NULL, NULL },
    };
    define_all(s, all);
}
