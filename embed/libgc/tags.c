/* tags.c - GC_set_pointer_mask and GC_set_pointer_shift of libgc 8.4: the pointer in each word is
 * (word & mask) << shift. They are a tag of words (oak_config.pointer_tags) with no tested bits.
 * Plain pointers count, too.
 *
 * Owns: self. Not synchronized, as in libgc: called before the first object is allocated. */
#include "libgc.h"

#include "runtime/tags.h"
#include <limits.h>

static struct {
    GC_word ignore; /* the mask's complement */
    unsigned shift;
    const char *wrong; /* with these, and nothing has come of them; or NULL */
} self;

void lgc_tags_get(oak_pointer_tag *out)
{
    *out = (oak_pointer_tag){ .ignore = self.ignore,
                              .shift = -(int)OAKI_MIN(self.shift, (unsigned)INT_MAX) };
}

const char *lgc_tags_wrong(void)
{
    oak_pointer_tag tag;
    size_t which;
    lgc_tags_get(&tag);
    return oaki_tags_check(&tag, 1, 0, &which);
}

static _Noreturn void fail(const char *why)
{
    oak_fatal("oakum: pointer mask %lx, shift %u: %s", (unsigned long)~self.ignore, self.shift,
              why);
}

/* One without the other need not be sound. So start.c judges them at the start, and later ones the
 * next collection: no object is lost before. */
static void changed(void)
{
    oak_pointer_tag tag;
    if (!AO_load_acquire(&lgc.started)) return;
    lgc_tags_get(&tag);
    if (oaki_mark_tags(&tag, 1, &self.wrong) != 0 && !self.wrong) fail("out of memory");
}

void lgc_tags_judge(void)
{
    if (OAKI_UNLIKELY(self.wrong)) fail(self.wrong);
}

void GC_set_pointer_mask(GC_word mask)
{
    self.ignore = ~mask;
    changed();
}

GC_word GC_get_pointer_mask(void)
{
    return ~self.ignore;
}

void GC_set_pointer_shift(unsigned shift)
{
    self.shift = shift;
    changed();
}

unsigned GC_get_pointer_shift(void)
{
    return self.shift;
}
