/* hello.c - memory that nobody frees: a list is built and forgotten, a thousand times.
 *
 * cc hello.c $(pkg-config --cflags --libs oakum) -o hello */
#include <oakum/oakum.h>
#include <stdio.h>

struct node {
    struct node *next;
    long value;
};

/* The only root is `list`, a local variable. */
static long sum_of_list(long n)
{
    struct node *list = NULL;
    long sum = 0;
    for (long i = 0; i < n; i++) {
        struct node *first = oak_alloc(sizeof *first); /* zeroed; NULL when there is no memory */
        if (!first) return -1;
        *first = (struct node){ list, i };
        list = first;
    }
    for (; list; list = list->next) sum += list->value;
    return sum;
}

int main(void)
{
    oak_memstats m;
    long sum = 0;
    for (int i = 0; i < 1000; i++) sum += sum_of_list(10000);
    oak_memstats_read(&m);
    printf("sum %ld\n", sum);
    printf("%llu objects were made, ", (unsigned long long)m.mallocs);
    printf("%s of their memory is held\n", m.heap_sys < m.total_alloc / 4 ? "little" : "much");
    return 0;
}
