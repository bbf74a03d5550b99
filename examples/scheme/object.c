/* object.c - how objects look to the collector; making them; and telling whether two are equal.
 *
 * One table says for each kind of object how large it is and where its references are. The
 * collector gets bitmaps made from it, so that it looks at these words and no others, and (why x)
 * takes the names of fields from it.
 *
 * Objects never move: an address is as good as a name, and is what symbols and procedures hash
 * by. */
#include "scheme.h"

#include <string.h>

/* ---- types ---- */

struct field {
    const char *name;
    size_t offset, words;
};

struct layout {
    const char *name;
    size_t size; /* a multiple of 8; of what varies in size, the unit that it grows by */
    struct field fields[8];
};

#define AT(type, field) \
    { \
        #field, offsetof(struct type, field), sizeof(((struct type *)0)->field) / 8 \
    }
#define NONE { { NULL, 0, 0 } }

static const struct layout layouts[KINDS] = {
    [FLONUM] = { "flonum", sizeof(struct flonum), NONE },
    [STRING] = { "string", 8, NONE },
    [SYMBOL] = { "symbol", sizeof(struct symbol), { AT(symbol, value), AT(symbol, name) } },
    [VECTOR] = { "vector", 8, NONE }, /* has mark_vector() */
    [CLOSURE] = { "closure", sizeof(struct closure), { AT(closure, lambda), AT(closure, env) } },
    [PRIMITIVE] = { "primitive", sizeof(struct primitive), NONE },
    [SYNTAX] = { "syntax", sizeof(struct syntax), NONE },
    [CONTINUATION] = { "continuation", sizeof(struct continuation), NONE },
    [CONDITION] = { "condition", sizeof(struct condition),
                    { AT(condition, message), AT(condition, irritants) } },
    [TABLE] = { "hash-table", sizeof(struct table), { AT(table, entries) } },
    [WEAK] = { "weak", sizeof(struct weak), { AT(weak, reference) } },
    [PORT] = { "port", sizeof(struct port), NONE }, /* its FILE is the C library's */
    [PAIR] = { "pair", sizeof(struct pair), { AT(pair, car), AT(pair, cdr) } },
    [FRAME] = { "frame", 8, { AT(frame, up) } }, /* of words that all may refer to something */
    [INTERPRETER] = { "interpreter", sizeof(struct scheme),
                      { AT(scheme, symbols), AT(scheme, globals), AT(scheme, known),
                        AT(scheme, core), AT(scheme, out_of_memory), AT(scheme, next),
                        AT(scheme, next_args), AT(scheme, arguments) } },
};

/* Made once, and there for ever; any number of interpreters may share them. */
static const oak_type *types[KINDS];

/* What a bitmap can't say a function can: here that only `length` items count, and that integers
 * among them, whatever their bits look like, refer to nothing. It runs while the world stands, so
 * it reads memory and marks, and that is all. */
static void mark_vector(oak_marker *m, void *object, size_t size)
{
    struct vector *v = object;
    (void)size;
    for (size_t i = 0; i < v->length; i++)
        if (!is_fixnum(v->item[i])) oak_mark_ptr(m, v->item[i]);
}

static const oak_type *new_type(enum kind kind)
{
    const struct layout *l = &layouts[kind];
    uint64_t bitmap[2] = { 0 };
    if (kind == VECTOR) return oak_type_function(l->name, l->size, mark_vector);
    for (const struct field *f = l->fields; f < l->fields + 8 && f->name; f++)
        for (size_t i = 0, word = f->offset / 8; i < f->words; i++, word++)
            bitmap[word / 64] |= (uint64_t)1 << word % 64;
    return oak_type_bitmap(l->name, l->size, bitmap);
}

void field_text(const char *type, size_t offset, char *out, size_t size)
{
    for (enum kind k = FLONUM; k < KINDS; k++) {
        if (strcmp(layouts[k].name, type) != 0) continue;
        for (const struct field *f = layouts[k].fields; f < layouts[k].fields + 8 && f->name; f++) {
            size_t in = offset - f->offset;
            if (in >= f->words * 8) continue;
            if (f->words == 1) snprintf(out, size, "%s", f->name);
            else snprintf(out, size, "%s[%zu]", f->name, in / 8);
            return;
        }
        if (k == VECTOR || k == FRAME) {
            const char *word = k == VECTOR ? "item" : "slot";
            size_t first = k == VECTOR ? offsetof(struct vector, item) : sizeof(struct frame);
            snprintf(out, size, "%s %zu", word, (offset - first) / 8);
            return;
        }
    }
    if (offset == SIZE_MAX) snprintf(out, size, "somewhere");
    else snprintf(out, size, "byte %zu", offset);
}

/* ---- making objects ---- */

void *checked(struct scheme *s, void *p)
{
    if (!p) raise_value(s, s->out_of_memory);
    return p;
}

static inline void *allocate(struct scheme *s, enum kind kind, size_t bytes)
{
    return checked(s, oak_alloc_typed(types[kind], (bytes + layouts[kind].size - 1) /
                                                       layouts[kind].size));
}

void *new_object(struct scheme *s, enum kind kind)
{
    struct object *o = allocate(s, kind, layouts[kind].size);
    o->kind = kind;
    return o;
}

value cons(struct scheme *s, value a, value d)
{
    struct pair *p = allocate(s, PAIR, sizeof *p);
    *p = (struct pair){ a, d };
    return (value)((uintptr_t)p + 2);
}

value *add_last(struct scheme *s, value *end, value v)
{
    *end = cons(s, v, NIL);
    return &pair_of(*end)->cdr;
}

value flonum(struct scheme *s, double d)
{
    struct flonum *f = new_object(s, FLONUM);
    f->number = d;
    return VALUE(f);
}

/* With a zero byte at the end, for C; and so that a pointer to the end of the text points into the
 * string still, and not to whatever object comes next, which it would keep. */
struct string *new_string(struct scheme *s, const char *bytes, size_t length)
{
    if (length >= PTRDIFF_MAX) checked(s, NULL);
    struct string *t = allocate(s, STRING, sizeof *t + length + 1);
    t->kind = STRING;
    t->length = length;
    if (bytes) memcpy(t->bytes, bytes, length);
    return t;
}

struct vector *new_vector(struct scheme *s, size_t length)
{
    if (length > PTRDIFF_MAX / 8) checked(s, NULL);
    struct vector *v = allocate(s, VECTOR, sizeof *v + length * sizeof(value));
    v->kind = VECTOR;
    v->length = length;
    return v;
}

struct frame *new_frame(struct scheme *s, struct frame *up, size_t slots)
{
    struct frame *f = allocate(s, FRAME, sizeof *f + slots * sizeof(value));
    f->up = up;
    return f;
}

/* Code is of many shapes, made once, and little of it: no type, so every word of it counts. What
 * is a number in it is small, and so looks like no address. */
void *new_code(struct scheme *s, size_t bytes)
{
    return checked(s, oak_alloc(bytes));
}

/* ---- symbols ---- */

/* The map keeps names, which it compares, but not the symbols. */
static const oak_map_type symbol_names = { .key = OAK_KEY_SLICE, .flags = OAK_MAP_SCAN_KEY };

struct symbol *new_symbol(struct scheme *s, const char *name, size_t length)
{
    struct string *text = new_string(s, name, length);
    struct symbol *y = new_object(s, SYMBOL);
    y->name = text;
    return y;
}

struct symbol *intern(struct scheme *s, const char *name, size_t length)
{
    struct symbol *y = oak_weakvalue_get(s->symbols, &(oak_slice){ name, length });
    if (y) return y;
    y = new_symbol(s, name, length);
    oak_slice key = { y->name->bytes, length };
    return checked(s, oak_weakvalue_intern(s->symbols, &key, y));
}

value named(struct scheme *s, const char *name)
{
    return VALUE(intern(s, name, strlen(name)));
}

/* A symbol that has a value stays, even while no code mentions it. */
void set_global(struct scheme *s, struct symbol *name, value v)
{
    if (!name->value) checked(s, bindings_put(s->globals, name));
    name->value = v;
}

/* ---- the interpreter ---- */

struct scheme *new_scheme(void)
{
    static const char *const known[WELL_KNOWN] = {
        "else", "=>", "quote", "quasiquote", "unquote", "unquote-splicing", "define", "begin",
        "let", "if", "lambda", "cond", "cons", "append", "list->vector", "raise", "%guard",
    };
    for (enum kind k = FLONUM; k < KINDS; k++)
        if (!types[k] && !(types[k] = new_type(k))) return NULL;
    struct scheme *s = oak_alloc_typed(types[INTERPRETER], 1);
    if (!s || !(s->symbols = oak_weakvalue_new(&symbol_names, 0, 0)) ||
        !(s->globals = bindings_new(0)))
        return NULL;
    struct condition *c = oak_alloc_typed(types[CONDITION], 1);
    if (!c) return NULL;
    s->arguments = NIL;
    struct string *text = new_string(s, "out of memory", 13);
    *c = (struct condition){ CONDITION, VALUE(text), NIL };
    s->out_of_memory = VALUE(c);
    for (size_t i = 0; i < WELL_KNOWN; i++) s->known[i] = intern(s, known[i], strlen(known[i]));
    define_syntax(s);
    define_control(s);
    define_numbers(s);
    define_library(s);
    define_heap(s);
    for (size_t i = 0; i < WELL_KNOWN; i++) s->core[i] = s->known[i]->value;
    return s;
}

/* ---- telling them apart ---- */

bool same(value a, value b)
{
    if (a == b) return true;
    return is(a, FLONUM) && is(b, FLONUM) &&
           memcmp(&AS(flonum, a)->number, &AS(flonum, b)->number, sizeof(double)) == 0;
}

/* Both end on any structure, circular ones included: they have so many steps, and no more. */
enum { STEPS = 10000000, DEPTH = 1000, HASHED = 64 };

static int equal_within(value a, value b, unsigned depth, unsigned *steps)
{
    int r = 1;
    while (is_pair(a) && is_pair(b) && a != b) {
        if (depth == 0 || --*steps == 0) return -1;
        if ((r = equal_within(car(a), car(b), depth - 1, steps)) != 1) return r;
        a = cdr(a);
        b = cdr(b);
    }
    if (same(a, b)) return 1;
    if (is(a, STRING) && is(b, STRING)) {
        struct string *x = AS(string, a), *y = AS(string, b);
        return x->length == y->length && memcmp(x->bytes, y->bytes, x->length) == 0;
    }
    if (!is(a, VECTOR) || !is(b, VECTOR)) return 0;
    struct vector *x = AS(vector, a), *y = AS(vector, b);
    if (x->length != y->length) return 0;
    for (size_t i = 0; i < x->length && r == 1; i++) {
        if (depth == 0 || --*steps == 0) return -1;
        r = equal_within(x->item[i], y->item[i], depth - 1, steps);
    }
    return r;
}

int equal(value a, value b)
{
    unsigned steps = STEPS;
    return equal_within(a, b, DEPTH, &steps);
}

/* What is equal hashes alike; what hashes alike need not be equal, so a few elements will do. */
static uint64_t hash_within(value v, uint64_t seed, unsigned *steps)
{
    for (; is_pair(v) && *steps > 0; v = cdr(v)) {
        --*steps;
        seed = hash_within(car(v), seed + 1, steps);
    }
    if (*steps == 0 || is_pair(v)) return seed;
    if (is(v, STRING)) return oak_hash_bytes(AS(string, v)->bytes, AS(string, v)->length, seed);
    if (is(v, FLONUM)) return oak_hash_bytes(&AS(flonum, v)->number, sizeof(double), seed);
    if (is(v, VECTOR)) {
        for (size_t i = 0; i < AS(vector, v)->length && *steps > 0; i++, --*steps)
            seed = hash_within(AS(vector, v)->item[i], seed + 1, steps);
        return seed;
    }
    return oak_hash_bytes(&v, sizeof v, seed);
}

uint64_t hash(value v, uint64_t seed)
{
    unsigned steps = HASHED;
    return hash_within(v, seed, &steps);
}
