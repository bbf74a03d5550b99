/* finalizers.c - the four orders, the notifier, running on demand, links, toggle references. */
#include "api.h"

typedef struct node {
    struct node *next;
    long number;
    void *pad[2];
} node;

static long ran[4]; /* by what the finalizer was told */

static void count(void *obj, void *cd)
{
    ran[(uintptr_t)cd] += ((node *)obj)->number == 7;
}

static node *new_node(node *next)
{
    node *n = GC_malloc(sizeof *n);
    n->next = next;
    n->number = 7;
    return n;
}

typedef void (*register_fn)(void *, GC_finalization_proc, void *, GC_finalization_proc *, void **);

/* first -> second -> third; the first and the third have one. */
static NOINLINE void make_chains(register_fn first, register_fn third)
{
    for (int i = 0; i < MANY; i++) {
        node *last = new_node(NULL), *middle = new_node(last), *head = new_node(middle);
        first(head, count, (void *)0, NULL, NULL);
        third(last, count, (void *)1, NULL, NULL);
    }
}

static NOINLINE void make_cycles(register_fn fn, bool of_two)
{
    for (int i = 0; i < MANY; i++) {
        node *a = new_node(NULL), *b = of_two ? new_node(a) : a;
        a->next = b;
        fn(a, count, (void *)0, NULL, NULL);
    }
}

static NOINLINE void once(void)
{
    char dead[16384];
    memset(dead, 0, sizeof dead);
    __asm__ __volatile__("" : : "r"(dead) : "memory");
    GC_gcollect();
}

static void tell(const char *what)
{
    printf("%s\n", what);
    say_of_many("  first", ran[0]);
    say_of_many("  last", ran[1]);
}

static void chains(const char *what, register_fn first, register_fn third)
{
    memset(ran, 0, sizeof ran);
    make_chains(first, third);
    printf("%s, ", what);
    once();
    tell("one collection");
    collect();
    tell("  and more");
}

static void cycles(const char *what, register_fn fn, bool of_two)
{
    memset(ran, 0, sizeof ran);
    make_cycles(fn, of_two);
    collect();
    printf("%s", what);
    say_of_many("", ran[0]);
}

static void replaced(void)
{
    GC_finalization_proc fn = count;
    void *cd = &fn;
    node *n = new_node(NULL);
    GC_register_finalizer(n, count, (void *)2, &fn, &cd);
    say("none before", !fn && !cd);
    GC_register_finalizer_no_order(n, count, (void *)3, &fn, &cd);
    say("the first before", fn == count && cd == (void *)2);
    GC_register_finalizer(n, NULL, NULL, &fn, &cd);
    say("the second before", fn == count && cd == (void *)3);
    GC_register_finalizer(n, NULL, NULL, &fn, &cd);
    say("none again", !fn && !cd);
    fn = count;
    GC_register_finalizer(&cd, count, NULL, &fn, NULL);
    say("not in the heap", fn == NULL);
}

static long notified;

static void notify(void)
{
    notified++;
}

static NOINLINE void make_plain(void)
{
    for (int i = 0; i < MANY; i++)
        GC_register_finalizer(new_node(NULL), count, (void *)0, NULL, NULL);
}

static void on_demand(void)
{
    memset(ran, 0, sizeof ran);
    GC_set_finalize_on_demand(1);
    GC_set_finalizer_notifier(notify);
    say("getters", GC_get_finalize_on_demand() && GC_get_finalizer_notifier() == notify);
    make_plain();
    collect();
    say("notified", notified > 0);
    say("ran by themselves", ran[0]);
    notified = 0;
    GC_gcollect();
    say("notified again", notified);
    say("there is something to do", GC_should_invoke_finalizers() != 0);
    long n = GC_invoke_finalizers();
    say("the count is right", n == ran[0]);
    say_of_many("ran", n);
    say("nothing is left", GC_should_invoke_finalizers());
    GC_set_finalize_on_demand(0);
    GC_set_finalizer_notifier(NULL);
}

/* A program that allocates nothing but lists. */
static void by_lists(void)
{
    memset(ran, 0, sizeof ran);
    make_plain();
    for (int i = 0; i < 20000; i++) GC_malloc_many(100);
    say_of_many("ran from lists", ran[0]);
}

static node *saved[MANY];
static long nsaved;

static void save(void *obj, void *cd)
{
    (void)cd;
    saved[nsaved++] = obj;
}

static NOINLINE void make_saved(watch *short_links, void **long_link)
{
    for (int i = 0; i < MANY; i++) {
        node *n = new_node(new_node(NULL));
        watch_add(short_links, n);
        long_link[i] = (void *)GC_HIDE_POINTER(n);
        GC_register_long_link(&long_link[i], n);
        GC_register_finalizer_no_order(n, save, NULL, NULL, NULL);
    }
}

static long count_links(void **link)
{
    long n = 0;
    for (int i = 0; i < MANY; i++) n += link[i] != NULL;
    return n;
}

/* An object that its finalizer saves: short links go, long ones stay until it goes for good. */
static void resurrected(void)
{
    watch w;
    void **long_link = GC_malloc_atomic_uncollectable(MANY * sizeof *long_link);
    long good = 0;
    watch_init(&w);
    make_saved(&w, long_link);
    collect();
    say_of_many("saved", nsaved);
    say_of_many("short links", watch_alive(&w));
    say_of_many("long links", count_links(long_link));
    for (int i = 0; i < nsaved; i++) good += saved[i]->number == 7 && saved[i]->next->number == 7;
    say("whole", good == nsaved);
    memset(saved, 0, sizeof saved);
    collect();
    say_of_many("long links at last", count_links(long_link));
}

static void all_of_them(void)
{
    static node *kept[10];
    memset(ran, 0, sizeof ran);
    for (int i = 0; i < 10; i++) {
        kept[i] = new_node(NULL);
        GC_register_finalizer(kept[i], count, (void *)0, NULL, NULL);
    }
    collect();
    say("reachable ones ran", ran[0]);
    GC_finalize_all();
    say("all ran", ran[0]);
    memset(kept, 0, sizeof kept);
}

/* ---- memory outside of the heap ---- */

#define FOREIGN 200000

static long waiting, most_waiting;

static void free_foreign(void *obj, void *cd)
{
    (void)cd;
    free(*(void **)obj);
    waiting--;
}

/* Small objects whose finalizers free more than they are: the collections keep step. */
void test_foreign(void)
{
    for (int i = 0; i < FOREIGN; i++) {
        void **p = GC_malloc(32);
        *p = malloc(1000);
        GC_register_finalizer_no_order(p, free_foreign, NULL, NULL, NULL);
        if (++waiting > most_waiting) most_waiting = waiting;
    }
    say("few of them wait at a time", most_waiting < FOREIGN / 25);
    say("and they are freed meanwhile", waiting < FOREIGN / 25);
}

void test_finalizers(void)
{
    chains("ordered", GC_register_finalizer, GC_register_finalizer);
    chains("no order", GC_register_finalizer_no_order, GC_register_finalizer_no_order);
    chains("no order, unreachable", GC_register_finalizer_no_order,
           GC_register_finalizer_unreachable);
    chains("ordered, no order", GC_register_finalizer, GC_register_finalizer_no_order);
    chains("no order, ordered", GC_register_finalizer_no_order, GC_register_finalizer);
    cycles("ordered in a cycle", GC_register_finalizer, true);
    cycles("ordered to itself", GC_register_finalizer, false);
    cycles("ignore self, to itself", GC_register_finalizer_ignore_self, false);
    cycles("ignore self, in a cycle", GC_register_finalizer_ignore_self, true);
    cycles("no order in a cycle", GC_register_finalizer_no_order, true);
    cycles("unreachable to itself", GC_register_finalizer_unreachable, false);
    replaced();
    on_demand();
    by_lists();
    resurrected();
    all_of_them();
}

/* ---- links ---- */

static NOINLINE void make_linked(watch *w, void **holder)
{
    for (int i = 0; i < MANY; i++) {
        void *obj = GC_malloc(24);
        watch_add(w, obj);
        if (holder) holder[i] = obj;
    }
}

static pthread_t program;
static int asked, asked_elsewhere;

static GC_ToggleRefStatus toggle(void *obj)
{
    asked++;
    asked_elsewhere += !pthread_equal(pthread_self(), program);
    return ((node *)obj)->number == 7 ? GC_TOGGLE_REF_STRONG : GC_TOGGLE_REF_WEAK;
}

static GC_ToggleRefStatus drop(void *obj)
{
    (void)obj;
    return GC_TOGGLE_REF_DROP;
}

static NOINLINE void make_toggled(watch *strong, watch *weak)
{
    for (int i = 0; i < MANY; i++) {
        node *a = new_node(NULL), *b = new_node(NULL);
        b->number = 8;
        GC_toggleref_add(a, 1);
        GC_toggleref_add(b, 1);
        watch_add(strong, a);
        watch_add(weak, b);
    }
}

static int finalized, elsewhere;

static void GC_CALLBACK note_thread(void *obj, void *cd)
{
    (void)obj;
    (void)cd;
    finalized++;
    elsewhere += !pthread_equal(pthread_self(), program);
}

static NOINLINE void make_finalized(void)
{
    for (int i = 0; i < MANY; i++)
        GC_register_finalizer(GC_malloc(24), note_thread, NULL, NULL, NULL);
}

void test_links(void)
{
    static void *holder[MANY];
    void **cell = GC_malloc_atomic(4 * sizeof *cell);
    void *obj = GC_malloc(24);
    watch w, strong, weak;
    cell[0] = (void *)GC_HIDE_POINTER(obj);
    say("register", GC_general_register_disappearing_link(&cell[0], obj));
    say("register again", GC_general_register_disappearing_link(&cell[0], obj));
    say("move", GC_move_disappearing_link(&cell[0], &cell[1]));
    say("move it again", GC_move_disappearing_link(&cell[0], &cell[1]));
    say("move to itself", GC_move_disappearing_link(&cell[1], &cell[1]));
    say("another", GC_general_register_disappearing_link(&cell[2], obj));
    say("move onto it", GC_move_disappearing_link(&cell[1], &cell[2]));
    say("unregister", GC_unregister_disappearing_link(&cell[1]));
    say("unregister again", GC_unregister_disappearing_link(&cell[1]));
    say("unregister the other", GC_unregister_disappearing_link(&cell[2]));
    say("long", GC_register_long_link(&cell[0], obj));
    say("long and short", GC_general_register_disappearing_link(&cell[0], obj));
    say("long again", GC_register_long_link(&cell[0], obj));
    say("move long", GC_move_long_link(&cell[0], &cell[3]));
    say("unregister long", GC_unregister_long_link(&cell[3]));
    say("unregister short", GC_unregister_disappearing_link(&cell[0]));
    GC_reachable_here(obj);
    void **inside = GC_malloc_atomic(40);
    *inside = (void *)GC_HIDE_POINTER(inside);
    say("of the object it is in", GC_register_disappearing_link(inside));
    say("unregister it", GC_unregister_disappearing_link(inside));
    watch_init(&w);
    make_linked(&w, holder);
    collect();
    say_of_many("held", watch_alive(&w));
    memset(holder, 0, sizeof holder);
    collect();
    say_of_many("dropped", watch_alive(&w));
    program = pthread_self();
    GC_set_toggleref_func(toggle);
    watch_init(&strong);
    watch_init(&weak);
    make_toggled(&strong, &weak);
    collect();
    say_of_many("strong toggle references", watch_alive(&strong));
    say_of_many("weak toggle references", watch_alive(&weak));
    elsewhere = 0;
    finalized = 0;
    make_finalized();
    for (int i = 0; i < 300000 && finalized < MANY / 2; i++) GC_reachable_here(GC_malloc(100));
    say("half of them finalized", finalized >= MANY / 2);
    say("by another thread", elsewhere);
    asked = asked_elsewhere = 0;
    for (int i = 0; i < 300000 && asked < 20 * MANY; i++) GC_reachable_here(GC_malloc(100));
    say("toggled without being told to", asked > 0);
    say("by another thread", asked_elsewhere);
    GC_set_toggleref_func(drop); /* NULL would do by the headers, and ends libgc */
    collect();
}
