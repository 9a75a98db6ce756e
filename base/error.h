/* The one error domain. The code answers "what may the caller do next?". */
#ifndef LOA_BASE_ERROR_H
#define LOA_BASE_ERROR_H

#include <glib.h>

#define LOA_ERROR (loa_error_quark())

enum loa_error {
    LOA_ERROR_RETRY,     /* nothing happened; the same call may succeed later */
    LOA_ERROR_UNCERTAIN, /* it may have happened; repeat only what is idempotent */
    LOA_ERROR_INVALID,   /* the input is wrong; the message names the field and what to do */
    LOA_ERROR_NOT_FOUND, /* the named thing does not exist */
    LOA_ERROR_CONFLICT,  /* the state forbids it now (illegal transition, lost lease, duplicate) */
    LOA_ERROR_DENIED,    /* the caller may not do this */
    LOA_ERROR_LIMIT,     /* a documented maximum is reached */
    LOA_ERROR_INTERNAL,  /* a bug or a broken installation */
};

GQuark loa_error_quark(void);

/* sysexits(3) code for an error: INVALID → EX_DATAERR, RETRY → EX_TEMPFAIL, DENIED → EX_NOPERM … */
int loa_error_exit_code(const GError *error);

#endif
