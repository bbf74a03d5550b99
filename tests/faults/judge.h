/* judge.h - whether what a program of check-faults shows is right, or told, or a fault. */
#ifndef OAKUM_TESTS_JUDGE_H
#define OAKUM_TESTS_JUDGE_H

#include "asker.h"
#include <stdbool.h>

#define JUDGE_TEXT 16384

typedef enum outcome {
    RIGHT,     /* says and exits as without a failure */
    TOLD,      /* something else, and a line says why */
    SIGNALLED, /* the rest are faults, but for UNMET */
    HANGS,
    WRONG,
    SILENT,  /* something else, and no line says why */
    UNCLEAR, /* a line of nobody's */
    UNMET,
    OUTCOMES
} outcome;

typedef struct said {
    int status;
    bool hangs, muted; /* as in struct injected */
    bool onwards;      /* each further call has failed, too */
    unsigned char answers[ASKER_QUESTIONS]; /* asker_answer of each, of a program that serves */
    char out[JUDGE_TEXT], err[JUDGE_TEXT];
} said;

typedef enum judge_kind {
    JUDGE_PROGRAM, /* its output and its status count */
    JUDGE_REPORT,  /* stderr is a report, whose figures count */
    JUDGE_SERVER   /* the answers count, too */
} judge_kind;

/* `usual` is what it says without a failure. */
outcome judge(judge_kind kind, const said *usual, const said *s);

bool judge_is_fault(outcome o);
const char *judge_name(outcome o);

/* The first line that says why something else came out; NULL if there is none. *length: without its
 * end. */
const char *judge_reason(const char *err, int *length);

#endif
