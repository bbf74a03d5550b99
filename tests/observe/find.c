/* find.c - finding functions in a heap profile (find.h). */
#include "find.h"

#include <check.h>
#include <string.h>

typedef struct search {
    const char *function;
    bool top;
    test_site sum;
} search;

static bool is(const oak_frame *f, const char *function)
{
    return f->function && strcmp(f->function, function) == 0;
}

bool test_is_top(const oak_profile_site *s, const char *function)
{
    size_t i = 0;
    while (i < s->nframes && s->frames[i].function &&
           strncmp(s->frames[i].function, "__wrap_", 7) == 0)
        i++;
    return i < s->nframes && is(&s->frames[i], function);
}

static bool add(const oak_profile_site *s, void *ctx)
{
    search *q = ctx;
    bool found = !q->function || (q->top && test_is_top(s, q->function));
    for (size_t i = 0; !q->top && i < s->nframes && !found; i++)
        found = is(&s->frames[i], q->function);
    if (!found) return true;
    q->sum.sites++;
    q->sum.inuse_bytes += s->inuse_bytes;
    q->sum.inuse_objects += s->inuse_objects;
    q->sum.alloc_bytes += s->alloc_bytes;
    q->sum.alloc_objects += s->alloc_objects;
    return true;
}

test_site test_sum_in(const oak_profile *p, const char *function)
{
    search q = { .function = function };
    ck_assert_int_eq(oak_profile_each(p, OAK_PROFILE_INUSE_BYTES, add, &q), 0);
    return q.sum;
}

test_site test_sum(const char *function, unsigned flags)
{
    oak_profile *p = oak_profile_read(flags);
    ck_assert_ptr_nonnull(p);
    test_site s = test_sum_in(p, function);
    oak_profile_free(p);
    return s;
}

test_site test_site_of(const char *function)
{
    search q = { .function = function, .top = true };
    ck_assert_int_eq(oak_profile_each(NULL, OAK_PROFILE_INUSE_BYTES, add, &q), 0);
    ck_assert_uint_eq(q.sum.sites, 1);
    return q.sum;
}
