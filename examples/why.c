/* why.c - why is this object still alive? The path to it, from a root, with names. */
#include <oakum/oakum.h>
#include <stdio.h>
#include <unistd.h>

struct user {
    const char *name;
    void *session;
};

oak_map *users; /* data of the program is a root */

/* A type tells the collector which words are references, and a path what an object is called. */
static void *new_session(void)
{
    static const oak_type *type;
    if (!type) type = oak_type_bitmap("session", 64, &(uint64_t){ 1 });
    return oak_alloc_typed(type, 1);
}

static void *log_in(const char *name)
{
    struct user *u = oak_alloc(sizeof *u);
    u->name = name;
    u->session = new_session();
    *(void **)oak_map_put(users, &name) = u;
    return u->session;
}

int main(void)
{
    users = oak_map_new(&oak_map_cstring_ptr, 0);
    log_in("ann");
    oak_path *path = oak_why_alive(log_in("bob"));
    if (!path) return 1;
    oak_path_write(path, STDOUT_FILENO);
    oak_path_free(path);
    return 0;
}
