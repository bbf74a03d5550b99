/* last - a program whose last thread ends by the system call exit: last MAIN THREAD. Both are a
 * status, or "libc" for an end by libc. The thread ends after main; "none": there is no thread. */
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static pthread_t first;
static sem_t begun;

static void end(const char *how)
{
    if (strcmp(how, "libc") == 0) pthread_exit(NULL);
    syscall(SYS_exit, atoi(how));
}

static void *beside(void *how)
{
    sem_post(&begun);
    pthread_join(first, NULL);
    end(how);
    return NULL;
}

static void in_exit(void)
{
    _exit(9); /* such an end runs no handlers */
}

int main(int argc, char **argv)
{
    pthread_t id;
    if (argc != 3 || atexit(in_exit) != 0) return 2;
    first = pthread_self();
    free(malloc(1));
    if (strcmp(argv[2], "none") != 0) {
        if (sem_init(&begun, 0, 0) != 0) return 2;
        if (pthread_create(&id, NULL, beside, argv[2]) != 0) return 2;
        sem_wait(&begun);
    }
    end(argv[1]);
}
