/* serve_token.c - the token of a server on TCP, and the check of requests for it. It comes in a
 * header, once in the address, or as the cookie set by that.
 *
 * The cookie's value is a secret other than the token. Browsers send a cookie to every port of a
 * host, so a neighbouring server may see it. The token, which the user may have chosen, is not
 * exposed.
 *
 * Owns: the_server's token, session and cookie. Written under serve.c's lock before the loop runs,
 * and then only read. A comparison takes the same time wherever two texts differ. */
#include "runtime/os.h"
#include "runtime/print.h"
#include "serve.h"
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static oaki_server *const self = &oaki_the_server;

/* ---- secrets ---- */

static bool make_secret(char out[OAKI_SERVE_SECRET + 1])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char bytes[OAKI_SERVE_SECRET / 2];
    if (!oaki_os_random(bytes, sizeof bytes)) return false; /* a guessable secret is none */
    for (size_t i = 0; i < sizeof bytes; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[OAKI_SERVE_SECRET] = '\0';
    return true;
}

bool oaki_token_begin(bool open)
{
    self->made = !open && self->token[0] == '\0';
    memset(self->session, 0, sizeof self->session);
    if (open) return true;
    if (!make_secret(self->session)) return false;
    return !self->made || make_secret((char *)self->token);
}

void oaki_token_cookie(char *out, size_t n)
{
    oaki_format(out, n, "oakum-%d=%s; Path=/; HttpOnly; SameSite=Strict", self->listener.port,
                self->session);
}

/* ---- comparing ---- */

/* Compares n given bytes with a secret, which is in a field of zeroes and ends with at least one
 * zero. */
static bool same(const char *given, size_t n, const void *secret, size_t room)
{
    unsigned char field[OAKI_SERVE_TOKEN_MAX + 1] = { 0 };
    const unsigned char *s = secret;
    unsigned different = 0;
    OAKI_ASSERT(room <= sizeof field);
    memcpy(field, given, OAKI_MIN(n, room));
    for (size_t i = 0; i < room; i++) different |= field[i] ^ s[i];
    return different == 0 && n > 0 && n < room;
}

bool oaki_token_is(const char *given)
{
    return same(given, strlen(given), self->token, sizeof self->token);
}

bool oaki_token_in_header(const char *authorization)
{
    if (strncasecmp(authorization, "Bearer ", 7) != 0) return false;
    return oaki_token_is(authorization + 7 + strspn(authorization + 7, " "));
}

/* Another server of the same host may have set a cookie of that name too: any may match. */
bool oaki_token_in_cookies(const char *cookies)
{
    char name[32];
    bool found = false;
    size_t n = oaki_format(name, sizeof name, "oakum-%d=", self->listener.port);
    for (const char *s = cookies; *s;) {
        s += strspn(s, "; \t");
        size_t len = strcspn(s, ";");
        if (len > n && memcmp(s, name, n) == 0)
            found |= same(s + n, len - n, self->session, sizeof self->session);
        s += len;
    }
    return found;
}
