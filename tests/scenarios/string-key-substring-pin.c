/* string-key-substring-pin.c - a key that was cut from a large string.
 *
 * What leaks: the large string, of which the map needs ten bytes.
 * Why:        a string is a pointer and a length, and a part of one points into the whole. The cure
 *             is a copy: even storing again under an equal key that is a string of its own lets the
 *             large one go, as a put over an equal string stores the new key.
 * Seen by:    the profile, at the site of the large string; the path to it, from the map's key. */
#include "scenario.h"

#include <string.h>

#define LARGE ((size_t)1 << 20)
#define AT 1000
#define LENGTH 10
#define DOCUMENTS 14

static const scn_map_policy *policy;
static void *map;
static oak_weak *document;

static __attribute__((noinline)) char *read_document(void)
{
    char *text = scn_must(oak_alloc_noscan(LARGE));

    memset(text, 'x', LARGE);
    memcpy(text + AT, "a-key-of-1", LENGTH);
    document = scn_must(oak_weak_new(text));
    return text;
}

static void put_substring(void *arg)
{
    scn_string key = { read_document() + AT, LENGTH };

    (void)arg;
    map = policy->new (SCN_STRING_INT, 0);
    *(int64_t *)policy->put(map, &key) = 1;
}

static void put_copy(void *arg)
{
    char *copy = scn_must(oak_alloc_noscan(LENGTH));
    scn_string key = { copy, LENGTH };

    (void)arg;
    memcpy(copy, "a-key-of-1", LENGTH);
    *(int64_t *)policy->put(map, &key) = 2;
}

SCN_FIND(find_document, oak_weak_get(document))

/* ---- as keys come in ---- */

static size_t documents;
static bool copies;

static void index_document(void *arg)
{
    char *text = read_document(), *copy;
    scn_string key = { text + AT, LENGTH };

    (void)arg;
    memcpy(text + AT, "document", 8);
    text[AT + 8] = (char)('a' + documents++);
    if (copies) {
        copy = scn_must(oak_alloc_noscan(LENGTH));
        memcpy(copy, key.data, LENGTH);
        key.data = copy;
    }
    *(int64_t *)policy->put(map, &key) = 1;
}

static void documents_row(scn *s, bool repaired)
{
    double start = scn_live(), held;

    scn_row(s, repaired ? "repaired: cut and copied"
                        : "a key of each of 14 such documents, one after another");
    copies = repaired;
    map = policy->new (SCN_STRING_INT, 0);
    scn_detector_begin(NULL);
    for (documents = 0; documents < DOCUMENTS; scn_live()) scn_on_thread(index_document, NULL);
    held = scn_live() - start;
    scn_retained(s, held, SCN_BYTES);
    scn_expect_bytes(s, "held", held, repaired ? 0 : (double)(DOCUMENTS * LARGE), 5);
    if (repaired) {
        scn_expect_quiet(s);
    } else {
        scn_expect_found(s, OAK_FINDING_SITE_GROWTH, "read_document");
        scn_expect_found(s, OAK_FINDING_HEAP_GROWTH, NULL);
    }
    map = NULL;
}

static void run(scn *s)
{
    double start = scn_live(), held, repaired;
    scn_map_stats st;

    scn_detector_begin(NULL);
    policy = scn_policy(s);
    scn_row(s, "a key of 10 bytes, cut from a string of 1 MiB");
    scn_on_thread(put_substring, NULL);
    held = scn_live() - start;
    scn_stats(policy, &map, &st);
    scn_retained(s, held, SCN_BYTES);
    scn_go(s, "1,048,576");
    scn_pointed(s, "map: %zu entry; %s B held", st.count, scn_thousands(held));
    scn_expect_bytes(s, "held", held, (double)LARGE, 5);
    scn_expect_site(s, "read_document");
    scn_expect_path(s, find_document, OAK_ROOT_GLOBAL, "map", "a-key-of-1");

    scn_row(s, "repaired: stored again under an equal key");
    scn_on_thread(put_copy, NULL);
    repaired = scn_live() - start;
    scn_stats(policy, &map, &st);
    scn_retained(s, repaired, SCN_BYTES);
    scn_go(s, "~0");
    scn_pointed(s, "map: %zu entry; heap_alloc falls by %s B", st.count,
                scn_thousands(held - repaired));
    scn_expect(s, "entries", (double)st.count, 1, 1);
    scn_expect_none(s, "held", repaired);
    map = NULL;
    scn_expect_quiet(s);
    documents_row(s, false);
    documents_row(s, true);
}

const scn_scenario scn_string_key_substring_pin = {
    .id = "string-key-substring-pin",
    .class = 'U',
    .source = "no article",
    .leak = "a key that is a part of a large string keeps all of it",
    .maps = true,
    .run = run,
};
