/* heapsnapshot.c - a snapshot in V8's format, which Chrome's DevTools and npm's memlab read.
 *
 * The format is one JSON object: a description of the fields, then nodes and edges as flat arrays
 * of numbers, and strings that these refer to by index.
 *
 * Node 0 is the root, and its child "(GC roots)" has a child for each group of roots: a kind, of
 * one thread or of none. The children of a group are the objects that its words refer to. Edges are
 * in the order of their nodes. A word is an element edge with its offset as index. A word of a
 * map's entry is a property edge with the entry's key as name. Roots are property edges, too, with
 * the names of their symbols.
 *
 * An object's id is twice its granule's number, plus an offset that puts it above the ids of all
 * other nodes. So an address has the same id in two snapshots with as many groups.
 *
 * Owns:  nothing.
 * Bound: linear in the snapshot. */
#include "snapread.h"

#include "cancel.h"
#include "json.h"
#include "output.h"
#include "path.h"
#include "runtime/os.h"
#include "runtime/xxh.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIELDS 7          /* of a node */
#define BUFFER ((size_t)1 << 20)
#define GROUPS_MOST 8192u /* most groups of roots */
#define SLOTS (2 * GROUPS_MOST)
#define MOST UINT32_MAX   /* the largest number that readers can store */

enum { NODE_SYNTHETIC = 9, NODE_OBJECT = 3, NODE_NATIVE = 8, NODE_ARRAY = 1 };
enum { EDGE_ELEMENT = 1, EDGE_PROPERTY = 2, EDGE_INTERNAL = 3, EDGE_HIDDEN = 4 };

/* A node for the roots of one kind, of one thread or of none (0). */
typedef struct group {
    uint8_t kind;
    int32_t thread;
    uint64_t nroots;
    uint64_t name; /* of the thread: its offset in the strings */
} group;

typedef struct converter {
    const oak_snapshot *s;
    int fd, error;
    char *buf;
    size_t n;
    oaki_json json;
    group *groups;
    size_t ngroups;
    uint32_t *slots; /* hashed by kind and thread: the group's number plus 1; 0: free */
    uint64_t seed;
    uint32_t *group_of; /* by root: its group */
    uint32_t *order;    /* roots in the order of their groups */
} converter;

/* ---- output ---- */

static bool sink(void *ctx, const char *p, size_t n)
{
    converter *c = ctx;
    while (n > 0 && !c->error) {
        size_t piece = OAKI_MIN(n, BUFFER - c->n);
        memcpy(c->buf + c->n, p, piece);
        c->n += piece;
        p += piece;
        n -= piece;
        if (c->n < BUFFER) continue;
        if (oaki_write_all(c->fd, c->buf, c->n) != 0) c->error = errno;
        c->n = 0;
    }
    return !c->error;
}

static void put(converter *c, uint64_t v)
{
    oaki_json_u64(&c->json, OAKI_MIN(v, (uint64_t)MOST));
}

/* ---- strings: their indices are known before they are written ---- */

enum { STRING_EMPTY, STRING_ROOTS, STRING_EPHEMERON, STRING_FIXED };

static uint64_t string_of_shape(unsigned shape) { return STRING_FIXED + shape; }
static uint64_t string_of_type(uint64_t id) { return STRING_FIXED + OAKI_SHAPES + id - 1; }

static uint64_t string_of_group(const converter *c, size_t i)
{
    return STRING_FIXED + OAKI_SHAPES + c->s->types.n + i;
}

static uint64_t string_of_root(const converter *c, size_t i)
{
    return string_of_group(c, c->ngroups) + i;
}

static uint64_t string_of_key(const converter *c, size_t i)
{
    return string_of_root(c, c->s->roots.n) + i;
}

static void put_group_name(converter *c, const group *g)
{
    static const char *const kinds[] = {
        "(none)",     "(Globals)",    "(Registered ranges)", "(Pinned objects)", "(TLS)",
        "(Stack)",    "(Registers)",  "(Fiber)",             "(Finalizers)",     "(Cleanups)",
        "(Waiting for finalizers)", "(Runtime)"
    };
    char text[96];
    if (g->thread)
        snprintf(text, sizeof text, "%s of thread %d %s", kinds[g->kind], g->thread,
                 oaki_snapstring(c->s, g->name));
    else
        snprintf(text, sizeof text, "%s", kinds[g->kind]);
    oaki_json_string(&c->json, text);
}

static void put_root_name(converter *c, size_t i)
{
    char text[192];
    const oaki_snaproot *r = oaki_snaproot_at(c->s, i);
    const char *where = oaki_snapstring(c->s, r->where);
    if (where[0] && r->offset != UINT64_MAX && r->offset > 0)
        snprintf(text, sizeof text, "%.150s+%llu", where, (unsigned long long)r->offset);
    else if (where[0])
        snprintf(text, sizeof text, "%.150s", where);
    else
        snprintf(text, sizeof text, "0x%llx", (unsigned long long)r->address);
    oaki_json_string(&c->json, text);
}

static void put_strings(converter *c)
{
    const oak_snapshot *s = c->s;
    const oaki_snapkey *k = s->keys.item;
    oaki_json_key(&c->json, "strings");
    oaki_json_array(&c->json);
    oaki_json_string(&c->json, "");
    oaki_json_string(&c->json, "(GC roots)");
    oaki_json_string(&c->json, "ephemeron");
    for (uint32_t i = 0; i < OAKI_SHAPES; i++) {
        char text[32];
        snprintf(text, sizeof text, "(%s)", oaki_shape_name(i, 0));
        oaki_json_string(&c->json, text);
    }
    for (size_t i = 0; i < s->types.n; i++)
        oaki_json_string(&c->json, oaki_snapstring(s, ((const uint64_t *)s->types.item)[i]));
    for (size_t i = 0; i < c->ngroups; i++) put_group_name(c, &c->groups[i]);
    for (size_t i = 0; i < s->roots.n; i++) put_root_name(c, i);
    for (size_t i = 0; i < s->keys.n; i++)
        oaki_json_string(&c->json, oaki_snapstring(s, k[i].text));
    oaki_json_array_end(&c->json);
}

/* ---- groups of roots ---- */

/* The slot of a group, or the free one where it would be. */
static uint32_t *slot_of(converter *c, unsigned kind, int32_t thread)
{
    uint64_t key = (uint64_t)kind << 32 | (uint32_t)thread;
    size_t i = XXH3_64bits_withSeed(&key, sizeof key, c->seed) % SLOTS;
    for (; c->slots[i] != 0; i = (i + 1) % SLOTS) {
        const group *g = &c->groups[c->slots[i] - 1];
        if (g->kind == kind && g->thread == thread) break;
    }
    return &c->slots[i];
}

static void name_groups(converter *c)
{
    const oaki_snapthread *t = c->s->threads.item;
    for (size_t i = 0; i < c->s->threads.n; i++)
        for (unsigned kind = 0; t[i].tid && kind <= OAK_ROOT_RUNTIME; kind++) {
            uint32_t at = *slot_of(c, kind, t[i].tid);
            if (at != 0) c->groups[at - 1].name = t[i].name;
        }
}

/* When groups run out, the roots of further threads go to groups without a thread. */
static bool make_groups(converter *c)
{
    size_t n = c->s->roots.n;
    c->group_of = malloc(OAKI_MAX(n, (size_t)1) * sizeof *c->group_of);
    c->groups = calloc(GROUPS_MOST, sizeof *c->groups);
    c->slots = calloc(SLOTS, sizeof *c->slots);
    if (!c->group_of || !c->groups || !c->slots) return false;
    oaki_os_seed(&c->seed, sizeof c->seed);
    for (size_t i = 0; i < n; i++) {
        const oaki_snaproot *r = oaki_snaproot_at(c->s, i);
        bool full = c->ngroups >= GROUPS_MOST - OAK_ROOT_RUNTIME - 1;
        int32_t thread = full ? 0 : r->thread;
        uint32_t *at = slot_of(c, r->kind, thread);
        if (*at == 0) {
            c->groups[c->ngroups++] = (group){ .kind = r->kind, .thread = thread };
            *at = (uint32_t)c->ngroups;
        }
        c->groups[*at - 1].nroots++;
        c->group_of[i] = *at - 1;
    }
    name_groups(c);
    return true;
}

/* Sorts roots by group. The groups' sizes are known, so each root's place is. */
static bool order_roots(converter *c)
{
    size_t n = c->s->roots.n;
    uint64_t *next = calloc(c->ngroups + 1, sizeof *next);
    c->order = malloc(OAKI_MAX(n, (size_t)1) * sizeof *c->order);
    if (next && c->order) {
        for (size_t i = 0; i < c->ngroups; i++) next[i + 1] = next[i] + c->groups[i].nroots;
        for (size_t i = 0; i < n; i++) c->order[next[c->group_of[i]]++] = (uint32_t)i;
    }
    bool done = next && c->order;
    free(next);
    return done;
}

/* ---- nodes and edges ---- */

/* Nodes are: 0 the root, 1 "(GC roots)", then groups, then objects. */
static uint64_t node_of_group(size_t i) { return 2 + i; }
static uint64_t node_of_object(const converter *c, uint64_t i) { return 2 + c->ngroups + i; }

static void put_node(converter *c, unsigned type, uint64_t name, uint64_t id, uint64_t size,
                     uint64_t edges)
{
    put(c, type);
    put(c, name);
    put(c, id);
    put(c, size);
    put(c, edges);
    put(c, 0); /* trace_node_id */
    put(c, 0); /* detachedness */
}

static size_t pairs_of(const oak_snapshot *s, size_t i)
{
    size_t n = 0;
    if (s->pairs.n) oaki_snappairs_of(s, (uint32_t)i, &n);
    return n;
}

static void put_nodes(converter *c)
{
    const oak_snapshot *s = c->s;
    uint64_t first_id = 2 * (c->ngroups + 2) + 1;
    oaki_json_key(&c->json, "nodes");
    oaki_json_array(&c->json);
    put_node(c, NODE_SYNTHETIC, STRING_EMPTY, 1, 0, 1);
    put_node(c, NODE_SYNTHETIC, STRING_ROOTS, 3, 0, c->ngroups);
    for (size_t i = 0; i < c->ngroups; i++)
        put_node(c, NODE_SYNTHETIC, string_of_group(c, i), 2 * node_of_group(i) + 1, 0,
                 c->groups[i].nroots);
    for (size_t i = 0; i < s->objects.n; i++) {
        const oaki_snapobject *o = oaki_snapobject_at(s, i);
        unsigned shape = o->type & 3, type = NODE_OBJECT;
        uint64_t name = string_of_shape(shape), id = o->type >> 2;
        if (shape == OAKI_SHAPE_TYPED && id > 0 && id <= s->types.n) name = string_of_type(id);
        if (shape == OAKI_SHAPE_NOSCAN) type = NODE_NATIVE;
        put_node(c, type, name, first_id + 2 * o->address, oaki_snapbytes(o),
                 o->nedges + pairs_of(s, i));
    }
    oaki_json_array_end(&c->json);
}

static void put_edge(converter *c, unsigned type, uint64_t name, uint64_t node)
{
    put(c, type);
    put(c, name);
    put(c, node * FIELDS);
}

static void put_edges_of(converter *c, size_t i, size_t *key)
{
    const oak_snapshot *s = c->s;
    const oaki_snapobject *o = oaki_snapobject_at(s, i);
    const oaki_snapedge *e = oaki_snapedges_of(s, o);
    const oaki_snapkey *k = s->keys.item;
    size_t npairs = 0;
    for (uint32_t j = 0; j < o->nedges; j++) {
        uint64_t node = node_of_object(c, e[j].target);
        if (e[j].word == OAKI_SNAP_NOWHERE) {
            put_edge(c, EDGE_HIDDEN, j, node);
            continue; /* keys of words behind it follow */
        }
        while (*key < s->keys.n && k[*key].object == i && k[*key].word < e[j].word) ++*key;
        if (*key < s->keys.n && k[*key].object == i && k[*key].word == e[j].word)
            put_edge(c, EDGE_PROPERTY, string_of_key(c, *key), node);
        else
            put_edge(c, EDGE_ELEMENT, (uint64_t)e[j].word * 8, node);
    }
    while (*key < s->keys.n && k[*key].object <= i) ++*key;
    const oaki_snappair *p = s->pairs.n ? oaki_snappairs_of(s, (uint32_t)i, &npairs) : NULL;
    for (size_t j = 0; j < npairs; j++)
        put_edge(c, EDGE_INTERNAL, STRING_EPHEMERON, node_of_object(c, p[j].value));
}

static void put_edges(converter *c)
{
    size_t key = 0;
    oaki_json_key(&c->json, "edges");
    oaki_json_array(&c->json);
    put_edge(c, EDGE_ELEMENT, 1, 1);
    for (size_t i = 0; i < c->ngroups; i++) put_edge(c, EDGE_ELEMENT, i + 1, node_of_group(i));
    for (size_t i = 0; i < c->s->roots.n; i++) {
        uint32_t r = c->order[i];
        put_edge(c, EDGE_PROPERTY, string_of_root(c, r),
                 node_of_object(c, oaki_snaproot_at(c->s, r)->target));
    }
    for (size_t i = 0; i < c->s->objects.n && !c->error; i++) put_edges_of(c, i, &key);
    oaki_json_array_end(&c->json);
}

/* ---- the description ---- */

static void put_words(oaki_json *j, const char *key, const char *const *word, size_t n)
{
    if (key) oaki_json_key(j, key);
    oaki_json_array(j);
    for (size_t i = 0; i < n; i++) oaki_json_string(j, word[i]);
    oaki_json_array_end(j);
}

#define WORDS(j, key, ...) \
    put_words(j, key, (const char *const[]){ __VA_ARGS__ }, \
              sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

/* A list whose first item is a list. */
static void put_types(oaki_json *j, const char *key, const char *const *type, size_t n,
                      const char *const *rest, size_t nrest)
{
    oaki_json_key(j, key);
    oaki_json_array(j);
    put_words(j, NULL, type, n);
    for (size_t i = 0; i < nrest; i++) oaki_json_string(j, rest[i]);
    oaki_json_array_end(j);
}

static void put_meta(oaki_json *j)
{
    static const char *const nodes[] = {
        "hidden",    "array",  "string", "object",    "code",
        "closure",   "regexp", "number", "native",    "synthetic",
        "concatenated string", "sliced string",       "symbol", "bigint"
    };
    static const char *const node_rest[] = { "string", "number", "number",
                                             "number", "number", "number" };
    static const char *const edges[] = { "context", "element",  "property", "internal",
                                         "hidden",  "shortcut", "weak" };
    static const char *const edge_rest[] = { "string_or_number", "node" };
    oaki_json_key(j, "meta");
    oaki_json_object(j);
    WORDS(j, "node_fields", "type", "name", "id", "self_size", "edge_count", "trace_node_id",
          "detachedness");
    put_types(j, "node_types", nodes, OAKI_COUNT(nodes), node_rest, OAKI_COUNT(node_rest));
    WORDS(j, "edge_fields", "type", "name_or_index", "to_node");
    put_types(j, "edge_types", edges, OAKI_COUNT(edges), edge_rest, OAKI_COUNT(edge_rest));
    WORDS(j, "trace_function_info_fields", "function_id", "name", "script_name", "script_id",
          "line", "column");
    WORDS(j, "trace_node_fields", "id", "function_info_index", "count", "size", "children");
    WORDS(j, "sample_fields", "timestamp_us", "last_assigned_id");
    WORDS(j, "location_fields", "object_index", "script_id", "line", "column");
    oaki_json_object_end(j);
}

static void put_head(converter *c)
{
    const oak_snapshot *s = c->s;
    oaki_json_key(&c->json, "snapshot");
    oaki_json_object(&c->json);
    put_meta(&c->json);
    oaki_json_put_u64(&c->json, "node_count", 2 + c->ngroups + s->objects.n);
    oaki_json_put_u64(&c->json, "edge_count",
                      1 + c->ngroups + s->roots.n + s->edges.n + s->pairs.n);
    oaki_json_put_u64(&c->json, "trace_function_count", 0);
    oaki_json_object_end(&c->json);
}

static void put_empty(oaki_json *j, const char *key)
{
    oaki_json_key(j, key);
    oaki_json_array(j);
    oaki_json_array_end(j);
}

static int convert(converter *c)
{
    c->buf = malloc(BUFFER);
    if (!c->buf || !make_groups(c) || !order_roots(c)) return ENOMEM;
    oaki_json_init(&c->json, sink, c);
    oaki_json_object(&c->json);
    put_head(c);
    put_nodes(c);
    put_edges(c);
    put_empty(&c->json, "trace_function_infos");
    put_empty(&c->json, "trace_tree");
    put_empty(&c->json, "samples");
    put_empty(&c->json, "locations");
    put_strings(c);
    oaki_json_object_end(&c->json);
    oaki_json_finish(&c->json);
    if (!c->error && oaki_write_all(c->fd, c->buf, c->n) != 0) c->error = errno;
    return c->error;
}

int oak_snapshot_convert(const oak_snapshot *s, int fd)
{
    OAKI_NO_CANCEL;
    if (!s) return errno = EINVAL, -1;
    converter c = { .s = s, .fd = fd };
    int error = convert(&c);
    free(c.buf);
    free(c.groups);
    free(c.slots);
    free(c.group_of);
    free(c.order);
    errno = error;
    return error ? -1 : 0;
}
