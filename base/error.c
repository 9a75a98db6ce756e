/* The error domain and its exit codes. Each code maps to the sysexits(3) value whose meaning for a
 * script is nearest to "what may the caller do next". */
#include "base/error.h"

#include <sysexits.h>

G_DEFINE_QUARK(loa - error - quark, loa_error)

int loa_error_exit_code(const GError *error)
{
    if (error == NULL)
        return EX_OK;
    if (error->domain != LOA_ERROR)
        return EX_SOFTWARE;
    switch ((enum loa_error)error->code) {
    case LOA_ERROR_RETRY:
    case LOA_ERROR_UNCERTAIN:
    case LOA_ERROR_LIMIT:
        return EX_TEMPFAIL;
    case LOA_ERROR_INVALID:
    case LOA_ERROR_CONFLICT:
        return EX_DATAERR;
    case LOA_ERROR_NOT_FOUND:
        return EX_NOINPUT;
    case LOA_ERROR_DENIED:
        return EX_NOPERM;
    case LOA_ERROR_INTERNAL:
        return EX_SOFTWARE;
    }
    return EX_SOFTWARE;
}
