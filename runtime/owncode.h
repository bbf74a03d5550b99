/* owncode.h - where the code of each of the library's files begins and ends, for who wants to tell
 * Oakum's functions from the program's: in a program that holds the static library they lie in one
 * section.
 *
 * Included by every file of the library, through base.h, and by no other. The assembler keeps a
 * section's numbered parts in the order of their numbers, so a label in the first and one in the
 * last possible one stand around all that the compiler puts between. They are collected, as
 * distances from where they are noted, in a section of their own.
 * Bound: 8 bytes a file and section. What is compiled with -ffunction-sections or -flto escapes. */
#ifndef OAKI_OWNCODE_H
#define OAKI_OWNCODE_H

#define OAKI_OWNCODE(name, section)                          \
    __asm__(".pushsection " section ",0,\"ax\",@progbits\n"   \
            ".L" name ":\n.popsection\n"                     \
            ".pushsection " section ",8191,\"ax\",@progbits\n" \
            ".L" name "_end:\n.popsection\n"                 \
            ".pushsection oaki_code,\"a\",@progbits\n"       \
            ".balign 4\n.long .L" name " - ., .L" name "_end - .\n.popsection")

OAKI_OWNCODE("oaki_code", ".text");
OAKI_OWNCODE("oaki_code_cold", ".text.unlikely");

#endif
