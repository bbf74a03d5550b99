/* typed.c - typed maps, as C and as C++: prints what OAK_MAP_DEFINE makes of each type, which must
 * be the same in either, and uses two of them. */
#include <oakum/oakum.h>
#include <stdio.h>

typedef struct point {
    int x, y, z;
} point;
typedef struct node {
    struct node *next;
    double weight;
} node;
typedef enum colour { RED, GREEN } colour;

static uint64_t hash_point(const point *p, uint64_t seed)
{
    return (uint64_t)p->x * 31 + (uint64_t)p->y + seed;
}

static bool equal_point(const point *a, const point *b)
{
    return a->x == b->x && a->y == b->y;
}

OAK_MAP_DEFINE_WITH(point_map, point, long, hash_point, equal_point);

/* name, key, value */
#define MAPS(X)                           \
    X(char_short, char, short)            \
    X(bool_float, bool, float)            \
    X(int_int, int, int)                  \
    X(enum_long, colour, unsigned long)   \
    X(long_double, long long, double)     \
    X(float_char, float, unsigned char)   \
    X(double_point, double, point)        \
    X(size_node, size_t, node)            \
    X(pointer_node, void *, node *)       \
    X(node_slice, node, oak_slice)        \
    X(text_pointer, const char *, char *) \
    X(bytes_text, char *, const char *)   \
    X(slice_enum, oak_slice, colour)      \
    X(point_bool, point, bool)

#define DEFINE(name, K, V) OAK_MAP_DEFINE(name, K, V);
MAPS(DEFINE)

static void print(const oak_map_type *t)
{
    printf("%s: key %d, flags %u, sizes %zu %zu, value at %zu of %zu\n", t->name, (int)t->key,
           t->flags, t->key_size, t->value_size, t->value_offset, t->entry_size);
}

static int use(void)
{
    int_int *m = int_int_new(0);
    point_map *points = point_map_new(10);
    for (int i = 0; i < 1000; i++) {
        point p = { i, -i, i % 2 };
        *int_int_put(m, i) = 2 * i;
        *point_map_put(points, p) = i;
    }
    long sum = 0;
    int_int_iter it;
    int_int_iter_init(&it, m);
    while (int_int_iter_next(&it)) sum += *it.key + *it.value;
    point p = { 7, -7, 5 };
    long *seven = point_map_get(points, p);
    int r = sum == 3 * 999 * 500 && seven && *seven == 7 && int_int_delete(m, 5) &&
                    int_int_len(m) == 999
                ? 0
                : -1;
    int_int_clear(m);
    point_map_clear(points);
    return r == 0 && point_map_delete(points, p) ? -1 : r;
}

int main(void)
{
#define PRINT(name, K, V) print(&name##_type);
    MAPS(PRINT)
    print(&point_map_type);
    return use() == 0 ? 0 : 1;
}
