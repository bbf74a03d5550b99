/* newer.c - a program for a newer libgc: it calls a function that this one doesn't have. */
void GC_init(void);
int GC_of_a_later_version(void);

#ifdef LIBRARY
void GC_init(void)
{
}

int GC_of_a_later_version(void)
{
    return 0;
}
#else
int main(void)
{
    GC_init();
    return GC_of_a_later_version();
}
#endif
