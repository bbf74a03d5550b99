/* scheme.h - a small Scheme on Oakum: its values, its objects, and what its files offer each other.
 *
 * Nothing here is freed by hand, counted or registered: an object lives as long as it is reached
 * from a C stack, and the collector scans those. docs/guide/embed.md begins with a smaller one. */
#ifndef SCHEME_H
#define SCHEME_H

#include <oakum/oakum.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>

/* A value is a word, whose low bits say what it is: ...1 an integer of 63 bits, 010 a pair, 100 an
 * object that begins with its kind, 110 a constant. A pointer with a tag is a pointer into its
 * object, and keeps it alive as any other would. No tag is 0: a word on a stack that is an object's
 * very beginning may be the end of the object before, and keeps that as well. And fresh memory is
 * zero: a fresh variable has no value. */
typedef struct object *value;

#define UNASSIGNED ((value)0)
#define NIL ((value)0x06)
#define FALSE ((value)0x16)
#define TRUE ((value)0x26)
#define NOTHING ((value)0x36)   /* what set! and the like return */
#define END ((value)0x46)       /* of a file */
#define TAIL_CALL ((value)0x56) /* go on with s->body in s->env */

enum kind {
    CONSTANT, FIXNUM, PAIR, INTERPRETER, /* no object begins with these */
    FLONUM, STRING, SYMBOL, VECTOR, CLOSURE, PRIMITIVE, FORM, MACRO, CONTINUATION, TABLE, WEAK,
    PORT, KINDS
};

struct object { enum kind kind; };
struct pair { value car, cdr; };
struct flonum { enum kind kind; double number; };
struct string { enum kind kind; size_t length; char bytes[]; };
struct symbol { enum kind kind; value value, name; };
struct vector { enum kind kind; size_t length; value item[]; };
struct closure { enum kind kind; value code, env; }; /* code: (parameters body ...) */
struct box { enum kind kind; void *to; };            /* what is not made of values */

/* A place to jump back to, in the C stack. Its owner is a continuation; for errors, FALSE. */
struct catch { struct catch *up; value owner, thrown; jmp_buf jump; };

typedef struct symbol *symbol_key;
OAK_MAP_DEFINE(bindings, symbol_key, bool);

struct scheme {
    oak_weakvalue *symbols; /* by name; one that nobody refers to goes */
    bindings *globals;      /* the symbols that have a value, which must stay for it */
    value out_of_memory;    /* the error: there is no memory to make one when it is due */
    value body, env;        /* of a TAIL_CALL */
    struct catch *top;
    char *stack_end;        /* no call goes below */
};

/* Text that is read, with a zero byte behind it. */
struct source {
    const char *name, *text, *at, *form; /* form: where what is being run begins */
    const char *counted;   /* how far lines have been counted: `line` of them before it */
    unsigned line;
    bool show, unfinished; /* print results; the last error is that the text ended */
};

extern volatile sig_atomic_t interrupted; /* set by a signal; the next call raises an error */

static inline uintptr_t bits_of(value v) { return (uintptr_t)v; }
static inline bool is_fixnum(value v) { return bits_of(v) & 1; }
static inline intptr_t fixnum_of(value v) { return (intptr_t)v >> 1; }
static inline value fixnum(intptr_t n) { return (value)((uintptr_t)n << 1 | 1); }
static inline bool is_pair(value v) { return (bits_of(v) & 7) == 2; }
static inline struct pair *pair_of(value v) { return (struct pair *)(bits_of(v) - 2); }
static inline value car(value v) { return pair_of(v)->car; }
static inline value cdr(value v) { return pair_of(v)->cdr; }
static inline bool is_object(value v) { return (bits_of(v) & 7) == 4; }
static inline struct object *object_of(value v) { return (struct object *)(bits_of(v) - 4); }
static inline value boolean(bool b) { return b ? TRUE : FALSE; }
static inline bool is(value v, enum kind kind)
{
    return is_object(v) && object_of(v)->kind == kind;
}

/* What a value is, once is() has told: AS(string, v)->length; and the value of an object. */
#define AS(type, v) ((struct type *)object_of(v))
#define VALUE(object) ((value)((uintptr_t)(object) + 4))

struct scheme *new_scheme(char *stack_end);
void *checked(struct scheme *s, void *p); /* p; NULL raises an error */
value cons(struct scheme *s, value a, value d);
value list_of(struct scheme *s, const value *item, size_t n, value rest);
size_t list_length(struct scheme *s, value list); /* or an error */
struct vector *vector_of(struct scheme *s, value list);
struct vector *new_vector(struct scheme *s, size_t length); /* unassigned: fill it */
value new_string(struct scheme *s, const char *bytes, size_t length); /* NULL: zeroes */
value new_object(struct scheme *s, const void *contents); /* of a kind of one size */
value new_box(struct scheme *s, enum kind kind, const void *to);
value intern(struct scheme *s, value name);
value named(struct scheme *s, const char *name);
void set_global(struct scheme *s, value name, value v);
const char *kind_name(enum kind kind);
void name_word(const char *type, size_t offset, char *out, size_t size);

value read_value(struct scheme *s, struct source *in); /* END at the end */
value parse_number(struct scheme *s, const char *text, size_t n); /* FALSE: it is none */
void place(struct source *in, const char *at, char *out, size_t size);
void print(FILE *out, value v, bool quoted, unsigned depth); /* quoted: as it is read */

typedef value body(struct scheme *s, void *what);
value eval(struct scheme *s, value x, value env);
value apply(struct scheme *s, value f, size_t n, value *arg);
value begin_call(struct scheme *s, value f, size_t n, value *arg); /* perhaps a TAIL_CALL */
void define_forms(struct scheme *s);
void check_stack(struct scheme *s);
void wipe_stack(void);
bool try(struct scheme *s, value owner, body *run, void *what, value *result);
_Noreturn void raise_value(struct scheme *s, value v);
_Noreturn void fail(struct scheme *s, value about, const char *format, ...) OAK_PRINTF(3, 4);

/* A procedure for programs: its names in C and in Scheme, its arguments' types, a letter for each
 * (library.c), the last for all that follow, and how many there are at least and at most. The
 * linker collects the definitions in a section. */
struct definition {
    const char *name, *types;
    size_t least, most;
    value (*run)(struct scheme *s, const char *name, value *arg, size_t n);
};
#define UNUSED __attribute__((unused))
#define MANY SIZE_MAX
#define DEFINITION(function, ...) \
    __attribute__((section("procedures"), used)) static const struct definition *const \
        function##_entry = &(const struct definition){ __VA_ARGS__ };
#define PROCEDURE(function, ...) \
    static value function(struct scheme *, const char *, value *, size_t); \
    DEFINITION(function, __VA_ARGS__, function) \
    static value function(UNUSED struct scheme *s, UNUSED const char *name, UNUSED value *arg, \
                          UNUSED size_t n)
#define EXPRESSION(function, name, types, least, most, e) \
    PROCEDURE(function, name, types, least, most) { return e; }

void define_procedures(struct scheme *s);
value call_primitive(struct scheme *s, const struct definition *d, size_t n, value *arg);
const char *read_file(struct scheme *s, value path);
value run_source(struct scheme *s, void *source);

#endif
