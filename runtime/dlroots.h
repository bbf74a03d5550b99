/* dlroots.h - shared by the files of the roots: roots.c (the whole, and registered ranges),
 * dlroots.c (loaded objects), tlsroots.c (thread-local storage), stackroots.c (stacks and
 * registers).
 *
 * All functions named visit run in a stopped world and take no lock. */
#ifndef OAKI_DLROOTS_H
#define OAKI_DLROOTS_H

#include "roots.h"

/* The receiver of the roots. */
typedef struct oaki_root_visitor {
    void (*fn)(const oaki_root *root, void *ctx);
    void *ctx;
} oaki_root_visitor;

/* A loaded object's PT_TLS whose blocks are not known to be in static TLS. */
typedef struct oaki_tls_module {
    size_t modid, size;
    size_t name; /* offset in the names */
} oaki_tls_module;

/* Passes [root->lo, root->hi), cut to aligned words, to the visitor. */
void oaki_root_emit(const oaki_root_visitor *v, oaki_root root);

/* The same without excluded ranges, and in a stop without the caller's own frames. Exclusions are
 * addresses in the program: they apply at lo + shift. */
void oaki_root_emit_cut(const oaki_root_visitor *v, oaki_root root);

/* The same without the runtime's own data, for memory that only might be a stack. Ranges that the
 * program excludes are not cut out here. */
void oaki_root_emit_unknown(const oaki_root_visitor *v, oaki_root root);

/* ---- dlroots.c ---- */

int oaki_dlroots_init(void);
void oaki_dlroots_visit(const oaki_root_visitor *v);
const oaki_tls_module *oaki_dlroots_tls(size_t *n);
const char *oaki_dlroots_name(size_t offset);

/* ---- tlsroots.c ---- */

void oaki_tlsroots_init(void);
/* A module's block is at `data` in the thread whose thread pointer is tp: is it static TLS? */
bool oaki_tlsroots_learn(const char *tp, const char *data);
/* The bounds of the thread's static TLS and descriptor. */
void oaki_tlsroots_static(const char *tp, const char **lo, const char **hi);
/* Does the thread's vector of dynamic blocks look sound enough to read? */
bool oaki_tlsroots_sane(const char *tp);
void oaki_tlsroots_visit(const oaki_root_visitor *v, const oaki_thread *t);

/* ---- stackroots.c ---- */

void oaki_stackroots_visit(const oaki_root_visitor *v, oaki_thread *t);

#endif
