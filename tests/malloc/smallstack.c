/* smallstack.c - ends, saves, and misuses memory in a handler on the smallest alternate stack that
 * the machine allows; with a name whose demangling takes a deep recursion. */
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define P10 "PPPPPPPPPP"
#define P100 P10 P10 P10 P10 P10 P10 P10 P10 P10 P10
#define POINTERS P100 P100 P100 P100 P100 P100

/* In C++: a function `deep` of a pointer to a pointer to ... an int. */
void deep(void) __asm__("_Z4deep" POINTERS "i");

__attribute__((noinline)) void deep(void)
{
    for (int i = 0; i < 10; i++) /* a word of the stack may keep the last */
        if (!malloc(100)) abort();
}

static char mode;

static void on_signal(int sig)
{
    (void)sig;
    deep();
    if (mode == 'm') {
        char *p = malloc(10);
        free(p);
        free(p);
    }
    exit(0);
}

int main(int argc, char **argv)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), size = (size_t)sysconf(_SC_SIGSTKSZ);
    stack_t s = { .ss_size = (size + page - 1) & -page };
    struct sigaction a = { .sa_handler = on_signal, .sa_flags = SA_ONSTACK };
    mode = argc > 1 ? argv[1][0] : 'e';
    (void)dlopen("libstdc++.so.6", RTLD_NOW | RTLD_GLOBAL);
    char *p = mmap(NULL, page + s.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                   0);
    if (p == MAP_FAILED || mprotect(p, page, PROT_NONE) != 0) return 2;
    s.ss_sp = p + page;
    if (sigaltstack(&s, NULL) != 0 || sigaction(SIGUSR1, &a, NULL) != 0) return 3;
    raise(SIGUSR1);
    return 4;
}
