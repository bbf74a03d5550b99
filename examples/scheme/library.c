/* library.c - procedures on numbers, lists, texts and vectors; more are in prelude.scm. */
#include "scheme.h"

#include <stdlib.h>
#include <string.h>

/* The letters of types: the kinds of values that they stand for. */
static const struct { const char *name; unsigned kinds; } letters[128] = {
    ['.'] = { "value", ~0u },
    ['n'] = { "number", 1 << FIXNUM | 1 << FLONUM },
    ['i'] = { "integer", 1 << FIXNUM },
    ['p'] = { "pair", 1 << PAIR },
    ['s'] = { "string", 1 << STRING },
    ['y'] = { "symbol", 1 << SYMBOL },
    ['v'] = { "vector", 1 << VECTOR },
    ['f'] = { "procedure", 1 << CLOSURE | 1 << PRIMITIVE | 1 << CONTINUATION },
    ['h'] = { "hash table", 1 << TABLE },
    ['w'] = { "weak reference", 1 << WEAK },
    ['o'] = { "port", 1 << PORT },
    ['r'] = { "object of the heap", ~0u << FLONUM | 1 << PAIR },
};

value call_primitive(struct scheme *s, const struct definition *d, size_t n, value *arg)
{
    const char *type = d->types;
    if (n < d->least || n > d->most)
        fail(s, UNASSIGNED, "%s: called with %zu arguments", d->name, n);
    for (size_t i = 0; i < n; i++, type += type[1] != 0) {
        enum kind kind = is_fixnum(arg[i]) ? FIXNUM : is_pair(arg[i]) ? PAIR : CONSTANT;
        if (is_object(arg[i])) kind = object_of(arg[i])->kind;
        if (letters[(int)*type].kinds >> kind & 1) continue;
        if (!d->run) return FALSE;
        fail(s, arg[i], "%s: argument %zu is no %s", d->name, i + 1, letters[(int)*type].name);
    }
    return d->run ? d->run(s, d->name, arg, n) : TRUE;
}

extern const struct definition *const __start_procedures[], *const __stop_procedures[];

void define_procedures(struct scheme *s)
{
    for (const struct definition *const *d = __start_procedures; d < __stop_procedures; d++)
        set_global(s, named(s, (*d)->name), new_box(s, PRIMITIVE, *d));
}

DEFINITION(is_number, "number?", "n", 1, 1, NULL)
DEFINITION(is_integer, "integer?", "i", 1, 1, NULL)
DEFINITION(is_pair_, "pair?", "p", 1, 1, NULL)
DEFINITION(is_string, "string?", "s", 1, 1, NULL)
DEFINITION(is_symbol, "symbol?", "y", 1, 1, NULL)
DEFINITION(is_vector, "vector?", "v", 1, 1, NULL)
DEFINITION(is_procedure, "procedure?", "f", 1, 1, NULL)

/* ---- numbers: integers that don't fit become doubles ---- */

static double real(value v)
{
    return is_fixnum(v) ? (double)fixnum_of(v) : AS(flonum, v)->number;
}

/* The operation is told by the first letter of its name, here and below. */
static value calculate(struct scheme *s, char op, value a, value b)
{
    intptr_t x = fixnum_of(a), y = fixnum_of(b), z = 0;
    bool whole = is_fixnum(a) && is_fixnum(b);
    if (whole && y == 0 && strchr("/qr", op)) fail(s, a, "division by zero");
    if (whole && op == '/') whole = x % y == 0;
    switch (whole ? op : 0) {
    case '+': z = x + y; break;
    case '-': z = x - y; break;
    case '*': whole = !__builtin_mul_overflow(x, y, &z); break;
    case 'r': z = x % y; break;
    default: z = whole ? x / y : 0;
    }
    if (whole && fixnum_of(fixnum(z)) == z) return fixnum(z);
    double p = real(a), q = real(b);
    double d = op == '+' ? p + q : op == '-' ? p - q : op == '*' ? p * q : p / q;
    return new_object(s, &(struct flonum){ FLONUM, d });
}

PROCEDURE(arithmetic, "+", "n", 0, MANY)
{
    value v = n > 1 ? arg[0] : fixnum(*name == '*' || *name == '/');
    for (size_t i = n > 1; i < n; i++) v = calculate(s, *name, v, arg[i]);
    return v;
}
DEFINITION(subtract, "-", "n", 1, MANY, arithmetic)
DEFINITION(multiply, "*", "n", 0, MANY, arithmetic)
DEFINITION(divide, "/", "n", 1, MANY, arithmetic)
DEFINITION(quotient, "quotient", "i", 2, 2, arithmetic)
DEFINITION(remainder, "remainder", "i", 2, 2, arithmetic)

static bool in_order(const char *op, value a, value b)
{
    bool whole = is_fixnum(a) && is_fixnum(b);
    if (whole ? a == b : real(a) == real(b)) return strchr(op, '=');
    if (whole ? (intptr_t)a < (intptr_t)b : real(a) < real(b)) return *op == '<';
    return *op == '>' && (whole || real(a) > real(b));
}

PROCEDURE(compare, "<", "n", 1, MANY)
{
    size_t i = 1;
    while (i < n && in_order(name, arg[i - 1], arg[i])) i++;
    return boolean(i == n);
}
DEFINITION(equal_numbers, "=", "n", 1, MANY, compare)
DEFINITION(more, ">", "n", 1, MANY, compare)
DEFINITION(at_most, "<=", "n", 1, MANY, compare)
DEFINITION(at_least, ">=", "n", 1, MANY, compare)

/* ---- lists ---- */

EXPRESSION(not, "not", ".", 1, 1, boolean(arg[0] == FALSE))
EXPRESSION(is_null, "null?", ".", 1, 1, boolean(arg[0] == NIL))
EXPRESSION(is_end, "eof-object?", ".", 1, 1, boolean(arg[0] == END))
EXPRESSION(eq, "eq?", ".", 2, 2, boolean(arg[0] == arg[1]))
EXPRESSION(cons_, "cons", ".", 2, 2, cons(s, arg[0], arg[1]))
EXPRESSION(car_, "car", "p", 1, 1, car(arg[0]))
EXPRESSION(cdr_, "cdr", "p", 1, 1, cdr(arg[0]))
EXPRESSION(set_car, "set-car!", "p.", 2, 2, (pair_of(arg[0])->car = arg[1], NOTHING))
EXPRESSION(set_cdr, "set-cdr!", "p.", 2, 2, (pair_of(arg[0])->cdr = arg[1], NOTHING))
EXPRESSION(length, "length", ".", 1, 1, fixnum((intptr_t)list_length(s, arg[0])))

PROCEDURE(append, "append", ".", 0, MANY)
{
    value list = n > 0 ? arg[--n] : NIL;
    while (n > 0) {
        struct vector *v = vector_of(s, arg[--n]);
        list = list_of(s, v->item, v->length, list);
    }
    return list;
}

PROCEDURE(reverse, "reverse", ".", 1, 1)
{
    value list = NIL;
    list_length(s, arg[0]);
    for (value v = arg[0]; v != NIL; v = cdr(v)) list = cons(s, car(v), list);
    return list;
}

PROCEDURE(map, "%map", "..", 2, 2)
{
    struct vector *v = vector_of(s, arg[1]);
    for (size_t i = 0; i < v->length; i++) v->item[i] = apply(s, arg[0], 1, &v->item[i]);
    return list_of(s, v->item, v->length, NIL);
}

/* ---- symbols, strings, vectors ---- */

EXPRESSION(symbol_to_string, "symbol->string", "y", 1, 1, AS(symbol, arg[0])->name)
EXPRESSION(string_to_symbol, "string->symbol", "s", 1, 1, intern(s, arg[0]))
EXPRESSION(gensym, "gensym", "s", 1, 1,
           new_object(s, &(struct symbol){ SYMBOL, UNASSIGNED, arg[0] }))
EXPRESSION(string_length, "string-length", "s", 1, 1, fixnum((intptr_t)AS(string, arg[0])->length))
EXPRESSION(string_to_number, "string->number", "s", 1, 1,
           parse_number(s, AS(string, arg[0])->bytes, AS(string, arg[0])->length))

/* A number as it is printed. */
PROCEDURE(number_to_string, "number->string", "n", 1, 1)
{
    char text[32];
    FILE *out = fmemopen(text, sizeof text, "w");
    if (!out) checked(s, NULL);
    print(out, arg[0], false, 0);
    fclose(out);
    return new_string(s, text, strlen(text));
}

static size_t index_below(struct scheme *s, value i, size_t limit)
{
    if ((size_t)fixnum_of(i) >= limit) fail(s, i, "index out of range");
    return (size_t)fixnum_of(i);
}

PROCEDURE(substring, "substring", "si", 3, 3)
{
    struct string *t = AS(string, arg[0]);
    size_t end = index_below(s, arg[2], t->length + 1), start = index_below(s, arg[1], end + 1);
    return new_string(s, t->bytes + start, end - start);
}

PROCEDURE(string_append, "string-append", "s", 0, MANY)
{
    size_t length = 0;
    for (size_t i = 0; i < n; i++) length += AS(string, arg[i])->length;
    struct string *all = AS(string, new_string(s, NULL, length));
    char *at = all->bytes;
    for (size_t i = 0; i < n; at += AS(string, arg[i++])->length)
        memcpy(at, AS(string, arg[i])->bytes, AS(string, arg[i])->length);
    return VALUE(all);
}

static value *item(struct scheme *s, value *arg)
{
    return &AS(vector, arg[0])->item[index_below(s, arg[1], AS(vector, arg[0])->length)];
}

EXPRESSION(vector_ref, "vector-ref", "vi", 2, 2, *item(s, arg))
EXPRESSION(vector_set, "vector-set!", "vi.", 3, 3, (*item(s, arg) = arg[2], NOTHING))
EXPRESSION(vector_length, "vector-length", "v", 1, 1, fixnum((intptr_t)AS(vector, arg[0])->length))
EXPRESSION(list_to_vector, "list->vector", ".", 1, 1, VALUE(vector_of(s, arg[0])))
EXPRESSION(vector_to_list, "vector->list", "v", 1, 1,
           list_of(s, AS(vector, arg[0])->item, AS(vector, arg[0])->length, NIL))

PROCEDURE(make_vector, "make-vector", "i.", 1, 2)
{
    struct vector *v = new_vector(s, index_below(s, arg[0], PTRDIFF_MAX));
    for (size_t i = 0; i < v->length; i++) v->item[i] = n > 1 ? arg[1] : NOTHING;
    return VALUE(v);
}

/* ---- control ---- */

EXPRESSION(eval_, "eval", ".", 1, 1, eval(s, arg[0], NIL))
EXPRESSION(macro, "macro", "f", 1, 1, new_box(s, MACRO, arg[0]))
EXPRESSION(continuation, "%continuation", "", 0, 0, new_box(s, CONTINUATION, NULL))
EXPRESSION(raise_, "raise", ".", 1, 1, (raise_value(s, arg[0]), NOTHING))
EXPRESSION(exit_, "exit", "i", 0, 1, (exit(n > 0 ? (int)fixnum_of(arg[0]) & 255 : 0), NOTHING))

PROCEDURE(apply_, "apply", ".", 2, MANY)
{
    struct vector *v = vector_of(s, list_of(s, arg + 1, n - 2, arg[n - 1]));
    return begin_call(s, arg[0], v->length, v->item);
}

static value call_thunk(struct scheme *s, void *f)
{
    return apply(s, f, 0, NULL);
}

EXPRESSION(is_out_of_memory, "%out-of-memory?", ".", 1, 1, boolean(arg[0] == s->out_of_memory))

/* (%try owner thunk handler): errors have the owner #f. */
PROCEDURE(try_, "%try", ".f", 3, 3)
{
    value v;
    return try(s, arg[0], call_thunk, arg[1], &v) ? v : begin_call(s, arg[2], 1, &v);
}
