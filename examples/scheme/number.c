/* number.c - arithmetic: integers of 63 bits, which become doubles when a result does not fit, and
 * doubles. */
#include "scheme.h"

#include <math.h>

static double real(value v)
{
    return is_fixnum(v) ? (double)fixnum_of(v) : AS(flonum, v)->number;
}

/* The integer, or the double if it is too large for one. */
static value integer(struct scheme *s, intptr_t n)
{
    value v = fixnum(n);
    return fixnum_of(v) == n ? v : flonum(s, (double)n);
}

/* ---- two operands ---- */

static value add2(struct scheme *s, value a, value b)
{
    if (is_fixnum(a) && is_fixnum(b)) return integer(s, fixnum_of(a) + fixnum_of(b));
    return flonum(s, real(a) + real(b));
}

static value subtract2(struct scheme *s, value a, value b)
{
    if (is_fixnum(a) && is_fixnum(b)) return integer(s, fixnum_of(a) - fixnum_of(b));
    return flonum(s, real(a) - real(b));
}

static value multiply2(struct scheme *s, value a, value b)
{
    intptr_t n;
    if (is_fixnum(a) && is_fixnum(b) && !__builtin_mul_overflow(fixnum_of(a), fixnum_of(b), &n))
        return integer(s, n);
    return flonum(s, real(a) * real(b));
}

/* There are no fractions: what doesn't divide is a double. */
static value divide2(struct scheme *s, value a, value b)
{
    if (is_fixnum(a) && is_fixnum(b)) {
        if (b == fixnum(0)) fail(s, a, "/: division by zero");
        if (fixnum_of(a) % fixnum_of(b) == 0) return integer(s, fixnum_of(a) / fixnum_of(b));
    }
    return flonum(s, real(a) / real(b));
}

/* Less than, equal, greater: -1, 0, 1; 2 where one is no number. */
static int compare2(value a, value b)
{
    if (is_fixnum(a) && is_fixnum(b))
        return (fixnum_of(a) > fixnum_of(b)) - (fixnum_of(a) < fixnum_of(b));
    double x = real(a), y = real(b);
    return x < y ? -1 : x > y ? 1 : x == y ? 0 : 2;
}

/* ---- any number of operands ---- */

static value fold(struct scheme *s, value first, value *arg, size_t n,
                  value (*op)(struct scheme *, value, value))
{
    for (size_t i = 0; i < n; i++) first = op(s, first, arg[i]);
    return first;
}

PROCEDURE(add)
{
    return n == 2 ? add2(s, arg[0], arg[1]) : fold(s, fixnum(0), arg, n, add2);
}

EXPRESSION(multiply, fold(s, fixnum(1), arg, n, multiply2))

PROCEDURE(subtract)
{
    return n == 1 ? subtract2(s, fixnum(0), arg[0]) : fold(s, arg[0], arg + 1, n - 1, subtract2);
}

PROCEDURE(divide)
{
    return n == 1 ? divide2(s, fixnum(1), arg[0]) : fold(s, arg[0], arg + 1, n - 1, divide2);
}

/* Each operand and the next compare as one of two outcomes. */
static value chain(value *arg, size_t n, int one, int other)
{
    for (size_t i = 1; i < n; i++) {
        int c = compare2(arg[i - 1], arg[i]);
        if (c != one && c != other) return FALSE;
    }
    return TRUE;
}

EXPRESSION(equal_numbers, chain(arg, n, 0, 0))
EXPRESSION(less, chain(arg, n, -1, -1))
EXPRESSION(greater, chain(arg, n, 1, 1))
EXPRESSION(at_most, chain(arg, n, -1, 0))
EXPRESSION(at_least, chain(arg, n, 1, 0))

static value extreme(value *arg, size_t n, int side)
{
    value v = arg[0];
    for (size_t i = 1; i < n; i++)
        if (compare2(arg[i], v) == side) v = arg[i];
    return v;
}

EXPRESSION(least, extreme(arg, n, -1))
EXPRESSION(greatest, extreme(arg, n, 1))

/* ---- division of integers ---- */

static intptr_t divisor(struct scheme *s, value *arg, const char *who)
{
    if (arg[1] == fixnum(0)) fail(s, arg[0], "%s: division by zero", who);
    return fixnum_of(arg[1]);
}

EXPRESSION(quotient, integer(s, fixnum_of(arg[0]) / divisor(s, arg, "quotient")))
EXPRESSION(remainder_, fixnum(fixnum_of(arg[0]) % divisor(s, arg, "remainder")))

PROCEDURE(modulo)
{
    intptr_t d = divisor(s, arg, "modulo"), r = fixnum_of(arg[0]) % d;
    return fixnum(r != 0 && (r < 0) != (d < 0) ? r + d : r);
}

/* ---- doubles ---- */

EXPRESSION(to_inexact, flonum(s, real(arg[0])))
EXPRESSION(exp_, flonum(s, exp(real(arg[0]))))
EXPRESSION(log_, flonum(s, log(real(arg[0]))))
EXPRESSION(sin_, flonum(s, sin(real(arg[0]))))
EXPRESSION(cos_, flonum(s, cos(real(arg[0]))))
EXPRESSION(floor_, is_fixnum(arg[0]) ? arg[0] : flonum(s, floor(real(arg[0]))))
EXPRESSION(ceiling, is_fixnum(arg[0]) ? arg[0] : flonum(s, ceil(real(arg[0]))))
EXPRESSION(truncate_, is_fixnum(arg[0]) ? arg[0] : flonum(s, trunc(real(arg[0]))))
EXPRESSION(round_, is_fixnum(arg[0]) ? arg[0] : flonum(s, rint(real(arg[0]))))

PROCEDURE(to_exact)
{
    double d = real(arg[0]);
    if (is_fixnum(arg[0])) return arg[0];
    if (!(fabs(d) < 0x1p62) || d != trunc(d)) fail(s, arg[0], "exact: not an integer of 63 bits");
    return fixnum((intptr_t)d);
}

/* An integer when the argument and its root are. */
PROCEDURE(square_root)
{
    double root = sqrt(real(arg[0]));
    if (is_fixnum(arg[0]) && root < 0x1p31 &&
        fixnum((intptr_t)root * (intptr_t)root) == arg[0])
        return fixnum((intptr_t)root);
    return flonum(s, root);
}

/* ---- predicates, text ---- */

EXPRESSION(is_number, boolean(of_type(arg[0], 'n')))
EXPRESSION(is_integer, boolean(of_type(arg[0], 'n') && real(arg[0]) == trunc(real(arg[0]))))
EXPRESSION(is_exact, boolean(is_fixnum(arg[0])))
EXPRESSION(is_even, boolean(fixnum_of(arg[0]) % 2 == 0))
EXPRESSION(is_odd, boolean(fixnum_of(arg[0]) % 2 != 0))
EXPRESSION(is_zero, boolean(compare2(arg[0], fixnum(0)) == 0))

PROCEDURE(number_to_string)
{
    char text[64];
    return VALUE(new_string(s, text, number_text(arg[0], text, sizeof text)));
}

PROCEDURE(string_to_number)
{
    struct string *t = AS(string, arg[0]);
    value v;
    return parse_number(s, t->bytes, t->length, &v) ? v : FALSE;
}

void define_numbers(struct scheme *s)
{
    static const struct definition all[] = {
        { "+", "n*", add }, { "-", "nn*", subtract }, { "*", "n*", multiply },
        { "/", "nn*", divide }, { "=", "nn*", equal_numbers }, { "<", "nn*", less },
        { ">", "nn*", greater }, { "<=", "nn*", at_most }, { ">=", "nn*", at_least },
        { "min", "nn*", least }, { "max", "nn*", greatest }, { "quotient", "ii", quotient },
        { "modulo", "ii", modulo }, { "exact", "n", to_exact }, { "inexact", "n", to_inexact },
        { "exp", "n", exp_ }, { "log", "n", log_ }, { "sqrt", "n", square_root },
        { "sin", "n", sin_ }, { "cos", "n", cos_ }, { "floor", "n", floor_ },
        { "ceiling", "n", ceiling }, { "round", "n", round_ }, { "truncate", "n", truncate_ },
        { "number?", ".", is_number }, { "exact?", "n", is_exact }, { "integer?", ".", is_integer },
        { "even?", "i", is_even }, { "odd?", "i", is_odd }, { "zero?", "n", is_zero },
        { "remainder", "ii", remainder_ }, { "number->string", "n", number_to_string },
        { "string->number", "s", string_to_number },
        { NULL, NULL, NULL },
    };
    define_all(s, all);
}
