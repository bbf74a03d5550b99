/* profile_print.c - the heap profile as text: a line for each of the first sites.
 *
 * Owns: nothing. The output is collected in memory and written in one go. */
#include "cancel.h"
#include "output.h"
#include "profile.h"
#include "symbol.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FRAMES 6 /* shown of a site */

typedef struct printing {
    FILE *out;
    size_t left, rows; /* sites to print; all that there are */
    double total[4]; /* by oak_profile_order */
    double all;      /* of `order`; of changes, in both directions */
    oak_profile_order order;
} printing;

static double figure(const oaki_site_figures *f, oak_profile_order order)
{
    const double all[] = { f->live_bytes, f->live_objects, f->alloc_bytes, f->alloc_objects };
    return all[order];
}

static void print_bytes(FILE *out, double n, int width)
{
    static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB" };
    unsigned u = 0;
    for (; fabs(n) >= 1024 && u + 1 < OAKI_COUNT(unit); u++) n /= 1024;
    fprintf(out, "%*.*f %-*s", width, u ? 1 : 0, n, width ? 3 : 0, unit[u]);
}

/* Replaces control characters and bytes beyond ASCII, which could control a terminal. */
static void print_text(FILE *out, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c >= ' ' && c < 127) fputc(c, out);
        else fprintf(out, "\\x%02x", c);
    }
}

static void print_frame(FILE *out, const oak_frame *f)
{
    char place[128];
    const char *name = oaki_symbol_of_frame(f, place, sizeof place);
    print_text(out, name, strlen(name));
    if (!f->file || !f->line) return;
    const char *slash = strrchr(f->file, '/'), *base = slash ? slash + 1 : f->file;
    fputs(" (", out);
    print_text(out, base, strlen(base));
    fprintf(out, ":%d)", f->line);
}

static void print_labels(FILE *out, const oak_profile_site *s)
{
    for (size_t i = 0; i < s->nlabels; i++) {
        const oak_label *l = &s->labels[i];
        fputs(i ? ", " : "  {", out);
        print_text(out, l->key, l->key_len);
        fputc('=', out);
        if (l->value) print_text(out, l->value, l->value_len);
        else fprintf(out, "%lld", (long long)l->number);
        if (!l->value) print_text(out, l->unit, l->unit_len);
    }
    if (s->nlabels) fputc('}', out);
}

static bool print_site(const oak_profile_site *s, void *ctx)
{
    printing *p = ctx;
    const double mine[] = { (double)s->inuse_bytes, (double)s->inuse_objects,
                            (double)s->alloc_bytes, (double)s->alloc_objects };
    if (p->left-- == 0) return false;
    print_bytes(p->out, mine[OAK_PROFILE_INUSE_BYTES], 9);
    fprintf(p->out, " %10lld  ", (long long)s->inuse_objects);
    print_bytes(p->out, mine[OAK_PROFILE_ALLOC_BYTES], 9);
    fprintf(p->out, " %12lld %6.2f%%  ", (long long)s->alloc_objects,
            p->all > 0 ? 100 * mine[p->order] / p->all : 0);
    for (size_t i = 0; i < OAKI_MIN(s->nframes, (size_t)FRAMES); i++) {
        if (i) fputs(" < ", p->out);
        print_frame(p->out, &s->frames[i]);
    }
    print_labels(p->out, s);
    fputc('\n', p->out);
    return p->left > 0;
}

static void print_head(printing *p, const oak_profile *r)
{
    static const char *const by[] = { "bytes in use", "objects in use", "bytes allocated",
                                      "objects allocated" };
    for (size_t i = 0; i < r->n; i++) {
        const oak_profile_site s = oaki_profile_shown(&r->row[i]);
        p->rows += !oaki_profile_is_empty(&s);
        p->all += fabs(figure(&r->row[i].f, p->order));
        for (unsigned k = 0; k < 4; k++)
            p->total[k] += figure(&r->row[i].f, (oak_profile_order)k);
    }
    fprintf(p->out, "heap profile: one byte in %zu, by %s; in use ", r->rate, by[p->order]);
    print_bytes(p->out, p->total[OAK_PROFILE_INUSE_BYTES], 0);
    fprintf(p->out, " in %.0f objects, allocated ", p->total[OAK_PROFILE_INUSE_OBJECTS]);
    print_bytes(p->out, p->total[OAK_PROFILE_ALLOC_BYTES], 0);
    fprintf(p->out, " in %.0f objects\n", p->total[OAK_PROFILE_ALLOC_OBJECTS]);
    fprintf(p->out, "%13s %10s  %13s %12s %7s  %s\n", "in use", "objects", "allocated", "objects",
            "share", "site");
}

static int print(const oak_profile *r, FILE *out, oak_profile_order order, size_t top)
{
    printing p = { .out = out, .left = top, .order = order };
    print_head(&p, r);
    if (top > 0 && oak_profile_each(r, order, print_site, &p) != 0) return -1;
    if (top > 0 && p.rows > top) fprintf(out, "%61s  and %zu more\n", "", p.rows - top);
    return 0;
}

int oak_profile_print(const oak_profile *p, int fd, oak_profile_order order, size_t top)
{
    OAKI_NO_CANCEL;
    char *text = NULL;
    size_t n = 0;
    if ((unsigned)order > OAK_PROFILE_ALLOC_OBJECTS) {
        errno = EINVAL;
        return -1;
    }
    const oak_profile *r = oaki_profile_borrow(p);
    if (!r) return -1;
    FILE *out = open_memstream(&text, &n);
    int result = out ? print(r, out, order, top) : -1;
    bool whole = out && fclose(out) == 0;
    if (!whole) result = -1;
    if (result == 0) result = oaki_write_all(fd, text, n);
    else errno = ENOMEM;
    int saved = errno;
    free(text);
    oaki_profile_return(r, p);
    errno = saved;
    return result;
}
