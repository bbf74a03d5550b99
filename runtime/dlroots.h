/* dlroots.h - what the files of the roots share: roots.c (the whole, and registered ranges),
 * dlroots.c (loaded objects), tlsroots.c (thread-local storage), stackroots.c (stacks and
 * registers).
 *
 * All that is called visit runs in a stopped world and takes no lock. */
#ifndef OAKI_DLROOTS_H
#define OAKI_DLROOTS_H

#include "roots.h"

/* Who asked for the roots. */
typedef struct oaki_root_visitor {
    void (*fn)(const oaki_root *root, void *ctx);
    void *ctx;
} oaki_root_visitor;

/* A loaded object's PT_TLS whose blocks are not known to be in static TLS. */
typedef struct oaki_tls_module {
    size_t modid, size;
    size_t name; /* offset in the names */
} oaki_tls_module;

/* Hand [root->lo, root->hi), cut to aligned words, to the visitor. */
void oaki_root_emit(const oaki_root_visitor *v, oaki_root root);

/* The same without what is excluded, and in a stop without the caller's own frames. Exclusions are
 * the program's addresses: they hold for lo + shift. */
void oaki_root_emit_cut(const oaki_root_visitor *v, oaki_root root);

/* The same without the runtime's own data, which may be in what only might be a stack. What the
 * program has excluded stays in it. */
void oaki_root_emit_unknown(const oaki_root_visitor *v, oaki_root root);

/* ---- dlroots.c ---- */

int oaki_dlroots_init(void);
void oaki_dlroots_visit(const oaki_root_visitor *v);
const oaki_tls_module *oaki_dlroots_tls(size_t *n);
const char *oaki_dlroots_name(size_t offset);

/* ---- tlsroots.c ---- */

void oaki_tlsroots_init(void);
/* A module's block was seen at `data` in the thread whose pointer is tp: is it static TLS? */
bool oaki_tlsroots_learn(const char *tp, const char *data);
/* The thread's static TLS and descriptor. */
void oaki_tlsroots_static(const char *tp, const char **lo, const char **hi);
/* Does its vector of dynamic blocks look as if it can be followed? */
bool oaki_tlsroots_sane(const char *tp);
void oaki_tlsroots_visit(const oaki_root_visitor *v, const oaki_thread *t);

/* ---- stackroots.c ---- */

void oaki_stackroots_visit(const oaki_root_visitor *v, oaki_thread *t);

#endif
