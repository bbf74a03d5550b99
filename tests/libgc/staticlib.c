/* staticlib.c - the library of starting.c: words that keep objects while it is loaded. */
void *words[200];
