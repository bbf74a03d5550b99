/* label.c - sets labels, and inherits them (label.h).
 *
 * Invariants: a set's depth is one more than its outer one's, or 0. Labels of a body are sorted by
 * key, each key once. All bytes of a body are set.
 * Bound: a push is O(labels^2 + bytes), of at most OAKI_LABELS_MAX and OAKI_LABELS_BYTES. */
#include "contract.h"
#include "label.h"
#include "meta.h"
#include "xxh.h"
#include <errno.h>
#include <string.h>

/* Bytes of a label's strings, including zero bytes. The label's lengths are known. */
static size_t text_bytes(const oak_label *l)
{
    return l->key_len + 1 + (l->value ? l->value_len : l->unit_len) + 1;
}

static oak_label measured(const oak_label *l)
{
    oak_label m = *l;
    if (m.key && m.key_len == 0) m.key_len = strlen(m.key);
    if (m.value && m.value_len == 0) m.value_len = strlen(m.value);
    if (m.unit && m.unit_len == 0) m.unit_len = strlen(m.unit);
    if (!m.unit) m.unit_len = 0;
    return m;
}

static int compare_keys(const oak_label *a, const oak_label *b)
{
    int order = memcmp(a->key, b->key, OAKI_MIN(a->key_len, b->key_len));
    return order ? order : (a->key_len > b->key_len) - (a->key_len < b->key_len);
}

#define FEW 8 /* labels that fit on any stack */

/* Labels of a set to be made: sorted; the strings are still the caller's. */
typedef struct union_ {
    size_t n, bytes, room;
    oak_label *label;
    oak_label few[FEW];
} union_;

/* Makes room for n labels, or for the maximum. Returns 0 or ENOMEM. */
static int union_init(union_ *u, size_t n)
{
    u->n = u->bytes = 0;
    u->room = n > FEW ? OAKI_LABELS_MAX : FEW;
    u->label = u->few;
    if (n > FEW) u->label = oaki_meta_alloc(u->room * sizeof(oak_label), OAKI_META_OTHER);
    return u->label ? 0 : ENOMEM;
}

static void union_end(union_ *u)
{
    if (u->label && u->label != u->few)
        oaki_meta_free(u->label, u->room * sizeof(oak_label), OAKI_META_OTHER);
}

/* Returns 0 or an error number. */
static int put(union_ *u, const oak_label *l)
{
    if (!l->key || l->key_len == 0) return EINVAL;
    size_t i = 0;
    int order = 1;
    while (i < u->n && (order = compare_keys(&u->label[i], l)) < 0) i++;
    size_t gone = i < u->n && order == 0 ? text_bytes(&u->label[i]) : 0;
    if (!gone) {
        if (u->n == u->room) return E2BIG;
        memmove(&u->label[i + 1], &u->label[i], (u->n - i) * sizeof *l);
        u->n++;
    }
    u->label[i] = *l;
    if (l->key_len > OAKI_LABELS_BYTES || l->value_len > OAKI_LABELS_BYTES ||
        l->unit_len > OAKI_LABELS_BYTES)
        return E2BIG;
    u->bytes += text_bytes(l) - gone;
    return u->bytes > OAKI_LABELS_BYTES ? E2BIG : 0;
}

static uint32_t put_text(char *body, size_t *at, const char *s, size_t n)
{
    uint32_t where = (uint32_t)*at;
    if (n) memcpy(body + where, s, n);
    body[where + n] = '\0';
    *at += n + 1;
    return where;
}

static oaki_labels *make_set(const union_ *u)
{
    size_t bytes = u->n * sizeof(oaki_label) + u->bytes, at = u->n * sizeof(oaki_label);
    oaki_labels *set = oaki_meta_alloc(sizeof *set + bytes, OAKI_META_BUCKHASH);
    if (!set) return NULL;
    char *body = (char *)set->label;
    for (size_t i = 0; i < u->n; i++) {
        const oak_label *l = &u->label[i];
        oaki_label *to = &set->label[i];
        OAKI_ASSERT(i == 0 || compare_keys(l - 1, l) < 0);
        to->key_len = (uint32_t)l->key_len;
        to->key = put_text(body, &at, l->key, l->key_len);
        to->text_len = (uint32_t)(l->value ? l->value_len : l->unit_len);
        to->text = put_text(body, &at, l->value ? l->value : l->unit, to->text_len);
        to->number = l->value ? 0 : l->number;
        to->is_number = !l->value;
    }
    OAKI_ASSERT(at == bytes); /* each byte of the body is set */
    set->outer = NULL;
    set->depth = 0;
    set->n = (uint32_t)u->n;
    set->bytes = bytes;
    set->hash = XXH3_64bits(body, bytes);
    return set;
}

oak_label oaki_label_public(const void *body, size_t i)
{
    const oaki_label *l = (const oaki_label *)body + i;
    oak_label out = { .key = (const char *)body + l->key, .key_len = l->key_len };
    const char *text = (const char *)body + l->text;
    if (l->is_number) {
        out.number = l->number;
        out.unit = l->text_len ? text : NULL;
        out.unit_len = l->text_len;
    } else {
        out.value = text;
        out.value_len = l->text_len;
    }
    return out;
}

static oaki_labels *push(oaki_thread *t, const union_ *u)
{
    oaki_labels *set = make_set(u);
    if (!set) return NULL;
    OAKI_REQUIRES_SELF(t);
    OAKI_REQUIRES_INSIDE();
    set->outer = t->labels;
    set->depth = t->labels ? t->labels->depth + 1 : 0;
    t->labels = set;
    return set;
}

int oak_labels_push(const oak_label *labels, size_t n)
{
    if (!labels && n > 0) return errno = EINVAL, -1;
    union_ u;
    oaki_thread *t = oaki_enter();
    if (!t) return -1;
    const oaki_labels *outer = t->labels;
    int e = union_init(&u, OAKI_MIN(n, OAKI_LABELS_MAX) + (outer ? outer->n : 0));
    int was = outer ? (int)outer->depth + 1 : 0;
    for (size_t i = 0; outer && i < outer->n && e == 0; i++) {
        oak_label l = oaki_label_public(outer->label, i);
        (void)put(&u, &l);
    }
    for (size_t i = 0; i < n && e == 0; i++) {
        oak_label l = measured(&labels[i]);
        e = put(&u, &l);
    }
    if (e == 0 && !push(t, &u)) e = ENOMEM;
    union_end(&u);
    oaki_leave(t);
    if (e == 0) return was;
    errno = e;
    return -1;
}

int oak_label_push(const char *key, const char *value)
{
    oak_label l = { .key = key, .value = value ? value : "" };
    return oak_labels_push(&l, 1);
}

int oak_label_push_number(const char *key, int64_t number, const char *unit)
{
    oak_label l = { .key = key, .number = number, .unit = unit };
    return oak_labels_push(&l, 1);
}

void oak_labels_pop(int was)
{
    if (was < 0 || !oaki_tls_thread || !oaki_tls_thread->labels) return;
    oaki_thread *t = oaki_enter();
    while (t->labels && t->labels->depth >= (uint32_t)was) {
        oaki_labels *set = t->labels;
        t->labels = set->outer;
        set->outer = NULL;
        oaki_labels_free(set);
    }
    oaki_leave(t);
}

size_t oak_labels_read(oak_label *out, size_t max)
{
    const oaki_labels *set = oaki_tls_thread ? oaki_tls_thread->labels : NULL;
    if (!set) return 0;
    for (size_t i = 0; i < OAKI_MIN(set->n, max); i++) out[i] = oaki_label_public(set->label, i);
    return set->n;
}

oaki_labels *oaki_labels_copy(const oaki_labels *l)
{
    OAKI_REQUIRES_UNSTOPPABLE();
    if (!l) return NULL;
    oaki_labels *set = oaki_meta_alloc(sizeof *set + l->bytes, OAKI_META_BUCKHASH);
    if (!set) return NULL;
    memcpy(set, l, sizeof *set + l->bytes);
    set->outer = NULL;
    set->depth = 0;
    return set;
}

void oaki_labels_free(oaki_labels *l)
{
    OAKI_REQUIRES_UNSTOPPABLE();
    while (l) {
        oaki_labels *outer = l->outer;
        oaki_meta_free(l, sizeof *l + l->bytes, OAKI_META_BUCKHASH);
        l = outer;
    }
}
