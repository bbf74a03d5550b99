/* shapes - five leaks as real programs have them, and each without: shapes SHAPE leaky|repaired.
 *
 * What is said to be lost is in tests/malloc/check; where it was allocated is there, too, and in a
 * comment of that line. Values are used, so that the compiler keeps what is done here. */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OWN __attribute__((noinline))

static bool repaired;
static size_t total; /* keeps what is computed */

static OWN _Noreturn void no_memory(void)
{
    fputs("shapes: out of memory\n", stderr);
    exit(3);
}

/* ---- list: the last reference to a list goes, and nobody frees its nodes ---- */

typedef struct node {
    struct node *next;
    char text[40];
} node;

static OWN node *push(node *head, int i)
{
    node *n = malloc(sizeof *n); /* list is lost */
    if (!n) no_memory();
    snprintf(n->text, sizeof n->text, "node %d", i);
    n->next = head;
    return n;
}

static OWN void list(void)
{
    node *head = NULL;
    for (int i = 0; i < 50; i++) head = push(head, i);
    for (node *n = head; n; n = n->next) total += strlen(n->text);
    while (repaired && head) {
        node *next = head->next;
        free(head);
        head = next;
    }
}

/* ---- cache: eviction frees the entry, not its value ---- */

#define PLACES 16

typedef struct entry {
    unsigned key;
    char *value;
} entry;

static entry *cache[PLACES];

static OWN char *make_value(unsigned key)
{
    char *value = malloc(100); /* cache is lost */
    if (!value) no_memory();
    total += (size_t)snprintf(value, 100, "value of %u", key);
    return value;
}

static OWN void evict(entry *e)
{
    if (!e) return;
    if (repaired) free(e->value);
    free(e);
}

static OWN void use_cache(unsigned key)
{
    entry **at = &cache[key % PLACES];
    if (*at && (*at)->key == key) {
        total += strlen((*at)->value);
        return;
    }
    evict(*at);
    *at = malloc(sizeof **at);
    if (!*at) no_memory();
    **at = (entry){ key, make_value(key) };
}

static OWN void evicting(void)
{
    for (unsigned i = 0; i < 200; i++) use_cache(i * 7);
}

/* ---- error: the way out when something is wrong leaves a buffer behind ---- */

static OWN char *read_line(const char *line)
{
    char *copy = malloc(strlen(line) + 65); /* error is lost */
    if (!copy) no_memory();
    memset(copy, 0, strlen(line) + 65);
    strncpy(copy, line, strlen(line) + 1);
    return copy;
}

static OWN int parse(const char *line)
{
    char *text = read_line(line);
    if (text[0] == '#') {
        if (repaired) free(text);
        return -1;
    }
    total += strlen(text);
    free(text);
    return 0;
}

static OWN void failing(void)
{
    for (int i = 0; i < 30; i++) total += (size_t)(parse(i % 3 ? "good" : "# bad") + 1);
}

/* ---- cycle: two that count references to each other ---- */

typedef struct person {
    int count;
    struct person *friend;
    char name[32];
} person;

static OWN person *make_person(const char *name)
{
    person *p = calloc(1, sizeof *p); /* cycle is lost */
    if (!p) no_memory();
    p->count = 1;
    snprintf(p->name, sizeof p->name, "%s", name);
    return p;
}

static OWN void drop(person *p)
{
    if (--p->count > 0) return;
    if (p->friend) drop(p->friend);
    free(p);
}

static OWN void meet(void)
{
    person *a = make_person("ann"), *b = make_person("bob");
    a->friend = b;
    b->friend = a;
    a->count++, b->count++;
    total += strlen(a->name);
    if (repaired) {
        a->friend = NULL;
        drop(b);
    }
    drop(a);
    drop(b);
}

static OWN void friends(void)
{
    for (int i = 0; i < 20; i++) meet();
}

/* ---- thread: what threads have in keys without a destructor ---- */

static pthread_key_t key;

static OWN void *worker(void *arg)
{
    int *buffer = malloc(512); /* thread is lost */
    if (!buffer) no_memory();
    memset(buffer, 1, 512);
    pthread_setspecific(key, buffer);
    for (int i = 0; i < 100; i++) total += (size_t)((int *)pthread_getspecific(key))[i];
    return arg;
}

static OWN void threads(void)
{
    if (pthread_key_create(&key, repaired ? free : NULL) != 0) no_memory();
    for (int i = 0; i < 8; i++) {
        pthread_t id;
        if (pthread_create(&id, NULL, worker, NULL) != 0) no_memory();
        pthread_join(id, NULL);
    }
}

/* ---- argument: what threads were given, and nobody frees ---- */

static OWN void *take(void *arg)
{
    total += *(unsigned char *)arg;
    return NULL;
}

static OWN void give(void)
{
    pthread_t id;
    char *arg = malloc(100); /* argument is lost */
    if (!arg) no_memory();
    memset(arg, 1, 100);
    if (pthread_create(&id, NULL, take, arg) != 0) no_memory();
    pthread_join(id, NULL);
    if (repaired) free(arg);
}

static OWN void arguments(void)
{
    int times = 5;
    __asm__("" : "+r"(times)); /* unknown to the compiler: one call, and so one site */
    for (int i = 0; i < times; i++) give();
}

/* ---- */

static const struct shape {
    const char *name;
    void (*run)(void);
} shapes[] = { { "list", list },       { "cache", evicting }, { "error", failing },
               { "cycle", friends }, { "thread", threads },
               { "argument", arguments } };

int main(int argc, char **argv)
{
    repaired = argc > 2 && strcmp(argv[2], "repaired") == 0;
    for (size_t i = 0; argc > 1 && i < sizeof shapes / sizeof shapes[0]; i++)
        if (strcmp(argv[1], shapes[i].name) == 0) shapes[i].run();
    return total > 0 ? 0 : 1;
}
