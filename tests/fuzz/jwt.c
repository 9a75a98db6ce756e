/* lib: loa_base */
/* A token of a stranger. The first byte chooses the algorithm; whatever verifies must be one of the
 * seeds' two claims, because only their signer had the private keys. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/crypto.h"

#define CLAIMS "{\"iss\":\"loa\",\"iat\":1795392000}"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char rsa_pem[] = "-----BEGIN PUBLIC KEY-----\n"
                              "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAq+rZ5HdCX6Pp7X+Tl1Th\n"
                              "rJmGkRmhSak34QWnMIUVpE5cz6ABUlbs449pIeZmm4PsY/JJrryNSFFUXkNNWQDo\n"
                              "hAmRfhyfD47edX0xsoGulQKNJPoNuiGpZ0RVBMTLfptgabN6K+n7WCimmKwphgLt\n"
                              "KQ1hNPG/gxmLHcDgaEA0Z1/2SaQY9dDqGC0zQlF+1bKVPRm59IoHRau0eJ/YgFMe\n"
                              "t4QokqE4jcp7DAuVAxRPA9QFpanTm9dgP6DNIXeLUnsXC8XRo1/DL50jnHCwZZss\n"
                              "GvxCFjoKUBFf6F5dEJiiMOrFU2GK/3Ccu13Xc3iGI7QwqWX42xTdD+Jx8y/jYfSz\n"
                              "0wIDAQAB\n"
                              "-----END PUBLIC KEY-----\n";
static const char ec_pem[] = "-----BEGIN PUBLIC KEY-----\n"
                             "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEDJRiGeOnXkQho/KSzis4VXc3PI0y\n"
                             "W/a4GRisLIKWAG2P465VRvJjL03vm8/XKGjA1PWla1iBhX3h4TZNLjjPvA==\n"
                             "-----END PUBLIC KEY-----\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    bool rsa = data[0] == 'R';
    g_autofree char *token = g_strndup((const char *)data + 1, size - 1);
    g_autofree char *kid = NULL;
    g_autoptr(GError) error = NULL;
    g_autofree char *claims =
        jwt_verify(rsa ? "RS256" : "ES256", rsa ? rsa_pem : ec_pem, token, &kid, &error);
    if ((claims == NULL) != (error != NULL) || (claims != NULL && strcmp(claims, CLAIMS) != 0))
        __builtin_trap();
    return 0;
}
