/* frame.c - a library with a frame of FRAME bytes, which calls what it is given. Two that differ in
 * that alone are laid out alike. */
#ifdef __x86_64__
#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
__asm__(".text\n"
        ".globl frame_call\n"
        ".type frame_call, @function\n"
        "frame_call:\n"
        ".cfi_startproc\n"
        "subq $" TEXT(FRAME) ", %rsp\n"
                             ".cfi_adjust_cfa_offset " TEXT(
                                 FRAME) "\n"
                                        "call *%rdi\n"
                                        "addq $" TEXT(
                                            FRAME) ", %rsp\n"
                                                   ".cfi_adjust_cfa_offset -" TEXT(
                                                       FRAME) "\n"
                                                              "ret\n"
                                                              ".cfi_endproc\n"
                                                              ".size frame_call, . - frame_call\n");
#else
void frame_call(void (*fn)(void));
void frame_call(void (*fn)(void))
{
    char space[FRAME];
    __asm__ __volatile__("" : : "r"(space) : "memory");
    fn();
    __asm__ __volatile__("" : : "r"(space) : "memory");
}
#endif
