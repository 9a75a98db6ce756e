/* Read-only; ages are the database's. */
#include "api/health_store.h"

#include "engine/process_store.h"

PGresult *health_roles(struct db *db, GError **error)
{
    struct db_params *params = db_params_new();

    db_param_i32(params, PROCESS_SEEN_S);
    return db_query(db,
                    "SELECT role, count(*) FROM process "
                    "WHERE seen_at > now() - make_interval(secs => $1) GROUP BY role",
                    params, error);
}

PGresult *health_canaries(struct db *db, int64_t max_age_s, GError **error)
{
    struct db_params *params = db_params_new();

    db_param_i32(params, (int32_t)max_age_s);
    return db_query(db,
                    "SELECT channel, ok, ran_at > now() - make_interval(secs => $1), detail "
                    "FROM canary",
                    params, error);
}

PGresult *health_stops(struct db *db, GError **error)
{
    return db_query(db,
                    "SELECT scope, reason FROM fanout_stop WHERE scope NOT LIKE 'broadcast:%' "
                    "ORDER BY scope",
                    NULL, error);
}
