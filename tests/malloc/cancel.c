/* cancel - a thread with a cancellation pending allocates, resizes and frees while it holds a lock:
 * none of that is a cancellation point. It is cancelled where it asks for it. Then the process can
 * fork, and the child allocate. What hangs is killed by SIGALRM. */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define WATCHDOG 100 /* seconds */
#define TURNS 20000
#define KEPT 64

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int turns, went_on;
static char *kept[KEPT];

static int wrong(const char *what)
{
    fprintf(stderr, "%s\n", what);
    return 1;
}

static void turn(int i)
{
    char **at = &kept[i % KEPT], *p = NULL;
    size_t n = (size_t)(i % 500 ? i % 3000 : 200000) + 1;
    free(*at);
    switch (i % 4) {
    case 0:
        p = malloc(n);
        break;
    case 1:
        p = calloc(1, n);
        break;
    case 2:
        p = aligned_alloc(64, (n + 63) / 64 * 64);
        break;
    default:
        p = strdup("a text");
        break;
    }
    p = realloc(p, n + 100);
    if (!p) abort();
    memset(p, 1, n);
    *at = i % 7 ? p : NULL; /* or lost */
    if (malloc_usable_size(p) < n) abort();
}

static void *allocate(void *arg)
{
    pthread_mutex_lock(&lock);
    pthread_cancel(pthread_self());
    for (turns = 0; turns < TURNS; turns++) turn(turns);
    (void)malloc_trim(0);
    pthread_mutex_unlock(&lock);
    pthread_testcancel();
    went_on = 1;
    return arg;
}

static int forks(void)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        for (int i = 0; i < 1000; i++) turn(i);
        exit(3);
    }
    if (child < 0) return wrong("fork");
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    return WIFEXITED(status) && WEXITSTATUS(status) == 3 ? 0 : wrong("the child did not allocate");
}

int main(void)
{
    pthread_t id;
    void *result;
    alarm(WATCHDOG);
    if (pthread_create(&id, NULL, allocate, NULL) != 0) return wrong("pthread_create");
    pthread_join(id, &result);
    if (pthread_mutex_trylock(&lock) != 0 || turns < TURNS) return wrong("cancelled too early");
    if (result != PTHREAD_CANCELED || went_on) return wrong("not cancelled at all");
    if (forks() != 0) return 1;
    for (int i = 0; i < 1000; i++) turn(i);
    return 0;
}
