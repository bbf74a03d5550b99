/* scheme.h - a small Scheme on Oakum: its values, its objects, and what its files offer each other.
 *
 * Nothing here is freed by hand, counted or registered: an object lives as long as it is reached
 * from a C stack, and the collector scans those. The interpreter's state is an object as well; a
 * local variable of main() is what keeps it. docs/embedding.md walks through all of it.
 *
 * object.c   how objects look to the collector, and making them
 * text.c     reading and printing
 * compile.c  from data to trees of nodes
 * eval.c     running those: calls, tail calls, errors, escapes
 * number.c   arithmetic
 * library.c  the other procedures
 * heap.c     what Oakum itself offers: tables, weak references, ports, (gc), (heap), (why x)
 * main.c     the command */
#ifndef SCHEME_H
#define SCHEME_H

#include <oakum/oakum.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>

/* ---- values ----
 *
 * A word. Its low bits say what it is:
 *   ...1     an integer of 63 bits
 *   0010     a pair, which has no room for a kind
 *   0100     an object that begins with its kind
 *   0110     one of a kind: (), #f, ...
 *   1110     a character, in the bits from 8 up
 * A pointer with a tag is a pointer into its object, and so keeps it alive as any other would. It
 * is better than one without: a word on a stack that is an object's very beginning may also be the
 * end of the object before, which so is kept as well.
 * The null pointer is no value: fresh memory is zero, and so a fresh variable is unassigned. */
typedef struct object *value;

#define UNASSIGNED ((value)0)
#define CONSTANT(n) ((value)(uintptr_t)((n) << 4 | 6))
#define NIL CONSTANT(0)
#define FALSE CONSTANT(1)
#define TRUE CONSTANT(2)
#define NOTHING CONSTANT(3)   /* what set! and the like return */
#define END CONSTANT(4)       /* of a file */
#define TAIL_CALL CONSTANT(5) /* from a primitive: go on with s->next */

enum kind {
    FLONUM = 1, STRING, SYMBOL, VECTOR, CLOSURE, PRIMITIVE, SYNTAX, CONTINUATION, CONDITION, TABLE,
    WEAK, PORT, PAIR, FRAME, INTERPRETER, KINDS /* the last three are not written in objects */
};

struct object { enum kind kind; };
struct pair { value car, cdr; };
struct flonum { enum kind kind; double number; };
struct string { enum kind kind; size_t length; char bytes[]; };
struct symbol { enum kind kind; value value; struct string *name; };
struct vector { enum kind kind; size_t length; value item[]; };
struct condition { enum kind kind; value message, irritants; };

struct entries; /* heap.c */
struct table { enum kind kind; struct entries *entries; };
struct weak { enum kind kind; oak_weak *reference; };
struct port { enum kind kind; FILE *file; /* NULL: closed */ };

/* What the variables of one call are in; a closure keeps the frames that it was made in. */
struct frame { struct frame *up; value slot[]; };

/* Code (compile.c). */
struct node;
struct closure { enum kind kind; const struct node *lambda; struct frame *env; };

/* `types` has a letter for each argument, as of_type() knows them; behind a '|', for each that may
 * be left out; a letter before a '*' at the end stands for any number, none included. */
struct scheme;
typedef value procedure(struct scheme *s, value *arg, size_t n);
struct primitive {
    enum kind kind;
    unsigned least, most;
    const char *name, *types;
    procedure *run;
};

struct scope;
typedef struct node *compiler(struct scheme *s, value form, struct scope *scope);
struct syntax { enum kind kind; const char *name; compiler *compile; };

/* A place that is jumped back to: by errors, or through a continuation. */
struct catch {
    struct catch *up;
    struct continuation *by; /* NULL: errors */
    value thrown;
    jmp_buf jump;
};
struct continuation { enum kind kind; struct catch *at; /* NULL: that call has returned */ };

/* The interpreter. */
enum well_known {
    ELSE, ARROW, QUOTE, QUASIQUOTE, UNQUOTE, UNQUOTE_SPLICING, DEFINE, BEGIN, LET, IF, LAMBDA, COND,
    CONS, APPEND, TO_VECTOR, RAISE, GUARD, WELL_KNOWN
};

typedef struct symbol *symbol_key;
OAK_MAP_DEFINE(bindings, symbol_key, bool);

struct scheme {
    oak_weakvalue *symbols;   /* by name; one that nobody refers to goes */
    bindings *globals;        /* the symbols that have a value, which must stay for it */
    struct symbol *known[WELL_KNOWN];
    value core[WELL_KNOWN];   /* what those meant at first, whatever programs make of the names */
    value out_of_memory;      /* a condition: there is no memory to make one when it is due */
    value next;               /* of a TAIL_CALL: the procedure and its arguments */
    struct vector *next_args;
    value arguments;          /* of the command */
    struct catch *top;        /* on the C stack, as is all that it leads to */
    char *stack_end;          /* no call goes below */
};

/* Set by a signal; the next call raises an error. */
extern volatile sig_atomic_t scheme_interrupted;

/* ---- looking at values ---- */

static inline uintptr_t bits_of(value v) { return (uintptr_t)v; }
static inline bool is_fixnum(value v) { return bits_of(v) & 1; }
static inline intptr_t fixnum_of(value v) { return (intptr_t)v >> 1; }
static inline value fixnum(intptr_t n) { return (value)((uintptr_t)n << 1 | 1); }
static inline value boolean(bool b) { return b ? TRUE : FALSE; }
static inline bool is_pair(value v) { return (bits_of(v) & 15) == 2; }
static inline struct pair *pair_of(value v) { return (struct pair *)(bits_of(v) - 2); }
static inline value car(value v) { return pair_of(v)->car; }
static inline value cdr(value v) { return pair_of(v)->cdr; }
static inline bool is_object(value v) { return (bits_of(v) & 15) == 4; }
static inline struct object *object_of(value v) { return (struct object *)(bits_of(v) - 4); }
static inline bool is(value v, enum kind kind)
{
    return is_object(v) && object_of(v)->kind == kind;
}
static inline bool is_char(value v) { return (bits_of(v) & 255) == 14; }
static inline value character(unsigned char c) { return (value)((uintptr_t)c << 8 | 14); }
static inline unsigned char char_of(value v) { return (unsigned char)(bits_of(v) >> 8); }

/* What a value is, once is() or of_type() has told: AS(string, v)->length. */
#define AS(type, v) ((struct type *)object_of(v))
#define VALUE(object) ((value)((uintptr_t)(object) + 4))

/* ---- object.c ---- */

struct scheme *new_scheme(void);
value cons(struct scheme *s, value a, value d);
value *add_last(struct scheme *s, value *end, value v); /* to a list; returns its new end */
value flonum(struct scheme *s, double d);
struct string *new_string(struct scheme *s, const char *bytes, size_t length); /* NULL: zeroes */
struct vector *new_vector(struct scheme *s, size_t length); /* unassigned: fill it */
struct symbol *intern(struct scheme *s, const char *name, size_t length);
struct symbol *new_symbol(struct scheme *s, const char *name, size_t length); /* not interned */
value named(struct scheme *s, const char *name);
struct frame *new_frame(struct scheme *s, struct frame *up, size_t slots);
void *new_object(struct scheme *s, enum kind kind);
void *new_code(struct scheme *s, size_t bytes);
void set_global(struct scheme *s, struct symbol *name, value v);
void *checked(struct scheme *s, void *p); /* p; NULL raises an error */

/* The name of the field at an offset in an object of the type of that name. */
void field_text(const char *type, size_t offset, char *out, size_t size);

bool same(value a, value b); /* eqv? */
int equal(value a, value b); /* -1: too deep, or too much, to tell */
uint64_t hash(value v, uint64_t seed);
bool of_type(value v, char type);
const char *type_name(char type);
size_t list_length(struct scheme *s, const char *who, value list); /* or an error */

/* ---- text.c ---- */

/* Text that is read: in a string of the heap, which this keeps, as it is on a stack. */
struct source {
    const char *name, *at, *end;
    unsigned line;
    const char *form;    /* where what is being read or run begins */
    unsigned form_line;
    bool show;           /* print results */
    bool reading;        /* an error is one of the text, not of running it */
    bool unfinished;     /* and would not be one with more text */
};

value read_value(struct scheme *s, struct source *in); /* END at the end */
bool parse_number(struct scheme *s, const char *text, size_t n, value *out);
void print(FILE *out, value v, bool quoted); /* quoted: as it is read */
size_t number_text(value v, char *out, size_t size);

/* ---- compile.c, eval.c ---- */

struct node *compile(struct scheme *s, value form, struct scope *scope); /* NULL: at the top */
value lambda_name(value closure); /* a symbol, or FALSE */
void define_syntax(struct scheme *s);
value eval(struct scheme *s, const struct node *n, struct frame *env);
value apply(struct scheme *s, value f, size_t n, value *args);
value tail_call(struct scheme *s, value f, struct vector *args); /* for primitives to return */
bool try(struct scheme *s, value (*run)(struct scheme *s, void *), void *what, value *result);
void check_stack(struct scheme *s);
void wipe_stack(void);

_Noreturn void raise_value(struct scheme *s, value v);
_Noreturn void fail(struct scheme *s, value irritant, const char *format, ...) OAK_PRINTF(3, 4);
void print_error(FILE *out, value v);

/* ---- the procedures ---- */

/* A procedure for programs: its arguments, and how many they are, of the types that its definition
 * says. */
#define PROCEDURE(name) \
    static value name(__attribute__((unused)) struct scheme *s, \
                      __attribute__((unused)) value *arg, __attribute__((unused)) size_t n)

#define EXPRESSION(name, e) \
    PROCEDURE(name) \
    { \
        return e; \
    }

struct definition { const char *name, *types; procedure *run; };
void define_all(struct scheme *s, const struct definition *d);
void define_control(struct scheme *s);
void define_numbers(struct scheme *s);
void define_library(struct scheme *s);
void define_heap(struct scheme *s);
struct string *read_file(struct scheme *s, const char *path);
value run_source(struct scheme *s, void *source);

#endif
