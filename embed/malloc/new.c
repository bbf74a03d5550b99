/* new.c - all forms of C++'s operators new and delete, on malloc and free.
 *
 * Some operators of a library with its own malloc (jemalloc, tcmalloc) use its own memory. Others
 * call malloc or free by name, and so this library's. The operators here come first, so one heap
 * serves all C++ code of a program. The program's own operators come before these. So a
 * form that the standard defines by another one calls that one by its name.
 *
 * A failed allocation is passed to the C++ library's operator, which calls the new-handler and
 * throws. It comes back here for memory. C code can't catch an exception. So a form that must not
 * throw is passed on, too, if the program has replaced the throwing form.
 *
 * Owns nothing. Lock: none. */
#include "preload.h"
#include "runtime/guard.h"
#include <dlfcn.h>
#include <malloc.h>

typedef struct nothrow nothrow; /* std::nothrow_t; passed by reference */

#define NEW OAKI_EXPORT OAKI_NOINLINE

/* ---- new ---- */

NEW void *_Znwm(size_t n);
NEW void *_Znam(size_t n);
NEW void *_ZnwmSt11align_val_t(size_t n, size_t align);
NEW void *_ZnamSt11align_val_t(size_t n, size_t align);
NEW void *_ZnwmRKSt9nothrow_t(size_t n, const nothrow *no);
NEW void *_ZnamRKSt9nothrow_t(size_t n, const nothrow *no);
NEW void *_ZnwmSt11align_val_tRKSt9nothrow_t(size_t n, size_t align, const nothrow *no);
NEW void *_ZnamSt11align_val_tRKSt9nothrow_t(size_t n, size_t align, const nothrow *no);

/* The operators under their global names: the program's, if it has replaced them. The compiler
 * binds the names above to this file's. */
#define ANY(name) __asm__(#name) __attribute__((visibility("default")))
void *any_new(size_t n) ANY(_Znwm);
void *any_new_array(size_t n) ANY(_Znam);
void *any_new_aligned(size_t n, size_t align) ANY(_ZnwmSt11align_val_t);
void *any_new_array_aligned(size_t n, size_t align) ANY(_ZnamSt11align_val_t);
void any_delete(void *p) ANY(_ZdlPv);
void any_delete_array(void *p) ANY(_ZdaPv);
void any_delete_aligned(void *p, size_t align) ANY(_ZdlPvSt11align_val_t);
void any_delete_array_aligned(void *p, size_t align) ANY(_ZdaPvSt11align_val_t);

/* The operators of this file, even if they are replaced. */
extern OAKI_HIDDEN void *own_new(size_t n) __attribute__((alias("_Znwm")));
extern OAKI_HIDDEN void *own_new_array(size_t n) __attribute__((alias("_Znam")));
extern OAKI_HIDDEN void *own_new_aligned(size_t n, size_t align)
    __attribute__((alias("_ZnwmSt11align_val_t")));
extern OAKI_HIDDEN void *own_new_array_aligned(size_t n, size_t align)
    __attribute__((alias("_ZnamSt11align_val_t")));

/* The compiler takes names of two symbols for two addresses. */
#define IS_OWN(any, own) __extension__({       \
        uintptr_t address_ = (uintptr_t)(any); \
        __asm__("" : "+r"(address_));          \
        address_ == (uintptr_t)(own);          \
    })

/* The C++ library's operator; if it has none, the next one in the order of loading. Fatal if there
 * is none, that is, in a program without C++. */
static OAKI_COLD void *standard(const char *name)
{
    void *library = dlopen("libstdc++.so.6", RTLD_LAZY | RTLD_NOLOAD);
    void *fn = library ? dlsym(library, name) : NULL;
    if (library) dlclose(library);
    if (!fn) fn = dlsym(RTLD_NEXT, name);
    if (!fn) oak_fatal("oakum: out of memory in operator new, and there is no C++ library");
    return fn;
}

#define STANDARD(form) ((__typeof__(&form))standard(#form))

void *_Znwm(size_t n)
{
    void *p = malloc(n);
    return OAKI_LIKELY(p != NULL) ? p : STANDARD(_Znwm)(n);
}

void *_Znam(size_t n)
{
    return any_new(n);
}

void *_ZnwmSt11align_val_t(size_t n, size_t align)
{
    void *p = memalign(align, n);
    return OAKI_LIKELY(p != NULL) ? p : STANDARD(_ZnwmSt11align_val_t)(n, align);
}

void *_ZnamSt11align_val_t(size_t n, size_t align)
{
    return any_new_aligned(n, align);
}

/* ---- new that doesn't throw ---- */

/* By the standard each of these calls the form that throws. */
static bool news(void)
{
    return IS_OWN(any_new, own_new);
}

static bool news_array(void)
{
    return IS_OWN(any_new_array, own_new_array) && news();
}

static bool news_aligned(void)
{
    return IS_OWN(any_new_aligned, own_new_aligned);
}

static bool news_array_aligned(void)
{
    return IS_OWN(any_new_array_aligned, own_new_array_aligned) && news_aligned();
}

void *_ZnwmRKSt9nothrow_t(size_t n, const nothrow *no)
{
    void *p = news() ? malloc(n) : NULL;
    return OAKI_LIKELY(p != NULL) ? p : STANDARD(_ZnwmRKSt9nothrow_t)(n, no);
}

void *_ZnamRKSt9nothrow_t(size_t n, const nothrow *no)
{
    void *p = news_array() ? malloc(n) : NULL;
    return OAKI_LIKELY(p != NULL) ? p : STANDARD(_ZnamRKSt9nothrow_t)(n, no);
}

void *_ZnwmSt11align_val_tRKSt9nothrow_t(size_t n, size_t align, const nothrow *no)
{
    void *p = news_aligned() ? memalign(align, n) : NULL;
    return OAKI_LIKELY(p != NULL) ? p : STANDARD(_ZnwmSt11align_val_tRKSt9nothrow_t)(n, align, no);
}

void *_ZnamSt11align_val_tRKSt9nothrow_t(size_t n, size_t align, const nothrow *no)
{
    void *p = news_array_aligned() ? memalign(align, n) : NULL;
    return OAKI_LIKELY(p != NULL) ? p : STANDARD(_ZnamSt11align_val_tRKSt9nothrow_t)(n, align, no);
}

/* ---- delete ---- */

/* The plain forms are aliases of functions that stay this file's if they are replaced. */
#define IS(name) __attribute__((alias(#name)))

OAKI_HIDDEN void own_delete(void *p);
OAKI_HIDDEN void own_delete_array(void *p);
OAKI_HIDDEN void own_delete_aligned(void *p, size_t align);
OAKI_HIDDEN void own_delete_array_aligned(void *p, size_t align);

NEW void _ZdlPv(void *p) IS(own_delete);
NEW void _ZdaPv(void *p) IS(own_delete_array);
NEW void _ZdlPvm(void *p, size_t n);
NEW void _ZdaPvm(void *p, size_t n);
NEW void _ZdlPvRKSt9nothrow_t(void *p, const nothrow *no);
NEW void _ZdaPvRKSt9nothrow_t(void *p, const nothrow *no);
NEW void _ZdlPvSt11align_val_t(void *p, size_t align) IS(own_delete_aligned);
NEW void _ZdaPvSt11align_val_t(void *p, size_t align) IS(own_delete_array_aligned);
NEW void _ZdlPvmSt11align_val_t(void *p, size_t n, size_t align);
NEW void _ZdaPvmSt11align_val_t(void *p, size_t n, size_t align);
NEW void _ZdlPvSt11align_val_tRKSt9nothrow_t(void *p, size_t align, const nothrow *no);
NEW void _ZdaPvSt11align_val_tRKSt9nothrow_t(void *p, size_t align, const nothrow *no);

void own_delete(void *p)
{
    free(p);
}

void own_delete_array(void *p)
{
    any_delete(p);
}

void own_delete_aligned(void *p, size_t align)
{
    (void)align;
    free(p);
}

void own_delete_array_aligned(void *p, size_t align)
{
    any_delete_aligned(p, align);
}

/* Whether the guard has reported that p is no live object. Objects that the program allocates in a
 * pool of its own are not in the heap, and not checked. own: no operator that this form calls is
 * the program's, which may put a header before what its new returns. */
static bool is_dead(const void *p, size_t n, bool own)
{
    return OAKI_UNLIKELY(oaki_guard.on) && own && oaki_guard_examine(p, n, "delete");
}

static bool deletes(void)
{
    return IS_OWN(any_delete, own_delete);
}

static bool deletes_aligned(void)
{
    return IS_OWN(any_delete_aligned, own_delete_aligned);
}

void _ZdlPvm(void *p, size_t n)
{
    if (!is_dead(p, n, deletes())) any_delete(p);
}

void _ZdaPvm(void *p, size_t n)
{
    bool own = IS_OWN(any_delete_array, own_delete_array) && deletes();
    if (!is_dead(p, n, own)) any_delete_array(p);
}

void _ZdlPvRKSt9nothrow_t(void *p, const nothrow *no)
{
    (void)no;
    any_delete(p);
}

void _ZdaPvRKSt9nothrow_t(void *p, const nothrow *no)
{
    (void)no;
    any_delete_array(p);
}

void _ZdlPvmSt11align_val_t(void *p, size_t n, size_t align)
{
    if (!is_dead(p, n, deletes_aligned())) any_delete_aligned(p, align);
}

void _ZdaPvmSt11align_val_t(void *p, size_t n, size_t align)
{
    bool own = IS_OWN(any_delete_array_aligned, own_delete_array_aligned) && deletes_aligned();
    if (!is_dead(p, n, own)) any_delete_array_aligned(p, align);
}

void _ZdlPvSt11align_val_tRKSt9nothrow_t(void *p, size_t align, const nothrow *no)
{
    (void)no;
    any_delete_aligned(p, align);
}

void _ZdaPvSt11align_val_tRKSt9nothrow_t(void *p, size_t align, const nothrow *no)
{
    (void)no;
    any_delete_array_aligned(p, align);
}
