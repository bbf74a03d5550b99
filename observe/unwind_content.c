/* unwind_content.c - tells an object from its successor (unwind_content.h).
 *
 * The place of the build ID is looked up once, and kept for the object's addresses. Linkers put it
 * in the first page, which is mapped as long as the object is. So a later object at the same place
 * can be read at the same address.
 *
 * Owns: `known`: pairs of words as in the cache of rules (unwind_cache.h), without a lock. Bound:
 * O(1); O(program headers and notes) for a new object. */
#include "unwind_content.h"

#include "runtime/os.h"
#include "runtime/probe.h"
#include <elf.h>
#include <stddef.h>

#define KNOWN 512
#define NEXT 8 /* entries, from its own one on, that may hold an object */

static struct {
    AO_t check; /* identity ^ mixed place */
    AO_t place; /* from the object's first byte; 0: unknown */
} known[KNOWN];

static uint64_t mix(AO_t place)
{
    return place * 0xbf58476d1ce4e5b9u;
}

/* The place of the build ID in the notes [at, end); 0: none. */
static size_t find_note(oaki_window *w, size_t at, size_t end, uintptr_t lo)
{
    Elf64_Nhdr note;
    uint32_t name;
    while (at + sizeof note + 4 <= end && end - at <= oaki_os_page_size()) {
        if (!oaki_window_read(w, lo + at, &note, 8) ||
            !oaki_window_read(w, lo + at + 8, &note.n_type, 4) ||
            !oaki_window_read(w, lo + at + 12, &name, 4))
            return 0;
        size_t description = at + sizeof note + OAKI_ALIGN_UP((size_t)note.n_namesz, 4);
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && note.n_descsz >= 16 &&
            memcmp(&name, "GNU", 4) == 0)
            return description;
        at = description + OAKI_ALIGN_UP((size_t)note.n_descsz, 4);
    }
    return 0;
}

/* Finds the build ID through the program headers of notes. Their addresses are converted to offsets
 * from the object's first byte, where its first segment begins. */
static size_t find_build_id(oaki_window *w, uintptr_t lo)
{
    uint64_t headers, first = 0;
    uint16_t n = 0, size = 0;
    if (!oaki_window_read(w, lo + offsetof(Elf64_Ehdr, e_phoff), &headers, 8) ||
        !oaki_window_read(w, lo + offsetof(Elf64_Ehdr, e_phnum), &n, 2) ||
        !oaki_window_read(w, lo + offsetof(Elf64_Ehdr, e_phentsize), &size, 2) ||
        size != sizeof(Elf64_Phdr) || headers > oaki_os_page_size())
        return 0;
    for (size_t i = 0; i < n && i < 64; i++) {
        uintptr_t at = lo + headers + i * sizeof(Elf64_Phdr);
        uint32_t type;
        uint64_t address, bytes;
        if (!oaki_window_read(w, at, &type, 4) ||
            !oaki_window_read(w, at + offsetof(Elf64_Phdr, p_vaddr), &address, 8) ||
            !oaki_window_read(w, at + offsetof(Elf64_Phdr, p_memsz), &bytes, 8))
            return 0;
        if (type == PT_LOAD && first == 0) first = address + 1;
        if (type != PT_NOTE || address < first - 1) continue;
        size_t place = find_note(w, address - (first - 1), address - (first - 1) + bytes, lo);
        if (place) return place;
    }
    return 0;
}

/* The place of the build ID. If there is none near the beginning, the place of e_phoff and e_shoff,
 * the file's offsets of the headers. */
static size_t find_place(uintptr_t lo)
{
    oaki_window w = { 0, 0 };
    uint32_t magic;
    if (!oaki_window_read(&w, lo, &magic, 4) || memcmp(&magic, ELFMAG, SELFMAG) != 0) return 0;
    size_t place = find_build_id(&w, lo);
    bool near = place > 0 && place % 4 == 0 && place + 16 <= oaki_os_page_size();
    return near ? place : offsetof(Elf64_Ehdr, e_phoff);
}

/* The entry of this identity; or else the one to use for it, an empty one if possible. */
static size_t entry_of(uint64_t identity, bool *found)
{
    size_t own = identity % KNOWN, empty = SIZE_MAX;
    for (size_t k = 0; k < NEXT; k++) {
        size_t i = (own + k) % KNOWN;
        AO_t check = AO_load(&known[i].check), place = AO_load(&known[i].place);
        *found = (check ^ mix(place)) == identity;
        if (OAKI_LIKELY(*found)) return i;
        if (check == 0 && empty == SIZE_MAX) empty = i;
    }
    return empty == SIZE_MAX ? own : empty;
}

OAKI_NO_ASAN uint64_t oaki_unwind_content(const oaki_unwind_object *o, bool sure)
{
    bool found;
    size_t i = entry_of(o->identity, &found);
    AO_t place = AO_load(&known[i].place);
    if (OAKI_UNLIKELY(!found)) {
        place = find_place(o->lo);
        AO_store(&known[i].place, place);
        AO_store(&known[i].check, o->identity ^ mix(place));
    }
    if (place == 0 || (OAKI_UNLIKELY(!sure) && !oaki_probe((const void *)o->lo))) return 0;
    return oaki_word_at(o->lo + place) ^ oaki_word_at(o->lo + place + 8) * 0x94d049bb133111ebu;
}
