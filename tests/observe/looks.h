/* looks.h - what holds of each page that Oakum makes. */
#ifndef TESTS_OBSERVE_LOOKS_H
#define TESTS_OBSERVE_LOOKS_H

/* Looks at the page that is open, at 1280 and 390 pixels. What is not right ends the process. */
void looks_right(const char *where);

#endif
