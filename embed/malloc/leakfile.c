/* leakfile.c - the files that are written of leaks: suppressions, JSON, and JUnit's XML for
 * continuous integration.
 *
 * A file takes its name when it is complete. Names of functions and files may contain any bytes.
 * In XML a byte that is no UTF-8, and a character that XML 1.0 lacks, becomes U+FFFD.
 *
 * A name such as /dev/stdout means the descriptor at the start. Programs close it before they end,
 * so a copy is written to.
 *
 * Owns: those copies. Its memory is of malloc, within oaki_quiet_begin. Bound: O(output). */
#include "observe/json.h"
#include "observe/output.h"
#include "observe/target.h"
#include "observe/utf8.h"
#include "report.h"
#include "runtime/fd.h"
#include "runtime/os.h"
#include "runtime/print.h"
#include "tell.h"
#include <errno.h>
#include <oakum/oakum.h>
#include <stdlib.h>
#include <string.h>

typedef struct file {
    oaki_output out;
    oaki_json *json; /* while JSON is written */
    size_t n;
    int error;
    char buf[4096];
} file;

static void flush(file *f)
{
    if (!f->error && oaki_write_all(f->out.fd, f->buf, f->n) != 0) f->error = errno;
    f->n = 0;
}

static bool put_bytes(void *ctx, const char *p, size_t n)
{
    file *f = ctx;
    for (size_t k; n > 0 && !f->error; p += k, n -= k) {
        if (f->n == sizeof f->buf) flush(f);
        k = OAKI_MIN(n, sizeof f->buf - f->n);
        memcpy(f->buf + f->n, p, k);
        f->n += k;
    }
    return !f->error;
}

static void put(void *ctx, const char *text)
{
    (void)put_bytes(ctx, text, strlen(text));
}

static void put_number(file *f, uint64_t n)
{
    char text[24];
    (void)oaki_format(text, sizeof text, "%llu", (unsigned long long)n);
    put(f, text);
}

static bool is_listed(const oaki_leak *l, oaki_loss k)
{
    return l->by[k] ? l->of[k].blocks > 0 : oaki_leak_is_listed(l, k);
}

/* Call fn with each listed or suppressed leak of each kind, the worst kind first. */
static void each_case(const oaki_leaks *l, void (*fn)(file *f, oaki_leak *one, oaki_loss k),
                      file *f)
{
    for (int k = OAKI_LOST; k >= OAKI_KEPT; k--)
        for (size_t i = 0; i < l->n; i++)
            if (is_listed(&l->list[i], (oaki_loss)k)) {
                if (!oaki_leak_name(&l->list[i])) f->error = ENOMEM;
                else fn(f, &l->list[i], (oaki_loss)k);
            }
}

/* ---- suppressions ---- */

static void suppress_one(file *f, oaki_leak *one, oaki_loss k)
{
    if (!one->by[k] && one->nframes > 0)
        oaki_suppress_print(put, f, oaki_loss_kind(k), one->frame, one->nframes, one->to_end);
}

static void write_suppressions(file *f, const oaki_leaks *l, const oaki_lost *sums)
{
    (void)sums;
    each_case(l, suppress_one, f);
}

/* ---- JSON ---- */

static void put_sum(oaki_json *j, const char *key, const oaki_sum *s)
{
    oaki_json_key(j, key);
    oaki_json_object(j);
    oaki_json_put_u64(j, "blocks", s->blocks);
    oaki_json_put_u64(j, "bytes", s->bytes);
    oaki_json_object_end(j);
}

static void put_frame(oaki_json *j, const oak_frame *f)
{
    oaki_json_line(j, 4);
    oaki_json_object(j);
    oaki_json_put_string(j, "function", f->function);
    oaki_json_put_string(j, "file", f->file);
    oaki_json_key(j, "line");
    if (f->line > 0) oaki_json_i64(j, f->line);
    else oaki_json_null(j);
    oaki_json_put_string(j, "object", f->object);
    oaki_json_put_address(j, "address", (const void *)f->address);
    oaki_json_object_end(j);
}

static void put_leak(file *f, oaki_leak *l, oaki_loss k)
{
    oaki_json *j = f->json;
    oaki_json_line(j, 2);
    oaki_json_object(j);
    oaki_json_put_string(j, "kind", oaki_loss_kind(k));
    oaki_json_put_u64(j, "blocks", l->of[k].blocks);
    oaki_json_put_u64(j, "bytes", l->of[k].bytes);
    if (k == OAKI_LOST) put_sum(j, "with_it", &l->below);
    oaki_json_put_string(j, "suppressed_by", l->by[k] ? l->by[k]->name : NULL);
    oaki_json_key(j, "stack");
    oaki_json_array(j);
    for (size_t i = 0; i < l->nframes; i++) put_frame(j, &l->frame[i]);
    oaki_json_array_end(j);
    oaki_json_object_end(j);
}

static void write_json(file *f, const oaki_leaks *l, const oaki_lost *sums)
{
    oaki_json j;
    oaki_json_init(&j, put_bytes, f);
    oaki_json_object(&j);
    oaki_json_put_string(&j, "oakum", oak_version());
    oaki_json_put_string(&j, "program", program_invocation_name);
    oaki_json_put_i64(&j, "pid", oaki_os_pid());
    oaki_json_key(&j, "summary");
    oaki_json_object(&j);
    for (int k = OAKI_LOST; k >= OAKI_KEPT; k--)
        put_sum(&j, oaki_loss_kind((oaki_loss)k), &sums->of[k]);
    put_sum(&j, "suppressed", &l->suppressed);
    oaki_json_object_end(&j);
    oaki_json_put_bool(&j, "complete", !sums->blind && !sums->kept_out);
    oaki_json_key(&j, "leaks");
    oaki_json_array(&j);
    f->json = &j;
    each_case(l, put_leak, f);
    oaki_json_array_end(&j);
    oaki_json_object_end(&j);
    if (!oaki_json_finish(&j) && !f->error) f->error = EIO;
    put(f, "\n");
}

/* ---- JUnit ---- */

/* The length of a character that XML 1.0 allows, or 0. */
static size_t xml_length(const char *s, size_t n)
{
    size_t k = oaki_utf8_length(s, n);
    unsigned char c = (unsigned char)*s;
    if (k == 1 && c < 0x20 && c != '\t' && c != '\n') return 0;
    bool is_none = k == 3 && memcmp(s, "\xef\xbf", 2) == 0 && (unsigned char)s[2] >= 0xbe;
    return is_none ? 0 : k;
}

static void put_xml(file *f, const char *s)
{
    for (size_t n = strlen(s), k; n > 0; s += k, n -= k) {
        size_t length = xml_length(s, n);
        k = OAKI_MAX(length, (size_t)1);
        if (length == 0) put(f, "\xef\xbf\xbd");
        else if (*s == '<') put(f, "&lt;");
        else if (*s == '>') put(f, "&gt;");
        else if (*s == '&') put(f, "&amp;");
        else if (*s == '"') put(f, "&quot;");
        else if (*s == '\n') put(f, "&#10;");
        else if (*s == '\t') put(f, "&#9;");
        else (void)put_bytes(f, s, k);
    }
}

static void put_place(file *f, const oak_frame *at)
{
    put_xml(f, at->function ? at->function : at->object ? at->object : "???");
    if (!at->file || at->line <= 0) return;
    put(f, " (");
    put_xml(f, at->file);
    put(f, ":");
    put_number(f, (uint64_t)at->line);
    put(f, ")");
}

static void put_amount(file *f, const oaki_leak *l, oaki_loss k)
{
    put_number(f, l->of[k].bytes);
    put(f, " bytes in ");
    put_number(f, l->of[k].blocks);
    put(f, " blocks ");
    put(f, oaki_loss_words(k));
}

static void put_stack(file *f, const oaki_leak *l)
{
    for (size_t i = 0; i < l->nframes; i++) {
        put(f, i == 0 ? "at " : "\nby ");
        put_place(f, &l->frame[i]);
    }
}

/* A failure is what the exit status counts. */
static void put_case(file *f, oaki_leak *l, oaki_loss k)
{
    const char *tag = k == OAKI_LOST ? "failure" : "system-out";
    put(f, "    <testcase classname=\"");
    put(f, oaki_loss_kind(k));
    put(f, "\" name=\"");
    if (l->nframes > 0) put_place(f, &l->frame[0]);
    put(f, "\" time=\"0\">\n      <");
    if (l->by[k]) {
        put(f, "skipped message=\"suppressed by ");
        put_xml(f, l->by[k]->name);
        put(f, "\"/>\n    </testcase>\n");
        return;
    }
    put(f, tag);
    if (k == OAKI_LOST) {
        put(f, " type=\"leak\" message=\"");
        put_amount(f, l, k);
        put(f, "\">");
    } else {
        put(f, ">");
        put_amount(f, l, k);
        put(f, "\n");
    }
    put_stack(f, l);
    put(f, "</");
    put(f, tag);
    put(f, ">\n    </testcase>\n");
}

static void put_count(file *f, const char *name, size_t n)
{
    put(f, " ");
    put(f, name);
    put(f, "=\"");
    put_number(f, n);
    put(f, "\"");
}

/* Without any leak one test case passes, as some readers reject an empty suite. */
static void write_junit(file *f, const oaki_leaks *l, const oaki_lost *sums)
{
    size_t tests = 0, failures = 0, skipped = 0;
    (void)sums;
    for (size_t i = 0; i < l->n; i++)
        for (int k = OAKI_KEPT; k <= OAKI_LOST; k++) {
            if (!is_listed(&l->list[i], (oaki_loss)k)) continue;
            tests++;
            skipped += l->list[i].by[k] != NULL;
            failures += k == OAKI_LOST && !l->list[i].by[k];
        }
    put(f, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"oakum: ");
    put_xml(f, program_invocation_name);
    put(f, "\"");
    put_count(f, "tests", OAKI_MAX(tests, (size_t)1));
    put_count(f, "failures", failures);
    put_count(f, "errors", 0);
    put_count(f, "skipped", skipped);
    put(f, " time=\"0\">\n");
    each_case(l, put_case, f);
    if (tests == 0)
        put(f, "    <testcase classname=\"definite\" name=\"no leaks\" time=\"0\"/>\n");
    put(f, "  </testsuite>\n</testsuites>\n");
}

/* ---- the files ---- */

typedef void writer(file *f, const oaki_leaks *l, const oaki_lost *sums);

static struct {
    const char *const *name; /* a pattern; points to NULL: not wanted */
    const char *what;
    writer *write;
    int copy; /* of the descriptor that is named; checked by its file before use */
    oaki_fd_file copied;
} files[] = {
    { &oaki_wanted.generate, "suppressions", write_suppressions, -1, { 0 } },
    { &oaki_wanted.json, "JSON", write_json, -1, { 0 } },
    { &oaki_wanted.junit, "JUnit file", write_junit, -1, { 0 } },
};

#define NFILES (sizeof files / sizeof files[0])

void oaki_leakfiles_start(void)
{
    for (size_t i = 0; i < NFILES; i++) {
        int fd = *files[i].name ? oaki_target_named(*files[i].name) : -1;
        if (oaki_fd_note(fd, &files[i].copied)) files[i].copy = oaki_fd_copy_high(fd);
    }
}

void oaki_leakfiles_release(void)
{
    for (size_t i = 0; i < NFILES; i++) {
        oaki_fd_close(files[i].copy, &files[i].copied);
        files[i].copy = -1;
    }
}

static int open_file(size_t i, const char *name, oaki_output *out)
{
    bool is_copied = files[i].copy >= 0 && oaki_fd_is(files[i].copy, &files[i].copied);
    if (!is_copied) return oaki_output_open(out, name);
    *out = (oaki_output){ .fd = files[i].copy, .lent = true };
    return 0;
}

static bool write_one(size_t i, const oaki_leaks *l, const oaki_lost *sums)
{
    enum { NAME_MOST = 4096 };
    const char *pattern = *files[i].name;
    if (!pattern) return true;
    file *f = malloc(sizeof *f);
    char *name = malloc(NAME_MOST);
    int error = f && name ? 0 : ENOMEM;
    if (name) oaki_tell_name(pattern, name, NAME_MOST);
    if (!error && open_file(i, name, &f->out) != 0) error = errno;
    if (!error) {
        f->n = 0;
        f->error = 0;
        files[i].write(f, l, sums);
        flush(f);
        errno = f->error;
        if (oaki_output_close(&f->out, f->error ? -1 : 0) != 0) error = errno;
    }
    if (error)
        (void)oaki_say("oakum: the %s can't be written to %.700s: %s", files[i].what,
                       name ? name : pattern, oaki_error_text(error));
    free(name);
    free(f);
    return !error;
}

bool oaki_leakfiles_write(const oaki_leaks *l, const oaki_lost *sums)
{
    bool all = true;
    for (size_t i = 0; i < NFILES; i++) all &= write_one(i, l, sums);
    return all;
}
