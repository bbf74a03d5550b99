/* owncode.h - where the code of each of the library's files begins and ends. In a program that
 * holds the static library, all functions lie in one section; this tells Oakum's from the host's.
 * The shared library (PIC) holds no other code, and its functions have sections (tools/order).
 *
 * Every file of the library includes it, through base.h; no other file does. The assembler keeps
 * the numbered parts of a section in the order of their numbers. So a label in the first part and
 * one in the last possible part enclose all that the compiler puts between. A section of its own
 * collects the labels, as distances from the place where each is noted.
 * Bound: 8 bytes per file and section. Code compiled with -ffunction-sections or -flto escapes. */
#ifndef OAKI_OWNCODE_H
#define OAKI_OWNCODE_H

#ifndef PIC
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

#endif
