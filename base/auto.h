/* Scope-bound cleanup for `struct name *`: g_autoptr needs a typedef, and Loa's structs have none.
 *   LOA_AUTO_DEFINE(db, db_close)          once, beside the declaration of db_close
 *   loa_auto(db) conn = db_open(…);        closed when conn leaves its scope; NULL is left alone
 *   return g_steal_pointer(&conn);         hands it out */
#ifndef LOA_BASE_AUTO_H
#define LOA_BASE_AUTO_H

#define LOA_AUTO_DEFINE(name, free_function)                                                       \
    static inline void name##_auto_clear(struct name **p)                                          \
    {                                                                                              \
        if (*p != NULL)                                                                            \
            free_function(*p);                                                                     \
    }
#define loa_auto(name) __attribute__((cleanup(name##_auto_clear))) struct name *

#endif
