/* library.c - procedures on pairs, lists, symbols, characters, strings and vectors; what types of
 * arguments there are. The types of arguments are checked before a procedure runs (eval.c). */
#include "scheme.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- types of arguments ---- */

bool of_type(value v, char type)
{
    switch (type) {
    case 'n': return is_fixnum(v) || is(v, FLONUM);
    case 'i': return is_fixnum(v);
    case 'k': return is_fixnum(v) && fixnum_of(v) >= 0;
    case 's': return is(v, STRING);
    case 'y': return is(v, SYMBOL);
    case 'c': return is_char(v);
    case 'p': return is_pair(v);
    case 'v': return is(v, VECTOR);
    case 'f': return is(v, CLOSURE) || is(v, PRIMITIVE) || is(v, CONTINUATION);
    case 'e': return is(v, CONDITION);
    case 'h': return is(v, TABLE);
    case 'w': return is(v, WEAK);
    case 'o': return is(v, PORT);
    case 'r': return is_pair(v) || is_object(v);
    default: return true;
    }
}

const char *type_name(char type)
{
    static const struct {
        char type;
        const char *name;
    } names[] = {
        { 'n', "number" },    { 'i', "integer" },   { 'k', "integer from 0 up" },
        { 's', "string" },    { 'y', "symbol" },    { 'c', "character" },
        { 'p', "pair" },      { 'v', "vector" },    { 'f', "procedure" },
        { 'e', "error" },     { 'h', "hash table" },{ 'w', "weak reference" },
        { 'o', "port" },      { 'r', "object of the heap" },
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].type == type) return names[i].name;
    return "value";
}

EXPRESSION(is_pair_, boolean(is_pair(arg[0])))
EXPRESSION(is_null, boolean(arg[0] == NIL))
EXPRESSION(is_symbol, boolean(is(arg[0], SYMBOL)))
EXPRESSION(is_string, boolean(is(arg[0], STRING)))
EXPRESSION(is_vector, boolean(is(arg[0], VECTOR)))
EXPRESSION(is_char_, boolean(is_char(arg[0])))
EXPRESSION(is_procedure, boolean(of_type(arg[0], 'f')))
EXPRESSION(is_boolean, boolean(arg[0] == TRUE || arg[0] == FALSE))
EXPRESSION(is_end, boolean(arg[0] == END))
EXPRESSION(not, boolean(arg[0] == FALSE))
EXPRESSION(is_same, boolean(arg[0] == arg[1]))
EXPRESSION(is_eqv, boolean(same(arg[0], arg[1])))

/* equal() that tells when it can't. */
static bool equal_or_fail(struct scheme *s, value a, value b)
{
    int r = equal(a, b);
    if (r < 0) fail(s, UNASSIGNED, "equal?: too deep, or circular");
    return r;
}

EXPRESSION(is_equal, boolean(equal_or_fail(s, arg[0], arg[1])))

/* ---- pairs and lists ---- */

EXPRESSION(cons_, cons(s, arg[0], arg[1]))
EXPRESSION(car_, car(arg[0]))
EXPRESSION(cdr_, cdr(arg[0]))
EXPRESSION(set_car, (pair_of(arg[0])->car = arg[1], NOTHING))
EXPRESSION(set_cdr, (pair_of(arg[0])->cdr = arg[1], NOTHING))

/* path: the letters between c and r. */
static value walk(struct scheme *s, value v, const char *path)
{
    for (size_t i = strlen(path); i-- > 0;) {
        if (!is_pair(v)) fail(s, v, "c%sr: this is no pair", path);
        v = path[i] == 'a' ? car(v) : cdr(v);
    }
    return v;
}

EXPRESSION(caar, walk(s, arg[0], "aa"))
EXPRESSION(cadr, walk(s, arg[0], "ad"))
EXPRESSION(cdar, walk(s, arg[0], "da"))
EXPRESSION(cddr, walk(s, arg[0], "dd"))
EXPRESSION(caddr, walk(s, arg[0], "add"))

/* Elements of a proper list, else SIZE_MAX; one that goes round is found by a pointer that goes at
 * half the speed. */
static size_t elements(value list)
{
    value slow = list;
    size_t n = 0;
    while (is_pair(list)) {
        list = cdr(list);
        if (++n % 2 == 0) slow = cdr(slow);
        if (list == slow && is_pair(list)) return SIZE_MAX;
    }
    return list == NIL ? n : SIZE_MAX;
}

size_t list_length(struct scheme *s, const char *who, value list)
{
    size_t n = elements(list);
    if (n == SIZE_MAX) fail(s, list, "%s: this is no list, or a circular one", who);
    return n;
}

EXPRESSION(length, fixnum((intptr_t)list_length(s, "length", arg[0])))
EXPRESSION(is_list, boolean(elements(arg[0]) != SIZE_MAX))

PROCEDURE(list)
{
    value v = NIL;
    while (n > 0) v = cons(s, arg[--n], v);
    return v;
}

PROCEDURE(append)
{
    value all = NIL, *end = &all;
    for (size_t i = 0; i + 1 < n; i++) {
        list_length(s, "append", arg[i]);
        for (value v = arg[i]; v != NIL; v = cdr(v)) {
            end = add_last(s, end, car(v));
        }
    }
    if (n > 0) *end = arg[n - 1];
    return all;
}

PROCEDURE(reverse)
{
    value v = NIL;
    list_length(s, "reverse", arg[0]);
    for (value l = arg[0]; l != NIL; l = cdr(l)) v = cons(s, car(l), v);
    return v;
}

PROCEDURE(list_tail)
{
    value v = arg[0];
    for (intptr_t i = fixnum_of(arg[1]); i > 0; i--) {
        if (!is_pair(v)) fail(s, arg[1], "this list is shorter");
        v = cdr(v);
    }
    return v;
}

PROCEDURE(list_ref)
{
    value v = list_tail(s, arg, n);
    if (!is_pair(v)) fail(s, arg[1], "this list is shorter");
    return car(v);
}

static bool eq(struct scheme *s, value a, value b) { return (void)s, a == b; }
static bool eqv(struct scheme *s, value a, value b) { return (void)s, same(a, b); }

/* The part of the list that begins with the element, or with the pair of that key. */
static value search(struct scheme *s, value *arg, bool pairs,
                    bool (*is)(struct scheme *, value, value))
{
    list_length(s, pairs ? "assoc" : "member", arg[1]);
    for (value l = arg[1]; l != NIL; l = cdr(l)) {
        if (pairs && !is_pair(car(l))) fail(s, car(l), "assoc: this is no pair");
        if (is(s, arg[0], pairs ? car(car(l)) : car(l))) return pairs ? car(l) : l;
    }
    return FALSE;
}

EXPRESSION(memq, search(s, arg, false, eq))
EXPRESSION(memv, search(s, arg, false, eqv))
EXPRESSION(member, search(s, arg, false, equal_or_fail))
EXPRESSION(assq, search(s, arg, true, eq))
EXPRESSION(assv, search(s, arg, true, eqv))
EXPRESSION(assoc, search(s, arg, true, equal_or_fail))

/* The next elements of n lists, which are in `lists`; false when one has none. */
static bool next_of(struct vector *lists, struct vector *args)
{
    for (size_t i = 0; i < lists->length; i++) {
        if (!is_pair(lists->item[i])) return false;
        args->item[i] = car(lists->item[i]);
        lists->item[i] = cdr(lists->item[i]);
    }
    return true;
}

static value map_over(struct scheme *s, value *arg, size_t n, bool keep)
{
    struct vector *lists = new_vector(s, n - 1), *args = new_vector(s, n - 1);
    value all = NIL, *end = &all;
    for (size_t i = 1; i < n; i++) {
        list_length(s, keep ? "map" : "for-each", arg[i]);
        lists->item[i - 1] = arg[i];
    }
    while (next_of(lists, args)) {
        value v = apply(s, arg[0], n - 1, args->item);
        if (!keep) continue;
        end = add_last(s, end, v);
    }
    return keep ? all : NOTHING;
}

EXPRESSION(map, map_over(s, arg, n, true))
EXPRESSION(for_each, map_over(s, arg, n, false))

/* ---- symbols, characters, strings ---- */

static value copy(struct scheme *s, const struct string *t)
{
    return VALUE(new_string(s, t->bytes, t->length));
}

EXPRESSION(symbol_to_string, copy(s, AS(symbol, arg[0])->name))
EXPRESSION(string_to_symbol,
           VALUE(intern(s, AS(string, arg[0])->bytes, AS(string, arg[0])->length)))
EXPRESSION(char_to_integer, fixnum(char_of(arg[0])))

PROCEDURE(integer_to_char)
{
    if (fixnum_of(arg[0]) > 255) fail(s, arg[0], "integer->char: a character is a byte here");
    return character((unsigned char)fixnum_of(arg[0]));
}

static size_t index_below(struct scheme *s, value i, size_t limit)
{
    if ((size_t)fixnum_of(i) >= limit) fail(s, i, "index out of range");
    return (size_t)fixnum_of(i);
}

EXPRESSION(string_length, fixnum((intptr_t)AS(string, arg[0])->length))

PROCEDURE(string_ref)
{
    struct string *t = AS(string, arg[0]);
    return character((unsigned char)t->bytes[index_below(s, arg[1], t->length)]);
}

PROCEDURE(substring)
{
    struct string *t = AS(string, arg[0]);
    size_t end = n > 2 ? index_below(s, arg[2], t->length + 1) : t->length;
    size_t start = index_below(s, arg[1], end + 1);
    return VALUE(new_string(s, t->bytes + start, end - start));
}

PROCEDURE(string_append)
{
    size_t length = 0;
    for (size_t i = 0; i < n; i++) length += AS(string, arg[i])->length;
    struct string *t = new_string(s, NULL, length);
    char *at = t->bytes;
    for (size_t i = 0; i < n; at += AS(string, arg[i++])->length)
        memcpy(at, AS(string, arg[i])->bytes, AS(string, arg[i])->length);
    return VALUE(t);
}

static int compare_strings(value a, value b)
{
    struct string *x = AS(string, a), *y = AS(string, b);
    size_t shorter = x->length < y->length ? x->length : y->length;
    int c = memcmp(x->bytes, y->bytes, shorter);
    return c != 0 ? c : (x->length > y->length) - (x->length < y->length);
}

EXPRESSION(string_equal, boolean(compare_strings(arg[0], arg[1]) == 0))
EXPRESSION(string_less, boolean(compare_strings(arg[0], arg[1]) < 0))

PROCEDURE(string_to_list)
{
    struct string *t = AS(string, arg[0]);
    value v = NIL;
    for (size_t i = t->length; i-- > 0;) v = cons(s, character((unsigned char)t->bytes[i]), v);
    return v;
}

PROCEDURE(list_to_string)
{
    struct string *t = new_string(s, NULL, list_length(s, "list->string", arg[0]));
    value v = arg[0];
    for (size_t i = 0; i < t->length; i++, v = cdr(v)) {
        if (!is_char(car(v))) fail(s, car(v), "list->string: this is no character");
        t->bytes[i] = (char)char_of(car(v));
    }
    return VALUE(t);
}

/* ---- vectors ---- */

PROCEDURE(vector)
{
    struct vector *v = new_vector(s, n);
    if (n > 0) memcpy(v->item, arg, n * sizeof *arg);
    return VALUE(v);
}

PROCEDURE(make_vector)
{
    struct vector *v = new_vector(s, (size_t)fixnum_of(arg[0]));
    for (size_t i = 0; i < v->length; i++) v->item[i] = n > 1 ? arg[1] : fixnum(0);
    return VALUE(v);
}

EXPRESSION(vector_length, fixnum((intptr_t)AS(vector, arg[0])->length))

PROCEDURE(vector_ref)
{
    struct vector *v = AS(vector, arg[0]);
    return v->item[index_below(s, arg[1], v->length)];
}

PROCEDURE(vector_set)
{
    struct vector *v = AS(vector, arg[0]);
    v->item[index_below(s, arg[1], v->length)] = arg[2];
    return NOTHING;
}

EXPRESSION(vector_to_list, list(s, AS(vector, arg[0])->item, AS(vector, arg[0])->length))

PROCEDURE(list_to_vector)
{
    struct vector *v = new_vector(s, list_length(s, "list->vector", arg[0]));
    value l = arg[0];
    for (size_t i = 0; i < v->length; i++, l = cdr(l)) v->item[i] = car(l);
    return VALUE(v);
}

/* ---- the rest ---- */

PROCEDURE(seconds)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return flonum(s, (double)t.tv_sec + (double)t.tv_nsec / 1e9);
}

EXPRESSION(command_line, s->arguments)

void define_library(struct scheme *s)
{
    static const struct definition all[] = {
        { "pair?", ".", is_pair_ }, { "null?", ".", is_null }, { "list?", ".", is_list },
        { "symbol?", ".", is_symbol }, { "string?", ".", is_string }, { "vector?", ".", is_vector },
        { "char?", ".", is_char_ }, { "procedure?", ".", is_procedure },
        { "boolean?", ".", is_boolean }, { "eof-object?", ".", is_end }, { "not", ".", not },
        { "eq?", "..", is_same }, { "eqv?", "..", is_eqv }, { "equal?", "..", is_equal },
        { "cons", "..", cons_ }, { "car", "p", car_ }, { "cdr", "p", cdr_ }, { "caar", ".", caar },
        { "cadr", ".", cadr }, { "cdar", ".", cdar }, { "cddr", ".", cddr },
        { "caddr", ".", caddr }, { "set-car!", "p.", set_car }, { "set-cdr!", "p.", set_cdr },
        { "list", ".*", list }, { "length", ".", length }, { "append", ".*", append },
        { "reverse", ".", reverse }, { "list-tail", ".k", list_tail },
        { "list-ref", ".k", list_ref }, { "memq", "..", memq }, { "memv", "..", memv },
        { "member", "..", member }, { "assq", "..", assq }, { "assv", "..", assv },
        { "assoc", "..", assoc }, { "map", "f..*", map }, { "for-each", "f..*", for_each },
        { "symbol->string", "y", symbol_to_string }, { "string->symbol", "s", string_to_symbol },
        { "char->integer", "c", char_to_integer }, { "integer->char", "k", integer_to_char },
        { "string-length", "s", string_length }, { "string-ref", "sk", string_ref },
        { "substring", "sk|k", substring }, { "string-append", "s*", string_append },
        { "string=?", "ss", string_equal }, { "string<?", "ss", string_less },
        { "string->list", "s", string_to_list }, { "list->string", ".", list_to_string },
        { "vector", ".*", vector }, { "make-vector", "k|.", make_vector },
        { "vector-length", "v", vector_length }, { "vector-ref", "vk", vector_ref },
        { "vector-set!", "vk.", vector_set }, { "vector->list", "v", vector_to_list },
        { "list->vector", ".", list_to_vector }, { "seconds", "", seconds },
        { "command-line", "", command_line },
        { NULL, NULL, NULL },
    };
    define_all(s, all);
}
