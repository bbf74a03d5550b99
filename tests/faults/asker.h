/* asker.h - the client of the debug server in check-faults. */
#ifndef OAKUM_TESTS_ASKER_H
#define OAKUM_TESTS_ASKER_H

#include <stdbool.h>
#include <sys/types.h>

enum { ASKER_QUESTIONS = 13 };

/* What came back for each question. */
typedef enum asker_answer {
    ASKER_NONE,    /* the program ended before it was asked */
    ASKER_RIGHT,   /* whole, with the status and a text that it must have */
    ASKER_REFUSED, /* no connection, one that was cut off, or an error status with its line */
    ASKER_LATE,    /* a connection, and neither an answer nor its end */
    ASKER_WRONG    /* whole, with another text */
} asker_answer;

typedef struct asker {
    const char *folder; /* where the program leaves the server's address */
    int input;          /* of the pipe that the program reads from: closed when all is asked */
    pid_t pid;
    unsigned char *answers; /* asker_answer of each; shared with the asker's process */
} asker;

/* Take memory for the answers. Not for two programs at once. */
bool asker_begin(asker *a);

/* Start a process that asks all of them, as the `started` of inject_run. */
void asker_start(int pid, void *ctx);

const char *asker_path(int question);

#endif
