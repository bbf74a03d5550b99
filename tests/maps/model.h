/* model.h - a reference beside the default map: every operation is done on both, and what they
 * answer is compared; iterators are held to their rule exactly.
 *
 * An entry is one insertion of a key, with a number of its own: a key that was deleted and put
 * again is a new entry. One model at a time, of one thread. What differs ends the process with a
 * line that names the seed. The reference's own memory is malloc's, where the collector doesn't
 * look: keys and values that are objects live through the map alone. */
#ifndef TESTS_MAPS_MODEL_H
#define TESTS_MAPS_MODEL_H

#include <oakum/map.h>
#include <oakum/oakum.h>

enum { MODEL_WALKS = 8, MODEL_KEY_MAX = 200, MODEL_VALUE_MAX = 1000, MODEL_MANY = 100 };

/* What a key is made of; the number of a key is always found again in it. */
typedef enum model_form {
    MODEL_WORD,   /* key_size bytes: the number, and bytes that follow from it */
    MODEL_DENSE,  /* 8 bytes: the number */
    MODEL_REAL,   /* double or float; number 0 is +0 or -0; NaNs too */
    MODEL_TEXT,   /* const char *, into an object of its own */
    MODEL_SLICE,  /* oak_slice; number 0 has no bytes and no address */
    MODEL_HASHED, /* 8 bytes, with a hash that the pattern below says */
} model_form;

/* Full hashes of MODEL_HASHED keys, as the map mixes them under its first seed. */
typedef enum model_pattern {
    MODEL_RANDOM,
    MODEL_FEW1, /* this many different ones */
    MODEL_FEW2,
    MODEL_FEW16,
    MODEL_TOP,   /* the top 12 bits are ones: everything in the last groups */
    MODEL_FIRST, /* on the first position of a group of some size */
    MODEL_LAST,  /* on the last */
    MODEL_TAG,   /* spread, but of one tag */
} model_pattern;

typedef struct model_kind {
    const char *name;
    model_form form;
    model_pattern pattern;
    bool boxed; /* the value's last word points to an object that nothing else refers to */
    oak_map_type type;
} model_kind;

extern const model_kind model_kinds[];
extern const unsigned model_nkinds;

/* ---- a run ---- */

/* Random operations that follow from the seed, on a map of kinds[kind]. */
void model_run(uint64_t seed, unsigned kind, size_t steps);

/* Says which run this is, in front of what model_fail tells. */
extern const char *model_who;
void model_fail(const char *format, ...) OAK_PRINTF(1, 2) OAK_NORETURN;

/* ---- its steps ---- */

uint64_t model_random(void);
size_t model_below(size_t n);

/* First; the map's seed follows from it too. */
void model_seed(uint64_t seed);
extern uint64_t model_run_seed;
/* A new map of keys 0 .. space - 1. */
void model_begin(const model_kind *kind, size_t space, size_t hint);
void model_end(void);
oak_map *model_map(void);
size_t model_len(void);
/* Puts may fail from here on, with ENOMEM; or may not any more. */
void model_may_fail(bool may);

bool model_put(unsigned k);    /* a new one or over an old one; false: no memory */
bool model_put_nan(void);
void model_get(unsigned k);
void model_delete(unsigned k); /* which may be absent */
void model_clear(void);
/* n lookups at once, of keys at random, some of them more than once; n is at most MODEL_MANY. */
void model_get_many(size_t n);
/* One pass, whose predicate refuses one of `part` entries, looks up others and writes values. */
void model_retain(size_t part);
bool model_reserve(size_t n);
/* The map is cleared, and a copy that was made before takes its place; it has no iterators. */
bool model_copy(void);
/* The map's own rules hold: at each call while it is small, at every 64th step when it isn't. */
void model_hold(void);
/* Everything is as the reference has it. */
void model_check(void);

/* What model_step does to the entry that it was given. */
typedef enum model_act { MODEL_LOOK, MODEL_WRITE, MODEL_DELETE_IT, MODEL_PUT_IT } model_act;

void model_start(unsigned walk, bool random); /* over again, if it was on its way */
bool model_open(unsigned walk);
bool model_step(unsigned walk, model_act act); /* false: at its end */

/* ---- keys and values, in model_kinds.c ---- */

typedef union model_room {
    uint64_t word;
    double d;
    float f;
    const char *text;
    oak_slice slice;
    char bytes[MODEL_KEY_MAX];
} model_room;

/* Which mixer the pattern is made for. */
void model_hash_for(const model_kind *kind, const oak_map *m);
/* x, such that oak_map_mix_(x, seed, mult) is hash. */
uint64_t model_unmix(uint64_t hash, uint64_t seed, uint64_t mult);

/* The key's bytes. `text` has 80 bytes for what a string key points to. */
void model_make_key(const model_kind *kind, unsigned k, bool negative, char *text,
                    model_room *out);
/* Bytes of text that the key of this number has, its NUL included. */
size_t model_text_size(const model_kind *kind, unsigned k);
size_t model_key_size(const model_kind *kind);
/* -1: these are not the bytes of any key. */
long model_key_number(const model_kind *kind, const void *key);
bool model_key_is_nan(const model_kind *kind, const void *key);

/* An object for the value of `word`, if it is to have one; NULL without memory. */
void *model_make_box(uint64_t word);
void model_write_value(const model_kind *kind, void *slot, uint64_t word, void *box);
bool model_value_is(const model_kind *kind, const void *slot, uint64_t word);

#endif
