/* plain.c - a program on malloc for check-faults, to be run by oakum run --collect: lists that it
 * keeps, frees and loses, in two threads. */
#include <pthread.h>

#define GUEST_NEW malloc
#define GUEST_ROOM 48
#include "list.h"

static void free_list(node *list)
{
    while (list) {
        node *next = list->next;
        free(list);
        list = next;
    }
}

static void *work(void *arg)
{
    node *kept = list_of(5000);
    char *text = NULL;
    (void)arg;
    for (int i = 0; i < 20; i++) {
        (void)list_of(5000);
        if (!malloc(4 << 20)) failed("malloc"); /* 64 MiB are walked for the first time */
        free_list(list_of(2000));
        char *longer = realloc(text, (size_t)(i + 1) * 10000);
        if (!longer) failed("realloc");
        text = longer;
        text[i * 10000] = (char)i;
    }
    for (int i = 0; i < 20; i++) expect("a byte", text[i * 10000], i);
    free(text);
    check_list(kept, 5000);
    free_list(kept);
    return NULL;
}

int main(void)
{
    pthread_t thread;
    int error = pthread_create(&thread, NULL, work, NULL);
    if (error != 0) {
        errno = error;
        failed("pthread_create");
    }
    work(NULL);
    pthread_join(thread, NULL);
    say("collected\n");
    return 0;
}
