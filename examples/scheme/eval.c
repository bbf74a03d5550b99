/* eval.c - running programs: calls, tail calls, errors, escapes.
 *
 * A program is data, and is run as it is. eval() goes down with the program's own recursion, on the
 * C stack, and stays where it is for a tail call. Whatever a program holds is in objects, or in a
 * local variable of a function below, which the collector sees: there is nothing to register, and
 * so nothing to forget when an error leaves by longjmp. */
#include "scheme.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* What isn't a call. Such a form is a value, so that a variable may have its name, and a macro may
 * use it whatever the name means; the rest of the syntax is macros (prelude.scm). */
static const struct form {
    const char *name;
    enum { QUOTE, IF, OR, BEGIN, LAMBDA, SET, DEFINE } op;
    size_t least, most;
} forms[] = {
    { "quote", QUOTE, 2, 2 }, { "if", IF, 3, 4 }, { "or", OR, 1, MANY },
    { "begin", BEGIN, 1, MANY }, { "lambda", LAMBDA, 3, MANY }, { "set!", SET, 3, 3 },
    { "define", DEFINE, 3, MANY },
};

volatile sig_atomic_t interrupted;

void define_forms(struct scheme *s)
{
    for (const struct form *f = forms; f < forms + sizeof forms / sizeof *forms; f++)
        set_global(s, named(s, f->name), new_box(s, FORM, f));
}

/* ---- errors and escapes ---- */

/* Back to the latest try() of that owner; returns if there is none. */
static void jump(struct scheme *s, value owner, value v)
{
    struct catch *c = s->top;
    while (c && c->owner != owner) c = c->up;
    if (!c) return;
    s->top = c->up;
    c->thrown = v;
    longjmp(c->jump, 1);
}

void raise_value(struct scheme *s, value v)
{
    jump(s, FALSE, v);
    abort(); /* nothing runs but in a try() */
}

void fail(struct scheme *s, value about, const char *format, ...)
{
    char message[256];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    value irritants = about ? cons(s, about, NIL) : NIL;
    raise_value(s, cons(s, new_string(s, message, strlen(message)), irritants));
}

/* What calls leave on the stack is not looked at below the stack pointer, but it shows again where
 * the next call's frame has a hole: a word that nobody wrote since, and that keeps an object. It
 * can be had away where it matters: between forms, and after an error, which may well be that there
 * is no memory. */
__attribute__((noinline)) void wipe_stack(void)
{
    char below[64 << 10];
    explicit_bzero(below, sizeof below);
}

/* Runs run(s, what), and says whether nobody jumped to the owner; *result is what came of it. Who
 * catches that there is no memory needs some: before anything new lies behind what died, whose end
 * is the new object's address. */
bool try(struct scheme *s, value owner, body *run, void *what, value *result)
{
    struct catch c = { .up = s->top, .owner = owner };
    s->top = &c;
    if (setjmp(c.jump) == 0) {
        *result = run(s, what);
        s->top = c.up;
        return true;
    }
    wipe_stack();
    if (c.thrown == s->out_of_memory) oak_collect();
    *result = c.thrown;
    return false;
}

void check_stack(struct scheme *s)
{
    if ((char *)__builtin_frame_address(0) < s->stack_end)
        fail(s, UNASSIGNED, "recursion too deep");
}

/* ---- variables ---- */

/* An environment is a list, from the innermost call outwards, of lists of (name . value). */
static value *find(value name, value env)
{
    for (; env != NIL; env = cdr(env))
        for (value v = car(env); v != NIL; v = cdr(v))
            if (car(car(v)) == name) return &pair_of(car(v))->cdr;
    return &AS(symbol, name)->value;
}

static void define(struct scheme *s, value name, value v, value env)
{
    if (!is(name, SYMBOL)) fail(s, name, "bad syntax: this is no name");
    if (env == NIL) set_global(s, name, v);
    else pair_of(env)->car = cons(s, cons(s, name, v), car(env));
}

static value lambda(struct scheme *s, value code, value env)
{
    return new_object(s, &(struct closure){ CLOSURE, code, env });
}

/* set! and define: of what follows the word in the form. */
static value assign(struct scheme *s, bool new, value rest, value env)
{
    value name = car(rest), v;
    if (new && is_pair(name)) { /* (name . parameters) body ... */
        v = lambda(s, cons(s, cdr(name), cdr(rest)), env);
        name = car(name);
    } else {
        v = eval(s, car(cdr(rest)), env);
    }
    if (new) define(s, name, v, env);
    else if (!is(name, SYMBOL) || !*find(name, env)) fail(s, name, "set! of an unbound variable");
    else *find(name, env) = v;
    return NOTHING;
}

/* ---- calls ---- */

/* The result; or TAIL_CALL, when a closure's body is to be run, which the caller finds in s. */
value begin_call(struct scheme *s, value f, size_t n, value *arg)
{
    check_stack(s);
    if (is(f, PRIMITIVE)) return call_primitive(s, AS(box, f)->to, n, arg);
    if (is(f, CONTINUATION) && n == 1) jump(s, f, arg[0]);
    if (is(f, CONTINUATION) && n != 1) fail(s, f, "called with %zu arguments", n);
    if (is(f, CONTINUATION)) fail(s, f, "the call that this leads out of has returned");
    if (!is(f, CLOSURE)) fail(s, f, "this is no procedure");
    value env = cons(s, NIL, AS(closure, f)->env), names = car(AS(closure, f)->code);
    size_t i = 0;
    for (; is_pair(names) && i < n; names = cdr(names)) define(s, car(names), arg[i++], env);
    if (is_pair(names) || (names == NIL && i < n)) fail(s, f, "called with %zu arguments", n);
    if (names != NIL) define(s, names, list_of(s, arg + i, n - i, NIL), env);
    s->body = cdr(AS(closure, f)->code);
    s->env = env;
    return TAIL_CALL;
}

static void check_interrupt(struct scheme *s)
{
    if (!interrupted) return;
    interrupted = 0;
    fail(s, UNASSIGNED, "interrupted");
}

/* Arguments are in an array on the stack, which is a root; many are in a vector. Not part of
 * eval(), whose frame is to be small. */
static __attribute__((noinline)) value call(struct scheme *s, value f, value x, size_t n, value env)
{
    value few[6], *arg = few;
    if (n > sizeof few / sizeof *few) arg = new_vector(s, n)->item;
    size_t i = 0;
    for (value rest; i < n && is_pair(x); x = rest) { /* it may change itself */
        rest = cdr(x);
        arg[i++] = eval(s, car(x), env);
    }
    return begin_call(s, f, i, arg);
}

/* Of some forms all but the last, which is left to do. */
static value begin(struct scheme *s, value body, value env)
{
    if (!is_pair(body)) fail(s, body, "this is no body");
    for (value rest; is_pair(rest = cdr(body)); body = rest) eval(s, car(body), env);
    return car(body);
}

/* What is left to do of a TAIL_CALL, and where. */
static value begin_body(struct scheme *s, value *env)
{
    value body = s->body;
    *env = s->env;
    s->body = s->env = NIL; /* they would keep what the call drops */
    return begin(s, body, *env);
}

value apply(struct scheme *s, value f, size_t n, value *arg)
{
    value v = begin_call(s, f, n, arg), env;
    if (v != TAIL_CALL) return v;
    v = begin_body(s, &env);
    return eval(s, v, env);
}

/* A macro's form becomes, once and for all, the form that it stands for. */
static value expand(struct scheme *s, value macro, value form)
{
    struct vector *args = vector_of(s, cdr(form));
    value v = apply(s, macro, args->length, args->item);
    if (is_pair(v)) *pair_of(form) = *pair_of(v);
    return v;
}

value eval(struct scheme *s, value x, value env)
{
    check_stack(s);
    while (is_pair(x)) {
        check_interrupt(s);
        value f = eval(s, car(x), env), v;
        size_t n = list_length(s, x);
        if (is(f, MACRO)) {
            x = expand(s, AS(box, f)->to, x);
            continue;
        }
        if (!is(f, FORM)) {
            v = call(s, f, cdr(x), n - 1, env);
            if (v != TAIL_CALL) return v;
            x = begin_body(s, &env);
            continue;
        }
        const struct form *form = AS(box, f)->to;
        if (n < form->least || n > form->most) fail(s, x, "bad syntax");
        if (n == 1) return form->op == OR ? FALSE : NOTHING;
        x = cdr(x);
        switch (form->op) {
        case QUOTE: return car(x);
        case LAMBDA: return lambda(s, x, env);
        case SET:
        case DEFINE: return assign(s, form->op == DEFINE, x, env);
        case BEGIN: x = begin(s, x, env); break;
        case IF:
            v = eval(s, car(x), env);
            x = cdr(x);
            if (v == FALSE && is_pair(x)) x = cdr(x);
            if (!is_pair(x)) return NOTHING;
            x = car(x);
            break;
        case OR:
            for (value rest; is_pair(rest = cdr(x)); x = rest)
                if ((v = eval(s, car(x), env)) != FALSE) return v;
            x = car(x);
            break;
        }
    }
    if (!is(x, SYMBOL)) return x;
    if (!*find(x, env)) fail(s, x, "unbound variable");
    return *find(x, env);
}
