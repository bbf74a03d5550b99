/* compile.c - from data to nodes: which variable is where, and what the syntax means.
 *
 * Syntax is a value as well: `if` is a variable whose value tells how to compile (if ...), so a
 * local variable of that name hides it. Forms that are made from others have the others' values in
 * them, not their names, and so mean the same whatever the program has made of the names. */
#include "code.h"

#include <string.h>

/* The variables of a frame, the last first. On the C stack, and so a root as all else there. */
struct scope {
    struct scope *up;
    value names;
    unsigned count;
};

static _Noreturn void bad_form(struct scheme *s, value form)
{
    fail(s, form, "bad syntax");
}

/* The elements of a form: at least `least`, a proper list. */
static size_t form_length(struct scheme *s, value form, size_t least)
{
    size_t n = 0;
    value v = form;
    for (; is_pair(v) && n < 1000000; v = cdr(v)) n++;
    if (v != NIL || n < least) bad_form(s, form);
    return n;
}

static value second(value form) { return car(cdr(form)); }
static value third(value form) { return car(cdr(cdr(form))); }
static value rest2(value form) { return cdr(cdr(form)); }

static value list2(struct scheme *s, value a, value b)
{
    return cons(s, a, cons(s, b, NIL));
}

/* ---- nodes ---- */

static struct node *node(struct scheme *s, enum op op, size_t count)
{
    struct node *n = new_code(s, sizeof *n + count * sizeof n->kid[0]);
    n->op = op;
    n->count = count;
    n->datum = FALSE;
    return n;
}

static struct node *constant(struct scheme *s, value v)
{
    struct node *n = node(s, CONSTANT_OP, 0);
    n->datum = v;
    return n;
}

static struct node *node2(struct scheme *s, enum op op, struct node *a, struct node *b)
{
    struct node *n = node(s, op, 2);
    n->kid[0] = a;
    n->kid[1] = b;
    return n;
}

static struct node *node3(struct scheme *s, enum op op, struct node *a, struct node *b,
                          struct node *c)
{
    struct node *n = node(s, op, 3);
    n->kid[0] = a;
    n->kid[1] = b;
    n->kid[2] = c;
    return n;
}

/* op with each of `forms`, from kid `at` on. */
static struct node *node_of(struct scheme *s, enum op op, value forms, size_t at,
                            struct scope *scope)
{
    struct node *n = node(s, op, at + form_length(s, forms, 0));
    for (; forms != NIL; forms = cdr(forms)) n->kid[at++] = compile(s, car(forms), scope);
    return n;
}

/* ---- variables ---- */

static void add_name(struct scheme *s, struct scope *scope, value name, value form)
{
    if (!is(name, SYMBOL)) bad_form(s, form);
    scope->names = cons(s, name, scope->names);
    scope->count++;
}

static bool declared(const struct scope *scope, value name)
{
    for (value v = scope->names; v != NIL; v = cdr(v))
        if (car(v) == name) return true;
    return false;
}

static bool find(const struct scope *scope, value name, struct node *n)
{
    for (n->depth = 0; scope; scope = scope->up, n->depth++) {
        n->index = scope->count;
        for (value v = scope->names; v != NIL; v = cdr(v)) {
            n->index--;
            if (car(v) == name) return true;
        }
    }
    return false;
}

static struct node *variable(struct scheme *s, value name, struct scope *scope)
{
    struct node *n = node(s, LOCAL, 0);
    if (find(scope, name, n)) return n;
    n->op = GLOBAL;
    n->datum = name;
    return n;
}

static struct node *assignment(struct scheme *s, value name, struct node *v, struct scope *scope)
{
    struct node *n = node(s, SET_LOCAL, 1);
    n->kid[0] = v;
    if (v->op == MAKE_CLOSURE && v->datum == FALSE) v->datum = name;
    if (find(scope, name, n)) return n;
    n->op = SET_GLOBAL;
    n->datum = name;
    return n;
}

/* ---- what everything is made of ---- */

static bool is_core(struct scheme *s, value form, enum well_known which)
{
    if (!is_pair(form)) return false;
    return car(form) == VALUE(s->known[which]) || car(form) == s->core[which];
}

/* The definitions of a body are variables of its frame. */
static void declare(struct scheme *s, value forms, struct scope *scope)
{
    check_stack(s);
    for (; is_pair(forms); forms = cdr(forms)) {
        value form = car(forms);
        if (is_core(s, form, BEGIN)) declare(s, cdr(form), scope);
        if (!is_core(s, form, DEFINE)) continue;
        form_length(s, form, 2);
        value name = second(form);
        while (is_pair(name)) name = car(name);
        if (!declared(scope, name)) add_name(s, scope, name, form);
    }
}

static struct node *body(struct scheme *s, value forms, struct scope *scope)
{
    if (form_length(s, forms, 0) == 0) return constant(s, NOTHING);
    declare(s, forms, scope);
    return cdr(forms) == NIL ? compile(s, car(forms), scope)
                             : node_of(s, SEQUENCE, forms, 0, scope);
}

static struct node *sequence(struct scheme *s, value forms, struct scope *scope)
{
    if (forms == NIL) return constant(s, NOTHING);
    return node_of(s, SEQUENCE, forms, 0, scope);
}

static struct node *lambda(struct scheme *s, value name, value parameters, value forms,
                           struct scope *up)
{
    struct scope scope = { up, NIL, 0 };
    struct node *n = node(s, MAKE_CLOSURE, 1);
    n->datum = name;
    for (; is_pair(parameters); parameters = cdr(parameters))
        if (n->least++ < 1000) add_name(s, &scope, car(parameters), parameters);
        else bad_form(s, parameters);
    if (parameters != NIL) {
        add_name(s, &scope, parameters, parameters);
        n->rest = true;
    }
    n->kid[0] = body(s, forms, &scope);
    n->slots = scope.count;
    return n;
}

struct node *compile(struct scheme *s, value form, struct scope *scope)
{
    check_stack(s);
    if (is(form, SYMBOL)) return variable(s, form, scope);
    if (form == NIL) bad_form(s, form);
    if (!is_pair(form)) return constant(s, form);
    struct node *f = compile(s, car(form), scope);
    value head = f->op == GLOBAL ? AS(symbol, f->datum)->value : f->datum;
    if ((f->op == GLOBAL || f->op == CONSTANT_OP) && head && is(head, SYNTAX)) {
        form_length(s, form, 1);
        return AS(syntax, head)->compile(s, form, scope);
    }
    struct node *n = node_of(s, CALL, cdr(form), 1, scope);
    n->kid[0] = f;
    return n;
}

value lambda_name(value closure)
{
    return AS(closure, closure)->lambda->datum;
}

/* ---- syntax ---- */

static struct node *quote_syntax(struct scheme *s, value form, struct scope *scope)
{
    (void)scope;
    if (form_length(s, form, 2) != 2) bad_form(s, form);
    return constant(s, second(form));
}

static struct node *if_syntax(struct scheme *s, value form, struct scope *scope)
{
    size_t n = form_length(s, form, 3);
    if (n > 4) bad_form(s, form);
    return node3(s, TEST, compile(s, second(form), scope), compile(s, third(form), scope),
                 n == 4 ? compile(s, car(cdr(rest2(form))), scope) : constant(s, NOTHING));
}

static struct node *definition(struct scheme *s, value form, struct scope *scope)
{
    size_t n = form_length(s, form, 2);
    value name = second(form), forms = rest2(form);
    while (is_pair(name) && is_pair(car(name))) { /* (define ((f a) b) ...) */
        forms = cons(s, cons(s, s->core[LAMBDA], cons(s, cdr(name), forms)), NIL);
        name = car(name);
    }
    value variable_name = is_pair(name) ? car(name) : name;
    if (!is(variable_name, SYMBOL) || (!is_pair(name) && n != 3)) bad_form(s, form);
    if (scope && !declared(scope, variable_name)) fail(s, form, "a definition has no place here");
    struct node *v = is_pair(name) ? lambda(s, variable_name, cdr(name), forms, scope)
                                   : compile(s, car(forms), scope);
    struct node *set = assignment(s, variable_name, v, scope);
    if (!scope) set->op = DEFINE_GLOBAL;
    return set;
}

static struct node *set_syntax(struct scheme *s, value form, struct scope *scope)
{
    if (form_length(s, form, 3) != 3 || !is(second(form), SYMBOL)) bad_form(s, form);
    struct node *v = compile(s, third(form), scope);
    return assignment(s, second(form), v, scope);
}

static struct node *lambda_syntax(struct scheme *s, value form, struct scope *scope)
{
    form_length(s, form, 3);
    return lambda(s, FALSE, second(form), rest2(form), scope);
}

static struct node *begin_syntax(struct scheme *s, value form, struct scope *scope)
{
    return sequence(s, cdr(form), scope);
}

static struct node *and_syntax(struct scheme *s, value form, struct scope *scope)
{
    return cdr(form) == NIL ? constant(s, TRUE) : node_of(s, AND, cdr(form), 0, scope);
}

static struct node *or_syntax(struct scheme *s, value form, struct scope *scope)
{
    return cdr(form) == NIL ? constant(s, FALSE) : node_of(s, OR, cdr(form), 0, scope);
}

static struct node *when_syntax(struct scheme *s, value form, struct scope *scope)
{
    form_length(s, form, 2);
    return node3(s, TEST, compile(s, second(form), scope), sequence(s, rest2(form), scope),
                 constant(s, NOTHING));
}

static struct node *unless_syntax(struct scheme *s, value form, struct scope *scope)
{
    form_length(s, form, 2);
    return node3(s, TEST, compile(s, second(form), scope), constant(s, NOTHING),
                 sequence(s, rest2(form), scope));
}

/* A frame of its own for `scope`, whose first variables have the values `inits` of outside. */
static struct node *enter(struct scheme *s, value inits, struct node *inside, struct scope *scope)
{
    struct node *n = node_of(s, ENTER, inits, 1, scope->up);
    n->kid[0] = inside;
    n->slots = scope->count;
    return n;
}

/* The names and the values of ((name value) ...). */
static void take_bindings(struct scheme *s, value list, value form, value *names, value *values)
{
    *names = *values = NIL;
    value *name_end = names, *value_end = values;
    form_length(s, list, 0);
    for (; list != NIL; list = cdr(list)) {
        if (form_length(s, car(list), 2) != 2) bad_form(s, form);
        *name_end = cons(s, car(car(list)), NIL);
        *value_end = cons(s, second(car(list)), NIL);
        name_end = &pair_of(*name_end)->cdr;
        value_end = &pair_of(*value_end)->cdr;
    }
}

static struct node *letrec_syntax(struct scheme *s, value form, struct scope *up)
{
    struct scope scope = { up, NIL, 0 };
    value names, values;
    size_t i = 0, n = form_length(s, form, 3);
    take_bindings(s, second(form), form, &names, &values);
    n = form_length(s, names, 0);
    for (value v = names; v != NIL; v = cdr(v)) add_name(s, &scope, car(v), form);
    struct node *all = node(s, SEQUENCE, n + 1);
    for (; i < n; names = cdr(names), values = cdr(values))
        all->kid[i++] = assignment(s, car(names), compile(s, car(values), &scope), &scope);
    all->kid[n] = body(s, rest2(form), &scope);
    return enter(s, NIL, all, &scope);
}

/* (let name ((v i) ...) body ...): a procedure, called with what was outside of it. */
static struct node *loop(struct scheme *s, value form, struct scope *up)
{
    struct scope scope = { up, NIL, 0 };
    value names, values, name = second(form);
    form_length(s, form, 4);
    take_bindings(s, third(form), form, &names, &values);
    add_name(s, &scope, name, form);
    struct node *f = lambda(s, name, names, cdr(rest2(form)), &scope);
    struct node *both = node2(s, SEQUENCE, assignment(s, name, f, &scope),
                              variable(s, name, &scope));
    struct node *call = node_of(s, CALL, values, 1, up);
    call->kid[0] = enter(s, NIL, both, &scope);
    return call;
}

static struct node *let_syntax(struct scheme *s, value form, struct scope *up)
{
    struct scope scope = { up, NIL, 0 };
    value names, values;
    form_length(s, form, 3);
    if (is(second(form), SYMBOL)) return loop(s, form, up);
    take_bindings(s, second(form), form, &names, &values);
    for (; names != NIL; names = cdr(names)) add_name(s, &scope, car(names), form);
    struct node *inside = body(s, rest2(form), &scope);
    return enter(s, values, inside, &scope);
}

static struct node *let_star_syntax(struct scheme *s, value form, struct scope *scope)
{
    form_length(s, form, 3);
    value list = second(form), forms = rest2(form);
    if (list == NIL || (form_length(s, list, 1) == 1))
        return let_syntax(s, cons(s, s->core[LET], cons(s, list, forms)), scope);
    value inner = cons(s, VALUE(s->known[LET]), cons(s, cdr(list), forms));
    struct scope one = { scope, NIL, 0 };
    value names, values;
    take_bindings(s, cons(s, car(list), NIL), form, &names, &values);
    add_name(s, &one, car(names), form);
    check_stack(s);
    return enter(s, values, let_star_syntax(s, inner, &one), &one);
}

/* (do ((v init step) ...) (test result ...) body ...): a loop whose name nobody else has. */
static struct node *do_syntax(struct scheme *s, value form, struct scope *scope)
{
    form_length(s, form, 3);
    value list = second(form), name = VALUE(new_symbol(s, "do", 2)), vars = NIL, steps = NIL;
    value *var_end = &vars, *step_end = &steps;
    form_length(s, list, 0);
    for (; list != NIL; list = cdr(list)) {
        value v = car(list);
        size_t n = form_length(s, v, 2);
        *var_end = cons(s, list2(s, car(v), second(v)), NIL);
        *step_end = cons(s, n > 2 ? third(v) : car(v), NIL);
        var_end = &pair_of(*var_end)->cdr;
        step_end = &pair_of(*step_end)->cdr;
    }
    form_length(s, third(form), 1);
    value again = cons(s, name, steps), results = cons(s, s->core[BEGIN], cdr(third(form)));
    value inside = cons(s, s->core[BEGIN], NIL), *end = &pair_of(inside)->cdr;
    for (value v = cdr(rest2(form)); v != NIL; v = cdr(v)) {
        end = add_last(s, end, car(v));
    }
    *end = cons(s, again, NIL);
    value test = cons(s, s->core[IF], cons(s, car(third(form)), list2(s, results, inside)));
    return loop(s, cons(s, s->core[LET], cons(s, name, list2(s, vars, test))), scope);
}

static struct node *cond_clauses(struct scheme *s, value clauses, struct scope *scope)
{
    check_stack(s);
    if (clauses == NIL) return constant(s, NOTHING);
    value clause = car(clauses);
    size_t n = form_length(s, clause, 1);
    if (car(clause) == VALUE(s->known[ELSE])) return sequence(s, cdr(clause), scope);
    struct node *test = compile(s, car(clause), scope);
    if (n == 1) return node2(s, OR, test, cond_clauses(s, cdr(clauses), scope));
    if (second(clause) != VALUE(s->known[ARROW]))
        return node3(s, TEST, test, sequence(s, cdr(clause), scope),
                     cond_clauses(s, cdr(clauses), scope));
    if (n != 3) bad_form(s, clause);
    /* (test => receiver): the test's value in a variable of a frame of its own */
    struct scope one = { scope, NIL, 0 };
    value it = VALUE(new_symbol(s, "it", 2));
    add_name(s, &one, it, clause);
    struct node *call = node2(s, CALL, compile(s, third(clause), &one), variable(s, it, &one));
    struct node *choice = node3(s, TEST, variable(s, it, &one), call,
                                cond_clauses(s, cdr(clauses), &one));
    return enter(s, cons(s, car(clause), NIL), choice, &one);
}

static struct node *cond_syntax(struct scheme *s, value form, struct scope *scope)
{
    return cond_clauses(s, cdr(form), scope);
}

static struct node *case_syntax(struct scheme *s, value form, struct scope *scope)
{
    size_t count = form_length(s, form, 2) - 2;
    value clauses = rest2(form);
    struct vector *lists = new_vector(s, count);
    struct node *n = node(s, SELECT, count + 1);
    n->datum = VALUE(lists);
    n->kid[0] = compile(s, second(form), scope);
    for (size_t i = 0; i < count; i++, clauses = cdr(clauses)) {
        form_length(s, car(clauses), 1);
        value key = car(car(clauses));
        if (key != VALUE(s->known[ELSE])) form_length(s, key, 0);
        lists->item[i] = key == VALUE(s->known[ELSE]) ? TRUE : key;
        n->kid[i + 1] = sequence(s, cdr(car(clauses)), scope);
    }
    return n;
}

/* (guard (e clause ...) body ...): %guard calls the first procedure, and with what is raised in it
 * the second. */
static struct node *guard_syntax(struct scheme *s, value form, struct scope *scope)
{
    form_length(s, form, 3);
    form_length(s, second(form), 1);
    value e = cons(s, car(second(form)), NIL);
    value handler = cons(s, s->core[COND], NIL), *end = &pair_of(handler)->cdr;
    for (value v = cdr(second(form)); v != NIL; v = cdr(v)) {
        end = add_last(s, end, car(v));
    }
    value again = list2(s, VALUE(s->known[ELSE]), cons(s, s->core[RAISE], e));
    *end = cons(s, again, NIL);
    return node3(s, CALL, constant(s, s->core[GUARD]), lambda(s, FALSE, NIL, rest2(form), scope),
                 lambda(s, FALSE, e, cons(s, handler, NIL), scope));
}

static struct node *quasi(struct scheme *s, value v, unsigned level, struct scope *scope);

static struct node *quasi_cons(struct scheme *s, struct node *a, struct node *d)
{
    return node3(s, CALL, constant(s, s->core[CONS]), a, d);
}

/* (which x), its x a level further out or in. */
static struct node *quasi_level(struct scheme *s, value v, unsigned level, struct scope *scope)
{
    return quasi_cons(s, constant(s, car(v)), quasi(s, cdr(v), level, scope));
}

static struct node *quasi(struct scheme *s, value v, unsigned level, struct scope *scope)
{
    check_stack(s);
    if (is(v, VECTOR)) {
        value list = NIL;
        for (size_t i = AS(vector, v)->length; i-- > 0;)
            list = cons(s, AS(vector, v)->item[i], list);
        return node2(s, CALL, constant(s, s->core[TO_VECTOR]), quasi(s, list, level, scope));
    }
    if (!is_pair(v)) return constant(s, v);
    if (is_core(s, v, UNQUOTE) && form_length(s, v, 1) == 2)
        return level == 1 ? compile(s, second(v), scope) : quasi_level(s, v, level - 1, scope);
    if (is_core(s, v, QUASIQUOTE)) return quasi_level(s, v, level + 1, scope);
    if (level == 1 && is_core(s, car(v), UNQUOTE_SPLICING) && form_length(s, car(v), 1) == 2) {
        struct node *list = compile(s, second(car(v)), scope);
        return node3(s, CALL, constant(s, s->core[APPEND]), list, quasi(s, cdr(v), level, scope));
    }
    unsigned in = is_core(s, v, UNQUOTE_SPLICING) ? level - 1 : level;
    return quasi_cons(s, quasi(s, car(v), level, scope), quasi(s, cdr(v), in, scope));
}

static struct node *quasi_syntax(struct scheme *s, value form, struct scope *scope)
{
    if (form_length(s, form, 2) != 2) bad_form(s, form);
    return quasi(s, second(form), 1, scope);
}

void define_syntax(struct scheme *s)
{
    static const struct {
        const char *name;
        compiler *compile;
    } all[] = {
        { "quote", quote_syntax },   { "quasiquote", quasi_syntax }, { "if", if_syntax },
        { "define", definition },    { "set!", set_syntax },         { "lambda", lambda_syntax },
        { "begin", begin_syntax },   { "and", and_syntax },          { "or", or_syntax },
        { "when", when_syntax },     { "unless", unless_syntax },    { "let", let_syntax },
        { "let*", let_star_syntax }, { "letrec", letrec_syntax },    { "letrec*", letrec_syntax },
        { "do", do_syntax },         { "cond", cond_syntax },        { "case", case_syntax },
        { "guard", guard_syntax },
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct syntax *x = new_object(s, SYNTAX);
        x->name = all[i].name;
        x->compile = all[i].compile;
        set_global(s, AS(symbol, named(s, x->name)), VALUE(x));
    }
}
