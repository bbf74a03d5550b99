/* plugin.c - a library that a test loads and unloads: built twice, with a function of another name
 * at the same place. */
void *PLUGIN(void *(*call)(void *arg), void *arg);

void *PLUGIN(void *(*call)(void *arg), void *arg)
{
    void *result = call(arg);
    __asm__("" : : : "memory"); /* no tail call */
    return result;
}
