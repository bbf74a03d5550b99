/* report.c - the report of the leak check, in a form that users of memcheck know.
 *
 * Sites whose innermost frames are equal are one record. The largest records come first. Kept and
 * indirectly lost blocks are only in the summary, unless --all asks for them.
 *
 * Owns nothing; its memory is of malloc, within oaki_quiet_begin. Bound: O(shown sites) look-ups of
 * names. */
#include "observe/output.h"
#include "observe/site.h"
#include "observe/symbol.h"
#include "preload.h"
#include "report.h"
#include "runtime/os.h"
#include "runtime/print.h"
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct text {
    char *p;
    size_t n, cap;
    bool failed;
} text;

static void put(text *t, const char *format, ...) OAK_PRINTF(2, 3);
static void put(text *t, const char *format, ...)
{
    va_list ap;
    for (;;) {
        va_start(ap, format);
        size_t room = t->cap - t->n, n = oaki_vformat(t->p ? t->p + t->n : NULL, room, format, ap);
        va_end(ap);
        if (n < room) {
            t->n += n;
            return;
        }
        size_t cap = OAKI_MAX(t->cap * 2, t->n + n + 4096);
        char *p = realloc(t->p, cap);
        if (!p) {
            t->failed = true;
            return;
        }
        t->p = p;
        t->cap = cap;
    }
}

/* Each line begins with the process id, as reports of several processes may go to one place. */
static void begin_line(text *t)
{
    put(t, "==%d== ", oaki_os_pid());
}

/* ---- records ---- */

typedef oaki_leak record;

static size_t compared(const oaki_site *s)
{
    return OAKI_MIN((size_t)s->nframes, (size_t)oaki_wanted.frames);
}

static int by_stack(const void *a, const void *b)
{
    const oaki_site *x = ((const record *)a)->site, *y = ((const record *)b)->site;
    size_t n = compared(x), m = compared(y);
    if (n != m) return n < m ? -1 : 1;
    return memcmp(x->frame, y->frame, n * sizeof x->frame[0]);
}

static uint64_t weight(const record *r)
{
    return r->of[OAKI_LOST].bytes + r->below.bytes;
}

static int by_weight(const void *a, const void *b)
{
    const record *x = a, *y = b;
    if (weight(x) != weight(y)) return weight(x) < weight(y) ? 1 : -1;
    for (int i = OAKI_LOSSES; i-- > 0;)
        if (x->of[i].bytes != y->of[i].bytes) return x->of[i].bytes < y->of[i].bytes ? 1 : -1;
    return by_stack(a, b);
}

static void add(oaki_sum *to, const oaki_sum *s)
{
    to->blocks += s->blocks;
    to->bytes += s->bytes;
}

/* Join neighbouring records with equal stacks; the records are sorted by stack. Returns how many
 * are left. */
static size_t join(record *r, size_t n)
{
    size_t last = 0;
    if (n == 0) return 0;
    for (size_t i = 1; i < n; i++) {
        if (by_stack(&r[last], &r[i]) != 0) {
            r[++last] = r[i];
            continue;
        }
        for (int k = 0; k < OAKI_LOSSES; k++) add(&r[last].of[k], &r[i].of[k]);
        add(&r[last].below, &r[i].below);
    }
    return last + 1;
}

static record *make_records(const oaki_lost *l, size_t *out)
{
    size_t n = *out = 0;
    record *r = malloc((l->n + 1) * sizeof *r);
    if (!r) return NULL;
    oaki_thread *t = oaki_enter();
    for (size_t i = 0; i < l->n; i++) {
        const oaki_site *s = oaki_site_by_id(l->site[i].id);
        if (!s) continue;
        r[n] = (record){ .site = s };
        memcpy(r[n].of, l->site[i].of, sizeof r[n].of);
        r[n++].below = l->site[i].below;
    }
    oaki_leave(t);
    qsort(r, n, sizeof *r, by_stack);
    n = join(r, n);
    qsort(r, n, sizeof *r, by_weight);
    *out = n;
    return r;
}

/* ---- names ---- */

const char *oaki_loss_words(oaki_loss loss)
{
    static const char *const words[] = { "still reachable", "possibly lost", "indirectly lost",
                                         "definitely lost" };
    return words[loss];
}

const char *oaki_loss_kind(oaki_loss loss)
{
    static const char *const kinds[] = { "reachable", "possible", "indirect", "definite" };
    return kinds[loss];
}

bool oaki_leak_is_listed(const oaki_leak *l, oaki_loss loss)
{
    if (l->of[loss].blocks == 0 || l->by[loss]) return false;
    return loss == OAKI_LOST || oaki_wanted.all ||
           (loss == OAKI_POSSIBLE && oaki_wanted.possible);
}

static bool is_main(const oak_frame *f)
{
    return f->function && strcmp(f->function, "main") == 0;
}

/* The stack ends at main, where a thread began, or at the last frame that is compared. */
bool oaki_leak_name(oaki_leak *l)
{
    const oaki_site *s = l->site;
    bool more = true;
    if (l->frame) return true;
    l->frame = malloc((compared(s) * OAKI_SYMBOL_INLINED + 1) * sizeof *l->frame);
    if (!l->frame) return false;
    for (size_t i = 0; i < compared(s) && more; i++) {
        if (i > 0 && oaki_stack_is_own(s->frame[i] - 1)) {
            more = false; /* where a thread began */
            break;
        }
        size_t n = oaki_symbol_of_code(oaki_site_code(s, i), l->frame + l->nframes);
        for (size_t k = 0; k < n && more; k++) more = !is_main(&l->frame[l->nframes++]);
    }
    l->to_end = !more || compared(s) < (size_t)oaki_wanted.frames;
    return true;
}

void oaki_leaks_free(oaki_leaks *l)
{
    for (size_t i = 0; i < l->n; i++) free(l->list[i].frame);
    free(l->list);
}

/* ---- text ---- */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Demangle a name if it is one of C++: a program in C++ has the demangler loaded. */
static void put_name(text *t, const char *name)
{
    char *(*demangle)(const char *, char *, size_t *, int *) = NULL;
    int status = -1;
    if (strncmp(name, "_Z", 2) == 0)
        *(void **)&demangle = dlsym(RTLD_DEFAULT, "__cxa_demangle");
    char *plain = demangle ? demangle(name, NULL, NULL, &status) : NULL;
    put(t, "%s", plain && status == 0 ? plain : name);
    free(plain);
}

static void put_frame(text *t, const oak_frame *f, bool first)
{
    begin_line(t);
    put(t, "   %s ", first ? "at" : "by");
    char place[128];
    put_name(t, oaki_symbol_of_frame(f, place, sizeof place));
    if (f->file && f->line > 0) put(t, " (%s:%d)\n", base_name(f->file), f->line);
    else if (f->object) put(t, " (in %s)\n", f->object);
    else put(t, "\n");
}

static void put_stack(text *t, record *r)
{
    if (!oaki_leak_name(r)) t->failed = true;
    for (size_t i = 0; i < r->nframes; i++) put_frame(t, &r->frame[i], i == 0);
    begin_line(t);
    put(t, "\n");
}

static void put_sum(text *t, const oaki_sum *s)
{
    put(t, "%llu byte%s in %llu block%s", (unsigned long long)s->bytes, s->bytes == 1 ? "" : "s",
        (unsigned long long)s->blocks, s->blocks == 1 ? "" : "s");
}

static void put_record(text *t, record *r, oaki_loss loss)
{
    const oaki_sum *s = &r->of[loss];
    if (!oaki_leak_is_listed(r, loss)) return;
    begin_line(t);
    put_sum(t, s);
    put(t, " %s %s", s->blocks == 1 ? "is" : "are", oaki_loss_words(loss));
    if (loss == OAKI_LOST && r->below.blocks > 0) {
        put(t, ", and ");
        put_sum(t, &r->below);
        put(t, " with %s", s->blocks == 1 ? "it" : "them");
    }
    put(t, "\n");
    put_stack(t, r);
}

static void put_line(text *t, const char *what, const oaki_sum *s)
{
    begin_line(t);
    put(t, "   %s: ", what);
    put_sum(t, s);
    put(t, "\n");
}

static void put_unused(void *ctx, const oaki_suppression *s)
{
    text *t = ctx;
    begin_line(t);
    put(t, "   unused suppression: %s (%s:%u)\n", s->name, s->file, s->line);
}

static void put_summary(text *t, const oaki_lost *l, const oaki_sum *suppressed)
{
    begin_line(t);
    put(t, "oakum: %s\n", l->of[OAKI_LOST].blocks ? "leaks:" : "no leaks:");
    put_line(t, "definitely lost", &l->of[OAKI_LOST]);
    put_line(t, "indirectly lost", &l->of[OAKI_INDIRECT]);
    put_line(t, "  possibly lost", &l->of[OAKI_POSSIBLE]);
    put_line(t, "still reachable", &l->of[OAKI_KEPT]);
    if (suppressed->blocks) put_line(t, "     suppressed", suppressed);
    if (oaki_wanted.verbose) oaki_suppressed_unused(put_unused, t);
    if (oaki_wanted.all && l->unknown.blocks)
        put_line(t, "lost, allocated before main or by the loader", &l->unknown);
    if (l->blind) {
        begin_line(t);
        put(t, "   what the program has mapped was not looked at: some of this may be in use\n");
    }
    if (l->kept_out) {
        begin_line(t);
        put(t, "   what the program keeps out of forks was not looked at: what only that refers to "
               "is told as lost\n");
    }
}

static void put_all(text *t, const oaki_leaks *all, const oaki_lost *l)
{
    for (size_t i = 0; i < all->n; i++)
        for (oaki_loss k = OAKI_LOST; k > OAKI_KEPT; k--) put_record(t, &all->list[i], k);
    for (size_t i = 0; i < all->n; i++) put_record(t, &all->list[i], OAKI_KEPT);
    if (!oaki_wanted.quiet || l->of[OAKI_LOST].blocks) put_summary(t, l, &all->suppressed);
}

/* ---- */

/* `written` is set to whether the files of leaks are written; if it is NULL, they aren't. */
static int make_text(text *t, oaki_lost *l, const char *own_sp, bool *written)
{
    if (oaki_lost_find(l, own_sp) != 0) {
        int error = errno;
        begin_line(t);
        if (error == EBUSY) put(t, "oakum: a thread does not stop: no report\n");
        else if (error == ENOMEM) put(t, "oakum: no memory to look at the heap: no report\n");
        else put(t, "oakum: the heap can't be looked at: %s\n", oaki_error_text(error));
        return -1;
    }
    oaki_leaks all = { .list = NULL };
    all.list = make_records(l, &all.n);
    t->failed |= !all.list || !oaki_suppressed_note(&all, l);
    put_all(t, &all, l);
    if (written) *written = !t->failed && oaki_leakfiles_write(&all, l);
    oaki_symbols_release();
    oaki_leaks_free(&all);
    oaki_lost_free(l);
    return 0;
}

bool oaki_report_leaks(const char *own_sp)
{
    text t = { 0 };
    oaki_lost l;
    bool said = false;
    if (!oaki_can_enter()) {
        (void)oaki_say("oakum: the program ended inside of malloc: its heap is not looked at");
        return false;
    }
    oaki_quiet_begin();
    (void)make_text(&t, &l, own_sp, &said);
    if (t.failed) said &= oaki_say("oakum: no memory for all of the report");
    said &= oaki_tell(t.p, t.n);
    free(t.p);
    oaki_quiet_end();
    return l.of[OAKI_LOST].blocks == 0 && said;
}

char *oaki_report_text(size_t *n)
{
    text t = { 0 };
    oaki_lost l;
    (void)make_text(&t, &l, NULL, NULL);
    if (t.failed) {
        free(t.p);
        return NULL;
    }
    *n = t.n;
    return t.p ? t.p : calloc(1, 1); /* nothing to tell */
}
