/* utf8.h - arbitrary bytes as UTF-8. */
#ifndef OAKI_UTF8_H
#define OAKI_UTF8_H

#include "runtime/base.h"

/* The length of the UTF-8 character at s, within n bytes: shortest form, no surrogate; a zero byte
 * is one. 0 if there is none. */
size_t oaki_utf8_length(const char *s, size_t n);

/* A copy of s in which each byte that is zero, or part of no character, is written \xHH. If
 * there is such a byte, a backslash of the original becomes \\. The copy is the host's
 * malloc's and ends with a zero byte; *out_n is its length. NULL without memory. */
char *oaki_utf8_escape(const char *s, size_t n, size_t *out_n);

#endif
