/* /healthz: this process answers. /readyz: the whole warning system would work now; every check is
 * listed, so that whoever is paged sees at once what is missing. /metrics: this process only. */
#include <string.h>

#include "api/api_internal.h"
#include "api/health_store.h"
#include "base/error.h"
#include "base/metrics.h"
#include "base/migrate.h"

#define CANARY_GRACE_S 60 /* beside two intervals: starting, a slow dry run */

/* The answer under construction. */
struct checks {
    json_t *list;
    bool ready;
};

static void check(struct checks *checks, const char *name, bool ok, const char *detail)
{
    json_t *one = json_object();

    json_object_set_new(one, "check", json_string(name));
    json_object_set_new(one, "ok", json_boolean(ok));
    if (detail != NULL && detail[0] != '\0')
        json_object_set_new(one, "detail", json_string(detail));
    json_array_append_new(checks->list, one);
    checks->ready = checks->ready && ok;
}

/* A question to the database that was not answered. */
static void check_failed(struct checks *checks, const char *name, const GError *error)
{
    check(checks, name, false, error->message);
}

static int find_row(const PGresult *res, const char *first_column)
{
    for (int i = 0; i < PQntuples(res); i++)
        if (strcmp(db_get_text(res, i, 0), first_column) == 0)
            return i;
    return -1;
}

static void check_roles(const struct settings *settings, struct db *db, struct checks *checks)
{
    const char *const roles[] = {"api", "deliver", "tick",
                                 settings->mqtt_brokers[0] != NULL ? "mqtt" : NULL};
    g_autoptr(GError) error = NULL;
    g_autoptr(PGresult) res = health_roles(db, &error);

    if (res == NULL) {
        check_failed(checks, "processes", error);
        return;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(roles) && roles[i] != NULL; i++) {
        g_autofree char *name = g_strconcat("process ", roles[i], NULL);
        bool alive = find_row(res, roles[i]) >= 0;
        check(checks, name, alive,
              alive ? NULL : "no process of this role was seen for 10 seconds");
    }
}

static void check_canary(const PGresult *res, const char *channel, struct checks *checks)
{
    g_autofree char *name = g_strconcat("canary ", channel, NULL);
    int row = find_row(res, channel);

    if (row < 0)
        check(checks, name, false, "no dry run yet; is loa tick running?");
    else if (!db_get_bool(res, row, 1))
        check(checks, name, false, db_get_text(res, row, 3));
    else
        check(checks, name, db_get_bool(res, row, 2),
              db_get_bool(res, row, 2) ? NULL
                                       : "the last dry run is too old; is loa tick running?");
}

static void check_canaries(const struct settings *settings, struct db *db, struct checks *checks)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(PGresult) res =
        health_canaries(db, 2 * settings->tick_canary_interval_s + CANARY_GRACE_S, &error);

    if (res == NULL) {
        check_failed(checks, "canary", error);
        return;
    }
    if (settings->fcm_service_account_file[0] != '\0')
        check_canary(res, "fcm", checks);
    if (settings->apns_key_file[0] != '\0')
        check_canary(res, "apns", checks);
    if (settings->mqtt_brokers[0] != NULL)
        check_canary(res, "mqtt", checks);
}

static void check_stops(struct db *db, struct checks *checks)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(PGresult) res = health_stops(db, &error);

    if (res == NULL) {
        check_failed(checks, "stop switches", error);
        return;
    }
    if (PQntuples(res) == 0)
        check(checks, "stop switches", true, NULL);
    for (int i = 0; i < PQntuples(res); i++) {
        g_autofree char *name = g_strconcat("stopped ", db_get_text(res, i, 0), NULL);
        check(checks, name, false, db_get_text(res, i, 1));
    }
}

/* The schema is the one this program was built with. */
static void check_schema(struct db *db, struct checks *checks)
{
    g_autoptr(GError) error = NULL;
    int pending = migrate_pending(db, migrate_default_dir(), &error);

    if (pending < 0)
        check_failed(checks, "schema", error);
    else
        check(checks, "schema", pending == 0, pending == 0 ? NULL : "run loa migrate");
}

/* A connection is there; whether it still works, the checks that use it find out. */
static bool check_database(struct api *api, struct http_request *request, struct checks *checks,
                           struct db **out_db)
{
    struct api_thread *thread = &api->threads[http_request_thread(request)];
    g_autoptr(GError) error = NULL;

    if (thread->db == NULL)
        thread->db = db_open(api->settings->database_conninfo, &error);
    if (thread->db == NULL) {
        check_failed(checks, "database", error);
        return false;
    }
    *out_db = thread->db;
    check(checks, "database", true, NULL);
    return true;
}

void api_healthz(struct http_request *request, void *user)
{
    (void)user;
    api_reply_json(request, 200, json_pack("{s:b}", "alive", 1));
}

void api_readyz(struct http_request *request, void *user)
{
    struct api *api = user;
    struct checks checks = {json_array(), true};
    struct db *db = NULL;
    json_t *reply;

    if (!api_admit(api, request)) {
        json_decref(checks.list);
        return;
    }
    if (check_database(api, request, &checks, &db)) {
        check_schema(db, &checks);
        check_roles(api->settings, db, &checks);
        check_canaries(api->settings, db, &checks);
        check_stops(db, &checks);
    }
    reply = json_object();
    json_object_set_new(reply, "ready", json_boolean(checks.ready));
    json_object_set_new(reply, "checks", checks.list);
    api_reply_json(request, checks.ready ? 200 : 503, reply);
}

void api_metrics(struct http_request *request, void *user)
{
    g_autofree char *text = metrics_text();

    (void)user;
    http_reply(request, 200, "text/plain; version=0.0.4; charset=utf-8", text, strlen(text));
}
