/* utf8.h - bytes of any kind as UTF-8. */
#ifndef OAKI_UTF8_H
#define OAKI_UTF8_H

#include "runtime/base.h"

/* How many of the n bytes at s are one character of UTF-8, in its shortest form and no surrogate;
 * 0 when they begin with none. A zero byte is one. */
size_t oaki_utf8_length(const char *s, size_t n);

/* A copy of s in which each byte that is part of no character, or zero, is \xHH; where there is
 * one, a backslash of the original is \\. The host's malloc's, ended by a zero byte; its length in
 * *out_n. NULL without memory. */
char *oaki_utf8_escape(const char *s, size_t n, size_t *out_n);

#endif
