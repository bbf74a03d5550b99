/* why.c - the public calls of why.h for a path, and descriptions of paths and roots.
 *
 * Names come from outside: from a thread, a type, or a snapshot. As a terminal may show a
 * description, its control characters and bytes that are not UTF-8 become '?', and characters that
 * change the direction of text one for each byte.
 *
 * Owns nothing; a path belongs to its caller. */
#include "path.h"

#include "bidi.h"
#include "cancel.h"
#include "output.h"
#include "runtime/os.h"
#include "runtime/print.h"
#include "rootwords.h"
#include "utf8.h"
#include <errno.h>
#include <string.h>

#define TIMEOUT_NS (UINT64_C(60) * 1000000000)

oak_path *oaki_why_alive(const void *p, const char *own_sp)
{
    OAKI_NO_CANCEL;
    oak_path *path = NULL;
    oaki_image_answer answer;
    if (!oaki_heap_contains(p) && !oaki_heap_ready()) return NULL;
    oaki_code_map *code = oaki_os_map(sizeof *code);
    if (!code) {
        errno = ENOMEM;
        return NULL;
    }
    oaki_code_map_read(code);
    oaki_path_query query = { (uintptr_t)p, code };
    oaki_image_request r = { .work = oaki_path_work,
                             .arg = &query,
                             .timeout_ns = TIMEOUT_NS,
                             .own_sp = own_sp,
                             .keep_fd = -1 };
    if (oaki_image_take(&r, &answer) == 0) {
        path = oaki_path_read(answer.data, answer.n);
        int saved = errno;
        oaki_image_answer_free(&answer);
        errno = saved;
    }
    int saved = errno;
    oaki_os_release(code, sizeof *code);
    errno = saved;
    return path;
}

OAKI_NOINLINE oak_path *oak_why_alive(const void *p)
{
    return oaki_why_alive(p, OAKI_IMAGE_OWN_SP);
}

/* ---- descriptions ---- */

typedef struct text {
    char *out;
    size_t size, n; /* n includes characters that did not fit */
} text;

static void put(text *t, const char *format, ...) OAK_PRINTF(2, 3);
static void put(text *t, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    size_t at = OAKI_MIN(t->n, t->size);
    t->n += oaki_vformat(t->out + at, t->size - at, format, ap);
    va_end(ap);
}

/* C1 characters are 0xc2 and a byte below 0xa0. */
static bool is_control(const char *s)
{
    unsigned char c = (unsigned char)*s;
    return c < 0x20 || c == 0x7f || (c == 0xc2 && (unsigned char)s[1] < 0xa0);
}

static void put_name(text *t, const char *s)
{
    size_t n = strlen(s);
    while (n > 0) {
        size_t len = is_control(s) ? 0 : oaki_utf8_length(s, n);
        if (oaki_bidi_control(s, len)) len = 0;
        put(t, "%.*s", (int)len, s);
        if (len == 0) put(t, "?");
        s += len > 0 ? len : 1;
        n -= len > 0 ? len : 1;
    }
}

static void put_thread(text *t, const oak_root_info *r)
{
    put(t, "thread %d", r->thread);
    if (!r->thread_name[0]) return;
    put(t, " (");
    put_name(t, r->thread_name);
    put(t, r->caller ? ", which asks)" : ")");
}

static void put_quoted(text *t, const char *before, const char *name, const char *behind)
{
    put(t, "%s", before);
    put_name(t, name);
    put(t, "%s", behind);
}

/* Appends symbol, offset and file. */
static void put_place(text *t, const oak_root_info *r)
{
    if (r->where[0]) put_quoted(t, " `", r->where, "`");
    if (r->offset != SIZE_MAX && (r->offset > 0 || !r->where[0])) put(t, "+%zu", r->offset);
    if (r->file[0]) put_quoted(t, " in ", r->file, "");
}

static void put_word(text *t, const oak_root_info *r)
{
    if (r->address) put(t, ", word at %p", r->address);
}

static void put_function(text *t, const oak_root_info *r)
{
    if (r->where[0]) put_quoted(t, " ", r->where, "()");
}

static void put_root(text *t, const oak_root_info *r)
{
    switch (r->kind) {
    case OAK_ROOT_NONE: put(t, "nothing"); break;
    case OAK_ROOT_GLOBAL:
        put(t, "global");
        put_place(t, r);
        put_word(t, r);
        break;
    case OAK_ROOT_RANGE:
        put(t, "registered range");
        if (r->where[0]) put_place(t, r);
        put_word(t, r);
        break;
    case OAK_ROOT_PINNED: put(t, "pinned object"); break;
    case OAK_ROOT_TLS:
        put(t, "thread-local");
        put_place(t, r);
        put(t, " of ");
        put_thread(t, r);
        put_word(t, r);
        break;
    case OAK_ROOT_STACK:
    case OAK_ROOT_FIBER:
        put(t, r->kind == OAK_ROOT_STACK ? "stack of " : "stack of the fiber that runs on ");
        put_thread(t, r);
        if (r->where[0]) put_quoted(t, " in ", r->where, "()");
        put_word(t, r);
        break;
    case OAK_ROOT_REGISTER:
        put_quoted(t, r->where[0] ? "register " : "register", r->where, " of ");
        put_thread(t, r);
        break;
    case OAK_ROOT_FINALIZER:
        put(t, "finalizer");
        put_function(t, r);
        break;
    case OAK_ROOT_CLEANUP:
        put(t, "context of cleanup");
        put_function(t, r);
        break;
    case OAK_ROOT_WAITING:
        put(t, "no root: kept until finalizer");
        put_function(t, r);
        put(t, " has run");
        break;
    case OAK_ROOT_RUNTIME:
        if (r->thread == 0) {
            put(t, "marked by a function of the host");
            break;
        }
        put(t, "fiber that ");
        put_thread(t, r);
        put(t, " runs on");
        break;
    }
}

static void put_step(text *t, const oak_step *s, bool first)
{
    put(t, "  %s", first ? "" : "-> ");
    put_name(t, s->label);
    if (!first && s->label[0] && s->offset != SIZE_MAX)
        put(t, " (+%zu) ", s->offset);
    else if (!first && s->offset != SIZE_MAX)
        put(t, "+%zu ", s->offset);
    else if (s->label[0])
        put(t, first ? ": " : " ");
    put(t, "%p, ", s->object);
    put_name(t, s->type);
    put(t, ", %zu bytes", s->size);
    if (s->interior) put(t, ", interior +%zu", s->interior);
    put(t, "\n");
}

static text text_in(char *out, size_t n)
{
    if (!out) n = 0;
    if (n > 0) out[0] = '\0';
    return (text){ out, n, 0 };
}

size_t oak_root_format(const oak_root_info *root, char *out, size_t n)
{
    text t = text_in(out, n);
    if (root) put_root(&t, root);
    return t.n;
}

static void put_path(text *t, const oak_path *p)
{
    put(t, "%p (%zu bytes) ", p->object, p->size);
    if (p->length == 0) {
        put(t, "is reached from no root: the next collection frees it\n");
        return;
    }
    put(t, "is alive, %zu object%s from a root:\n", p->length, p->length == 1 ? "" : "s");
    put_root(t, &p->root);
    put(t, "\n");
    for (size_t i = 0; i < p->nsteps; i++) {
        if (p->length > p->nsteps && i == p->nsteps / 2)
            put(t, "  ... %zu more ...\n", p->length - p->nsteps);
        put_step(t, &p->steps[i], i == 0);
    }
}

size_t oak_path_format(const oak_path *path, char *out, size_t n)
{
    text t = text_in(out, n);
    if (path) put_path(&t, path);
    return t.n;
}

int oak_path_write(const oak_path *path, int fd)
{
    OAKI_NO_CANCEL;
    if (!path) return errno = EINVAL, -1;
    text t = { NULL, 0, 0 };
    put_path(&t, path);
    size_t mapped = t.n + 1;
    t = (text){ oaki_os_map(mapped), mapped, 0 };
    if (!t.out) {
        errno = ENOMEM;
        return -1;
    }
    put_path(&t, path);
    int r = oaki_write_all(fd, t.out, t.n);
    int saved = errno;
    oaki_os_release(t.out, mapped);
    errno = saved;
    return r;
}
