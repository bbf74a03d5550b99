/* eval.c - running code: calls, tail calls, errors, escapes.
 *
 * eval() goes down with the program's own recursion, on the C stack, and stays where it is for a
 * tail call. Whatever a program holds is in its frames, which are objects, or in a local variable
 * of a function below, which the collector sees: there is nothing to register, and so nothing to
 * forget when an error leaves by longjmp. */
#include "code.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

volatile sig_atomic_t scheme_interrupted;

/* ---- errors and escapes ---- */

/* Back to `c`. Continuations of calls that are left on the way lead nowhere from here on. */
static _Noreturn void jump_to(struct scheme *s, struct catch *c, value v)
{
    for (; s->top != c; s->top = s->top->up)
        if (s->top->by) s->top->by->at = NULL;
    if (c->by) c->by->at = NULL;
    s->top = c->up;
    c->thrown = v;
    longjmp(c->jump, 1);
}

void raise_value(struct scheme *s, value v)
{
    struct catch *c = s->top;
    while (c && c->by) c = c->up;
    if (!c) {
        print_error(stderr, v); /* before there is anything to come back to */
        exit(EXIT_FAILURE);
    }
    jump_to(s, c, v);
}

void fail(struct scheme *s, value irritant, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    struct string *message = new_string(s, text, strlen(text));
    struct condition *c = new_object(s, CONDITION);
    c->message = VALUE(message);
    c->irritants = irritant ? cons(s, irritant, NIL) : NIL;
    raise_value(s, VALUE(c));
}

void print_error(FILE *out, value v)
{
    fputs("error: ", out);
    if (is(v, CONDITION)) {
        print(out, AS(condition, v)->message, false);
        for (v = AS(condition, v)->irritants; is_pair(v); v = cdr(v)) {
            putc(' ', out);
            print(out, car(v), true);
        }
    } else {
        print(out, v, true);
    }
    putc('\n', out);
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

/* run(s, what), with its result; or false, with what it raised. Who catches that there is no memory
 * needs some: before anything new lies behind what died, whose end is the new object's address. */
bool try(struct scheme *s, value (*run)(struct scheme *, void *), void *what, value *result)
{
    struct catch c = { .up = s->top };
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

/* ---- calls ---- */

static _Noreturn void wrong_count(struct scheme *s, value f, size_t n)
{
    fail(s, f, "called with %zu argument%s", n, n == 1 ? "" : "s");
}

static const char *skip_bar(const char *t)
{
    return *t == '|' ? t + 1 : t;
}

static value call_primitive(struct scheme *s, struct primitive *p, size_t n, value *arg)
{
    const char *t = skip_bar(p->types);
    if (n < p->least || n > p->most) wrong_count(s, VALUE(p), n);
    for (size_t i = 0; i < n; i++) {
        if (*t != '.' && !of_type(arg[i], *t))
            fail(s, arg[i], "%s: argument %zu is no %s", p->name, i + 1, type_name(*t));
        if (t[1] != '*' && t[1] != 0) t = skip_bar(t + 1);
    }
    return p->run(s, arg, n);
}

/* Anything but a closure. */
static value call_other(struct scheme *s, value f, size_t n, value *arg)
{
    if (is(f, PRIMITIVE)) return call_primitive(s, AS(primitive, f), n, arg);
    if (!is(f, CONTINUATION)) fail(s, f, "this is no procedure");
    struct catch *to = AS(continuation, f)->at;
    if (n != 1) wrong_count(s, f, n);
    if (!to) fail(s, UNASSIGNED, "the call that this continuation would return from has returned");
    jump_to(s, to, arg[0]);
}

/* A frame with arguments that are there already. */
static struct frame *bind(struct scheme *s, struct closure *c, size_t n, value *arg)
{
    const struct node *lambda = c->lambda;
    if (n < lambda->least || (n > lambda->least && !lambda->rest)) wrong_count(s, VALUE(c), n);
    struct frame *f = new_frame(s, c->env, lambda->slots);
    for (size_t i = 0; i < lambda->least; i++) f->slot[i] = arg[i];
    if (!lambda->rest) return f;
    value rest = NIL;
    while (n > lambda->least) rest = cons(s, arg[--n], rest);
    f->slot[lambda->least] = rest;
    return f;
}

value tail_call(struct scheme *s, value f, struct vector *args)
{
    s->next = f;
    s->next_args = args;
    return TAIL_CALL;
}

/* Calls what tail_call() said, until it is a closure's turn; that goes to *c, else the result is
 * returned. */
static value call_next(struct scheme *s, struct closure **c, struct vector **args)
{
    for (;;) {
        value f = s->next;
        *args = s->next_args;
        s->next = UNASSIGNED;
        s->next_args = NULL;
        *c = is(f, CLOSURE) ? AS(closure, f) : NULL;
        if (*c) return TAIL_CALL;
        value v = call_other(s, f, (*args)->length, (*args)->item);
        if (v != TAIL_CALL) return v;
    }
}

value apply(struct scheme *s, value f, size_t n, value *arg)
{
    struct closure *c = is(f, CLOSURE) ? AS(closure, f) : NULL;
    struct vector *args = NULL;
    if (!is(f, CLOSURE)) {
        check_stack(s);
        value v = call_other(s, f, n, arg);
        if (v == TAIL_CALL) v = call_next(s, &c, &args);
        if (v != TAIL_CALL) return v;
    }
    struct frame *env = args ? bind(s, c, args->length, args->item) : bind(s, c, n, arg);
    return eval(s, c->lambda->kid[0], env);
}

/* ---- running nodes ---- */

static _Noreturn void unbound(struct scheme *s, const struct node *n)
{
    if (n->op == GLOBAL) fail(s, n->datum, "unbound variable");
    fail(s, UNASSIGNED, "a variable is used before its definition");
}

static inline struct frame *frame_at(struct frame *env, unsigned depth)
{
    for (; depth > 0; depth--) env = env->up;
    return env;
}

/* The value of a node that is not the last thing to do; most are variables and constants. */
static inline value operand(struct scheme *s, const struct node *n, struct frame *env)
{
    value v;
    if (n->op == LOCAL) v = frame_at(env, n->depth)->slot[n->index];
    else if (n->op == GLOBAL) v = AS(symbol, n->datum)->value;
    else if (n->op == CONSTANT_OP) return n->datum;
    else return eval(s, n, env);
    if (!v) unbound(s, n);
    return v;
}

static struct frame *operands_to_frame(struct scheme *s, struct closure *c, const struct node *n,
                                       struct frame *env)
{
    const struct node *lambda = c->lambda;
    size_t count = n->count - 1, i = 0;
    if (count < lambda->least || (count > lambda->least && !lambda->rest))
        wrong_count(s, VALUE(c), count);
    struct frame *f = new_frame(s, c->env, lambda->slots);
    for (; i < lambda->least; i++) f->slot[i] = operand(s, n->kid[i + 1], env);
    if (!lambda->rest) return f;
    value *end = &f->slot[i];
    for (*end = NIL; i < count; i++) {
        value v = operand(s, n->kid[i + 1], env);
        end = add_last(s, end, v);
    }
    return f;
}

/* Arguments are in an array on the stack, which is a root; many are in a vector. Not part of
 * eval(), whose frame is to be small. */
static __attribute__((noinline)) value call_with_operands(struct scheme *s, value f,
                                                          const struct node *n, struct frame *env)
{
    value few[6], *arg = few;
    size_t count = n->count - 1;
    if (count > sizeof few / sizeof *few) arg = new_vector(s, count)->item;
    for (size_t i = 0; i < count; i++) arg[i] = operand(s, n->kid[i + 1], env);
    return call_other(s, f, count, arg);
}

static const struct node *select_clause(const struct node *n, value key)
{
    struct vector *lists = AS(vector, n->datum);
    for (size_t i = 0; i < lists->length; i++) {
        value list = lists->item[i];
        while (is_pair(list) && !same(car(list), key)) list = cdr(list);
        if (list != NIL) return n->kid[i + 1];
    }
    return NULL;
}

static value make_closure(struct scheme *s, const struct node *n, struct frame *env)
{
    struct closure *c = new_object(s, CLOSURE);
    c->lambda = n;
    c->env = env;
    return VALUE(c);
}

value eval(struct scheme *s, const struct node *n, struct frame *env)
{
    value v;
    check_stack(s);
    for (;;) {
        switch (n->op) {
        case CONSTANT_OP:
        case LOCAL:
        case GLOBAL: return operand(s, n, env);
        case SET_LOCAL:
            v = operand(s, n->kid[0], env);
            frame_at(env, n->depth)->slot[n->index] = v;
            return NOTHING;
        case SET_GLOBAL:
            v = operand(s, n->kid[0], env);
            if (!AS(symbol, n->datum)->value) fail(s, n->datum, "set! of an unbound variable");
            AS(symbol, n->datum)->value = v;
            return NOTHING;
        case DEFINE_GLOBAL:
            v = operand(s, n->kid[0], env);
            set_global(s, AS(symbol, n->datum), v);
            return NOTHING;
        case TEST:
            n = operand(s, n->kid[0], env) != FALSE ? n->kid[1] : n->kid[2];
            continue;
        case AND:
        case OR: {
            size_t i = 0;
            for (; i < n->count - 1; i++) {
                v = operand(s, n->kid[i], env);
                if ((v != FALSE) == (n->op == OR)) return v;
            }
            n = n->kid[i];
            continue;
        }
        case SEQUENCE:
            for (size_t i = 0; i < n->count - 1; i++) operand(s, n->kid[i], env);
            n = n->kid[n->count - 1];
            continue;
        case MAKE_CLOSURE: return make_closure(s, n, env);
        case ENTER: {
            struct frame *f = new_frame(s, env, n->slots);
            for (size_t i = 1; i < n->count; i++) f->slot[i - 1] = operand(s, n->kid[i], env);
            env = f;
            n = n->kid[0];
            continue;
        }
        case SELECT:
            n = select_clause(n, operand(s, n->kid[0], env));
            if (!n) return NOTHING;
            continue;
        case CALL: {
            struct closure *c;
            struct vector *args;
            value f = operand(s, n->kid[0], env);
            if (scheme_interrupted) {
                scheme_interrupted = 0;
                fail(s, UNASSIGNED, "interrupted");
            }
            if (is(f, CLOSURE)) {
                c = AS(closure, f);
                env = operands_to_frame(s, c, n, env);
            } else {
                v = call_with_operands(s, f, n, env);
                if (v == TAIL_CALL) v = call_next(s, &c, &args);
                if (v != TAIL_CALL) return v;
                env = bind(s, c, args->length, args->item);
            }
            n = c->lambda->kid[0];
            continue;
        }
        }
    }
}

/* ---- procedures about control ---- */

PROCEDURE(apply_)
{
    value list = arg[n - 1];
    size_t last = list_length(s, "apply", list), i = 0;
    struct vector *args = new_vector(s, n - 2 + last);
    for (; i < n - 2; i++) args->item[i] = arg[i + 1];
    for (; list != NIL; list = cdr(list)) args->item[i++] = car(list);
    return tail_call(s, arg[0], args);
}

/* A continuation is good until the call that made it returns. */
PROCEDURE(call_cc)
{
    struct continuation *k = new_object(s, CONTINUATION);
    struct catch c = { .up = s->top, .by = k };
    value self = VALUE(k);
    k->at = s->top = &c;
    if (setjmp(c.jump) == 0) {
        c.thrown = apply(s, arg[0], 1, &self);
        c.by->at = NULL;
        s->top = c.up;
    }
    return c.thrown;
}

static value call_thunk(struct scheme *s, void *f)
{
    return apply(s, f, 0, NULL);
}

PROCEDURE(guard)
{
    value v;
    if (try(s, call_thunk, arg[0], &v)) return v;
    struct vector *args = new_vector(s, 1);
    args->item[0] = v;
    return tail_call(s, arg[1], args);
}

PROCEDURE(raise_)
{
    raise_value(s, arg[0]);
}

PROCEDURE(error)
{
    struct condition *c = new_object(s, CONDITION);
    c->message = arg[0];
    c->irritants = NIL;
    while (n > 1) c->irritants = cons(s, arg[--n], c->irritants);
    raise_value(s, VALUE(c));
}

EXPRESSION(is_error, boolean(is(arg[0], CONDITION)))
EXPRESSION(error_message, AS(condition, arg[0])->message)
EXPRESSION(error_irritants, AS(condition, arg[0])->irritants)
EXPRESSION(eval_, eval(s, compile(s, arg[0], NULL), NULL))

PROCEDURE(exit_)
{
    fflush(stdout);
    exit(n == 0 || arg[0] == TRUE ? 0 : is_fixnum(arg[0]) ? (int)(fixnum_of(arg[0]) & 255) : 1);
}

void define_all(struct scheme *s, const struct definition *d)
{
    for (; d->name; d++) {
        struct primitive *p = new_object(s, PRIMITIVE);
        size_t letters = strlen(d->types), least = strcspn(d->types, "|*");
        bool any = letters > 0 && d->types[letters - 1] == '*';
        p->name = d->name;
        p->types = d->types;
        p->least = (unsigned)(d->types[least] == '*' ? least - 1 : least);
        p->most = any ? UINT32_MAX : (unsigned)(d->types[least] == '|' ? letters - 1 : letters);
        p->run = d->run;
        set_global(s, AS(symbol, named(s, d->name)), VALUE(p));
    }
}

void define_control(struct scheme *s)
{
    static const struct definition all[] = {
        { "apply", "...*", apply_ },
        { "call/cc", ".", call_cc },
        { "call-with-current-continuation", ".", call_cc },
        { "%guard", "..", guard },
        { "raise", ".", raise_ },
        { "error", "..*", error },
        { "error-object?", ".", is_error },
        { "error-object-message", "e", error_message },
        { "error-object-irritants", "e", error_irritants },
        { "eval", ".", eval_ },
        { "exit", "|.", exit_ },
        { NULL, NULL, NULL },
    };
    define_all(s, all);
}
