/* object.c - how objects look to the collector, and making them. They never move: an address is as
 * good as a name. */
#include "scheme.h"

#include <string.h>

/* For each kind of object its size, how many of its words come before those that refer to
 * something, and the names of those. From this the collector's bitmaps are made: it looks at these
 * words and no others; and (why x) shows the names. The last name is that of all that follow. */
static const struct layout {
    const char *name;
    size_t size, first; /* size: the unit, of what varies in size */
    const char *words[6];
} layouts[KINDS] = {
    [PAIR] = { "pair", sizeof(struct pair), 0, { "car", "cdr" } },
    [INTERPRETER] = { "interpreter", sizeof(struct scheme), 0,
                      { "symbols", "globals", "out-of-memory", "body", "env" } },
    [FLONUM] = { "flonum", sizeof(struct flonum), 1, { NULL } },
    [STRING] = { "string", 8, 1, { NULL } },
    [SYMBOL] = { "symbol", sizeof(struct symbol), 1, { "value", "name" } },
    [VECTOR] = { "vector", 8, 2, { "item" } }, /* has mark_vector() */
    [CLOSURE] = { "closure", sizeof(struct closure), 1, { "code", "env" } },
    [PRIMITIVE] = { "primitive", sizeof(struct box), 1, { NULL } },
    [FORM] = { "form", sizeof(struct box), 1, { NULL } },
    [MACRO] = { "macro", sizeof(struct box), 1, { "procedure" } },
    [CONTINUATION] = { "continuation", sizeof(struct box), 1, { NULL } },
    [TABLE] = { "hash-table", sizeof(struct box), 1, { "entries" } },
    [WEAK] = { "weak", sizeof(struct box), 1, { "reference" } },
    [PORT] = { "port", sizeof(struct box), 1, { NULL } }, /* its FILE is the C library's */
};

static const oak_type *types[KINDS]; /* any number of interpreters may share them */

/* What a bitmap can't say a function can: here that only `length` items count, and that integers
 * among them, whatever their bits look like, refer to nothing. It runs while the world stands, so
 * it reads memory and marks, and that is all. */
static void mark_vector(oak_marker *m, void *object, UNUSED size_t size)
{
    struct vector *v = object;
    for (size_t i = 0; i < v->length; i++)
        if (!is_fixnum(v->item[i])) oak_mark_ptr(m, v->item[i]);
}

static const oak_type *new_type(enum kind kind)
{
    const struct layout *l = &layouts[kind];
    uint64_t bitmap = 0;
    if (kind == VECTOR) return oak_type_function(l->name, l->size, mark_vector);
    for (size_t i = 0; l->words[i]; i++) bitmap |= (uint64_t)1 << (l->first + i);
    return oak_type_bitmap(l->name, l->size, &bitmap);
}

const char *kind_name(enum kind kind) { return layouts[kind].name; }

/* What to call the word at an offset in an object of the type of that name. */
void name_word(const char *type, size_t offset, char *out, size_t size)
{
    snprintf(out, size, "byte %zd", (ssize_t)offset); /* -1: not known */
    for (const struct layout *l = layouts + PAIR; l < layouts + KINDS; l++) {
        if (strcmp(l->name, type) != 0 || offset == SIZE_MAX) continue;
        if (l == &layouts[VECTOR]) snprintf(out, size, "item %zu", offset / 8 - l->first);
        else snprintf(out, size, "%s", l->words[offset / 8 - l->first]);
    }
}

/* ---- making objects ---- */

void *checked(struct scheme *s, void *p)
{
    if (!p) raise_value(s, s->out_of_memory);
    return p;
}

static inline void *allocate(struct scheme *s, enum kind kind, size_t bytes)
{
    size_t unit = layouts[kind].size;
    return checked(s, oak_alloc_typed(types[kind], (bytes + unit - 1) / unit));
}

value new_object(struct scheme *s, const void *contents)
{
    enum kind kind = ((const struct object *)contents)->kind;
    size_t size = layouts[kind].size;
    return VALUE(memcpy(allocate(s, kind, size), contents, size));
}

value new_box(struct scheme *s, enum kind kind, const void *to)
{
    return new_object(s, &(struct box){ kind, (void *)(uintptr_t)to });
}

value cons(struct scheme *s, value a, value d)
{
    struct pair *p = allocate(s, PAIR, sizeof *p);
    *p = (struct pair){ a, d };
    return (value)((uintptr_t)p + 2);
}

/* With a zero byte at the end, for C; and so that a pointer to the end of the text points into the
 * string still, and not to whatever object comes next, which it would keep. */
value new_string(struct scheme *s, const char *bytes, size_t length)
{
    if (length > PTRDIFF_MAX / 2) checked(s, NULL);
    struct string *t = allocate(s, STRING, sizeof *t + length + 1);
    *t = (struct string){ STRING, length };
    if (bytes) memcpy(t->bytes, bytes, length);
    return VALUE(t);
}

struct vector *new_vector(struct scheme *s, size_t length)
{
    if (length > PTRDIFF_MAX / 16) checked(s, NULL);
    struct vector *v = allocate(s, VECTOR, sizeof *v + length * sizeof(value));
    *v = (struct vector){ VECTOR, length };
    return v;
}

struct vector *vector_of(struct scheme *s, value list)
{
    struct vector *v = new_vector(s, list_length(s, list));
    for (size_t i = 0; i < v->length; i++, list = cdr(list)) v->item[i] = car(list);
    return v;
}

value list_of(struct scheme *s, const value *item, size_t n, value rest)
{
    while (n > 0) rest = cons(s, item[--n], rest);
    return rest;
}

/* On a list that goes round, `slow` is met, at half the speed. */
size_t list_length(struct scheme *s, value list)
{
    value v = list, slow = list;
    size_t n = 0;
    while (is_pair(v) && (n == 0 || v != slow)) {
        v = cdr(v);
        if (n++ % 2 == 1) slow = cdr(slow);
    }
    if (v != NIL) fail(s, list, "this is no list, or a circular one");
    return n;
}

/* ---- symbols ---- */

/* The map keeps names, which it compares, but not the symbols. */
static const oak_map_type names = { .key = OAK_KEY_SLICE, .flags = OAK_MAP_SCAN_KEY };

value intern(struct scheme *s, value name)
{
    oak_slice key = { AS(string, name)->bytes, AS(string, name)->length };
    struct symbol *y = oak_weakvalue_get(s->symbols, &key);
    if (!y) {
        y = AS(symbol, new_object(s, &(struct symbol){ SYMBOL, UNASSIGNED, name }));
        checked(s, oak_weakvalue_intern(s->symbols, &key, y));
    }
    return VALUE(y);
}

value named(struct scheme *s, const char *name)
{
    return intern(s, new_string(s, name, strlen(name)));
}

/* A symbol that has a value stays, even while no code mentions it. */
void set_global(struct scheme *s, value name, value v)
{
    if (!AS(symbol, name)->value) checked(s, bindings_put(s->globals, AS(symbol, name)));
    AS(symbol, name)->value = v;
}

struct scheme *new_scheme(char *stack_end)
{
    for (enum kind k = PAIR; k < KINDS; k++)
        if (!types[k] && !(types[k] = new_type(k))) return NULL;
    struct scheme *s = oak_alloc_typed(types[INTERPRETER], 1);
    if (!s) return NULL;
    s->symbols = oak_weakvalue_new(&names, 0, 0);
    s->globals = bindings_new(0);
    s->stack_end = stack_end;
    return s->symbols && s->globals ? s : NULL;
}
