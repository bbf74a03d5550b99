/* heap.c - what Oakum offers a program: hash tables, weak references, files that close themselves,
 * and a look at the heap. */
#include "scheme.h"

#include <errno.h>
#include <string.h>

/* ---- equality ---- */

static bool same(value a, value b)
{
    if (!is(a, FLONUM) || !is(b, FLONUM)) return a == b;
    return memcmp(&AS(flonum, a)->number, &AS(flonum, b)->number, sizeof(double)) == 0;
}

/* Goes on along a list, and down otherwise. -1: can't tell within so many steps. */
static int equal(value a, value b, unsigned depth, unsigned *steps)
{
    int r = 1;
    for (; is_pair(a) && is_pair(b) && a != b; a = cdr(a), b = cdr(b)) {
        if (depth == 0 || --*steps == 0) return -1;
        if ((r = equal(car(a), car(b), depth - 1, steps)) != 1) return r;
    }
    if (is(a, STRING) && is(b, STRING)) {
        struct string *x = AS(string, a), *y = AS(string, b);
        return x->length == y->length && memcmp(x->bytes, y->bytes, x->length) == 0;
    }
    if (!is(a, VECTOR) || !is(b, VECTOR) || a == b) return same(a, b);
    struct vector *x = AS(vector, a), *y = AS(vector, b);
    if (x->length != y->length) return 0;
    for (size_t i = 0; i < x->length && r == 1; i++)
        r = depth == 0 || --*steps == 0 ? -1 : equal(x->item[i], y->item[i], depth - 1, steps);
    return r;
}

EXPRESSION(eqv, "eqv?", ".", 2, 2, boolean(same(arg[0], arg[1])))

PROCEDURE(is_equal, "equal?", ".", 2, 2)
{
    unsigned steps = 10000000;
    int r = equal(arg[0], arg[1], 10000, &steps);
    if (r < 0) fail(s, UNASSIGNED, "equal?: too deep, or circular");
    return boolean(r);
}

/* What is equal hashes alike. Goes on for some steps, as long keys may begin alike; what goes
 * round ends with them. */
static uint64_t hash(value v, uint64_t seed, unsigned *steps)
{
    for (; is_pair(v) && *steps > 0; v = cdr(v)) {
        --*steps;
        seed = hash(car(v), seed, steps);
    }
    if (is(v, STRING)) return oak_hash_bytes(AS(string, v)->bytes, AS(string, v)->length, seed);
    if (is(v, FLONUM)) return oak_hash_bytes(&AS(flonum, v)->number, sizeof(double), seed);
    if (!is_pair(v) && !is(v, VECTOR)) return oak_hash_bytes(&v, sizeof v, seed);
    for (size_t i = 0; is(v, VECTOR) && i < AS(vector, v)->length && *steps > 0; i++) {
        --*steps;
        seed = hash(AS(vector, v)->item[i], seed, steps);
    }
    return seed;
}

/* ---- hash tables: Oakum's map with equal? ---- */

static uint64_t hash_key(value const *key, uint64_t seed)
{
    unsigned steps = 1000;
    return hash(*key, seed, &steps);
}

/* What is too deep to be compared equals itself only. */
static bool equal_keys(value const *a, value const *b)
{
    unsigned steps = 1000000;
    return equal(*a, *b, 10000, &steps) == 1;
}

/* Keys and values are pointers, so the map is scanned; how, the collector knows by itself. */
OAK_MAP_DEFINE_WITH(entries, value, value, hash_key, equal_keys);

static entries *entries_of(value table) { return AS(box, table)->to; }

EXPRESSION(make_table, "make-hash-table", "", 0, 0, new_box(s, TABLE, checked(s, entries_new(0))))
EXPRESSION(table_set, "hash-table-set!", "h.", 3, 3,
           (*(value *)checked(s, entries_put(entries_of(arg[0]), arg[1])) = arg[2], NOTHING))
EXPRESSION(table_delete, "hash-table-delete!", "h.", 2, 2,
           boolean(entries_delete(entries_of(arg[0]), arg[1])))
EXPRESSION(table_size, "hash-table-size", "h", 1, 1,
           fixnum((intptr_t)entries_len(entries_of(arg[0]))))

PROCEDURE(table_ref, "hash-table-ref/default", "h.", 3, 3)
{
    value *found = entries_get(entries_of(arg[0]), arg[1]);
    return found ? *found : arg[2];
}

/* The procedure may change the table: an iterator is a place in it, and holds nothing. */
PROCEDURE(table_walk, "hash-table-walk", "hf", 2, 2)
{
    entries_iter it;
    for (entries_iter_init(&it, entries_of(arg[0])); entries_iter_next(&it);)
        apply(s, arg[1], 2, (value[]){ *it.key, *it.value });
    if (errno == ENOMEM) checked(s, NULL);
    return NOTHING;
}

/* ---- weak references: a value comes back with its tag ---- */

EXPRESSION(make_weak, "make-weak", "r", 1, 1, new_box(s, WEAK, checked(s, oak_weak_new(arg[0]))))

PROCEDURE(weak_ref, "weak-ref", "w", 1, 1)
{
    value v = oak_weak_get(AS(box, arg[0])->to);
    return v ? v : FALSE;
}

/* ---- files ---- */

/* A port that was forgotten. Runs on Oakum's own thread, beside the program, which can't reach the
 * port any more; nothing else is touched here. */
static void close_forgotten(void *object, UNUSED void *context)
{
    struct box *port = object;
    FILE *file = port->to;
    port->to = NULL; /* to close it may take longer than the port's zone lives */
    if (file) fclose(file);
}

static value open_port(struct scheme *s, value path, const char *mode)
{
    struct box *port = AS(box, new_box(s, PORT, NULL));
    if (oak_finalizer_set_ex(port, close_forgotten, NULL, OAK_FINALIZER_NO_ORDER, NULL, NULL) != 0)
        checked(s, NULL);
    port->to = fopen(AS(string, path)->bytes, mode);
    if (!port->to) fail(s, path, "%s", strerror(errno));
    return VALUE(port);
}

static FILE *file_of(struct scheme *s, value *arg, size_t n, size_t i)
{
    if (n > i && !AS(box, arg[i])->to) fail(s, UNASSIGNED, "this port is closed");
    return n > i ? AS(box, arg[i])->to : stdout;
}

PROCEDURE(close_port, "close-port", "o", 1, 1)
{
    FILE *file = file_of(s, arg, n, 0);
    AS(box, arg[0])->to = NULL;
    if (fclose(file) != 0) fail(s, UNASSIGNED, "close-port: %s", strerror(errno));
    return NOTHING;
}

/* Up to the end of the line, or of the file. The text grows in a buffer of the heap, which nobody
 * has to give back when an error ends this. */
static value read_until(struct scheme *s, FILE *in, int end)
{
    size_t n = 0, room = 64;
    char *text = checked(s, oak_alloc_noscan(room));
    int c;
    for (; (c = getc(in)) != EOF && c != end; text[n++] = (char)c)
        if (n == room) text = checked(s, oak_realloc(text, room *= 2));
    if (c == EOF && ferror(in)) fail(s, UNASSIGNED, "reading: %s", strerror(errno));
    return c == EOF && n == 0 && end != EOF ? END : new_string(s, text, n);
}

EXPRESSION(open_input, "open-input-file", "s", 1, 1, open_port(s, arg[0], "re"))
EXPRESSION(open_output, "open-output-file", "s", 1, 1, open_port(s, arg[0], "we"))
EXPRESSION(read_line, "read-line", "o", 1, 1, read_until(s, file_of(s, arg, n, 0), '\n'))
EXPRESSION(write_, "write", ".o", 1, 2, (print(file_of(s, arg, n, 1), arg[0], true, 0), NOTHING))
EXPRESSION(display, "display", ".o", 1, 2,
           (print(file_of(s, arg, n, 1), arg[0], false, 0), NOTHING))

/* A port, not a FILE, so that an error in the middle leaks nothing. */
const char *read_file(struct scheme *s, value path)
{
    value port = open_port(s, path, "re"), text = read_until(s, file_of(s, &port, 1, 0), EOF);
    close_port(s, NULL, &port, 1);
    if (memchr(AS(string, text)->bytes, 0, AS(string, text)->length))
        fail(s, path, "there is a zero byte: this is no text");
    return AS(string, text)->bytes;
}

PROCEDURE(load, "load", "s", 1, 1)
{
    struct source in = { .name = AS(string, arg[0])->bytes, .text = read_file(s, arg[0]) };
    in.at = in.text;
    return run_source(s, &in);
}

/* ---- a look at the heap ---- */

EXPRESSION(gc, "gc", "", 0, 0, (oak_collect(), NOTHING))

/* Four figures; prelude.scm gives them names. */
PROCEDURE(heap, "%heap", "", 0, 0)
{
    oak_memstats m;
    oak_memstats_read(&m);
    uint64_t figures[] = { m.heap_alloc, m.heap_objects, m.sys, m.num_gc };
    value list = NIL;
    for (size_t i = 4; i-- > 0;) list = cons(s, fixnum((intptr_t)figures[i]), list);
    return list;
}

/* How the object is reached: by which field of what. Something here refers to it anyway, if only
 * the argument on the stack of this call; such words come last, and are called what they are. */
PROCEDURE(why, "why", "r", 1, 1)
{
    char text[512];
    oak_path *path = oak_why_alive(arg[0]);
    if (!path) fail(s, arg[0], "why: %s", strerror(errno));
    oak_root_format(&path->root, text, sizeof text);
    if (path->root.caller) printf("only what is being evaluated refers to it\n");
    printf("%s -> %s\n", text, path->steps[0].type);
    for (const oak_step *step = path->steps + 1; step < path->steps + path->nsteps; step++) {
        name_word(step[-1].type, step->offset, text, sizeof text);
        printf("  %s -> %s", step->label[0] ? step->label : text, step->type);
        bool symbol = strcmp(step->type, kind_name(SYMBOL)) == 0;
        if (symbol) printf(" %s", AS(string, ((const struct symbol *)step->object)->name)->bytes);
        putchar('\n');
    }
    oak_path_free(path);
    return NOTHING;
}

/* Bytes that would be free without this object. */
PROCEDURE(retained, "retained", "r", 1, 1)
{
    size_t bytes = oak_retained_size((const void *const *)arg, n, NULL);
    if (bytes == SIZE_MAX) fail(s, UNASSIGNED, "retained: %s", strerror(errno));
    return fixnum((intptr_t)bytes);
}
