/* snapshot.c - a program that saves a snapshot of a heap with maps in it, for check-memlab. */
#include <oakum/oakum.h>
#include <stdio.h>

void *everything[4];

int main(int argc, char **argv)
{
    static const uint64_t none[16];
    oak_type *text = oak_type_bitmap("kilo_of_text", 1024, none);
    oak_map *m = oak_map_new(&oak_map_cstring_ptr, 0);
    oak_classic_map *c = oak_classic_new(&oak_classic_int_ptr, 0);

    if (argc != 2 || !text || !m || !c) return 2;
    everything[0] = m;
    everything[1] = c;
    for (uint64_t i = 0; i < 1000; i++) {
        char *key = oak_alloc_noscan(16);
        snprintf(key, 16, "key \"%u\"", (unsigned)i);
        *(void **)oak_map_put(m, &key) = oak_alloc_typed(text, 1 + i % 3);
        *(void **)oak_classic_put(c, &i) = oak_alloc(16 + 8 * (i % 50));
    }
    void **key = oak_alloc(64);
    everything[2] = key;
    key[0] = oak_ephemeron_new(key, oak_alloc(5000));
    if (oak_snapshot_save(argv[1]) == 0) return 0;
    perror("oak_snapshot_save");
    return 1;
}
