/* See the header. */
#include "tests/support/mqttstage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/clock.h"

const struct mosquitto_device mqttstage_devices[4] = {{1, "1.secret-1", "live"},
                                                      {2, "1.secret-2", "live"},
                                                      {3, "1.secret-3", "live"},
                                                      {4, "1.secret-4", "exercise"}};

struct mqttstage *mqttstage_new(const char *name, unsigned n_brokers)
{
    struct mqttstage *self = g_new0(struct mqttstage, 1);

    assert_true(n_brokers <= MQTTSTAGE_BROKERS_MAX);
    self->stage = stage_new(name);
    stage_exec(self->stage,
               "INSERT INTO commune VALUES ('01273', 'Phường Một'), ('01288', 'Xã Hai')");
    stage_exec(self->stage, "INSERT INTO commune SELECT g, 'Xã ' || g"
                            " FROM generate_series(10000, 10249) AS g");
    for (self->n_brokers = 0; self->n_brokers < n_brokers; self->n_brokers++)
        self->brokers[self->n_brokers] =
            testbroker_new(mqttstage_devices, G_N_ELEMENTS(mqttstage_devices));
    return self;
}

static void set(struct settings *settings, const char *key, const char *value)
{
    g_autoptr(GError) error = NULL;

    if (!settings_set(settings, "mqtt", key, value, &error))
        fail_msg("mqtt.%s: %s", key, error->message);
}

void mqttstage_start(struct mqttstage *self, const char *certificate)
{
    struct settings *settings = self->stage->settings;
    g_autoptr(GString) list = g_string_new(NULL);
    g_autofree char *cert = g_strdup_printf("%s.pem", certificate);
    g_autofree char *key = g_strdup_printf("%s.key", certificate);
    g_autoptr(GError) error = NULL;

    for (unsigned i = 0; i < self->n_brokers; i++)
        g_string_append_printf(list, "%s%s", i > 0 ? "," : "",
                               testbroker_address(self->brokers[i]));
    set(settings, "brokers", list->str);
    set(settings, "ca_file", testbroker_pki("ca.pem"));
    set(settings, "cert_file", testbroker_pki(cert));
    set(settings, "key_file", testbroker_pki(key));
    self->engine = brokers_new(settings, true, &error);
    if (self->engine == NULL)
        fail_msg("%s", error->message);
    self->db = db_async_new(self->stage->conninfo, 1000, clock_system());
    const struct publisher_options options = {.brokers = self->engine,
                                              .db = self->db,
                                              .clock = clock_system(),
                                              .keys = self->stage->keys,
                                              .poll_ms = 50};
    self->publisher = publisher_new(&options);
}

void mqttstage_stop(struct mqttstage *self)
{
    g_clear_pointer(&self->publisher, publisher_free);
    g_clear_pointer(&self->db, db_async_free);
    g_clear_pointer(&self->engine, brokers_free);
}

void mqttstage_free(struct mqttstage *self)
{
    mqttstage_stop(self);
    for (unsigned i = 0; i < self->n_brokers; i++)
        testbroker_free(self->brokers[i]);
    stage_free(self->stage);
    g_free(self);
}

struct testclient *mqttstage_device(struct mqttstage *self, unsigned broker, unsigned device)
{
    g_autofree char *user = g_strdup_printf("%u", device);
    struct testclient *client =
        testclient_device(self->brokers[broker], user, mqttstage_devices[device - 1].password);

    assert_int_equal(testclient_connect(client), 0);
    return client;
}

int64_t mqttstage_release(struct mqttstage *self, enum broadcast_realm realm, const char *communes)
{
    struct stage *stage = self->stage;
    struct broadcast_actor creator = {
        .db = stage->db, .account = stage->creator, .account_key = stage->creator_key};
    struct broadcast_actor approver = {.db = stage->db,
                                       .account = stage->approver,
                                       .account_key = stage->approver_key,
                                       .release_key = stage->release_key,
                                       .release_key_id = "k1",
                                       .release_keys = stage->keys};
    struct broadcast_create_options options = {.again = true};
    loa_auto(broadcast) b = broadcast_new();
    struct broadcast_text *text = broadcast_text_add(b, "vi");
    int64_t existing;
    bool already;
    g_autoptr(GError) error = NULL;

    b->realm = realm;
    b->kind = BROADCAST_CANH_BAO;
    b->level = BROADCAST_UU_TIEN;
    b->expires_utc_us = (g_get_real_time() / USEC_PER_SEC + 3600) * USEC_PER_SEC;
    b->receipt_window_s = 60;
    broadcast_set(&text->title, "Mưa lớn");
    broadcast_set(&text->body, "Mưa lớn trong đêm nay.");
    broadcast_set(&text->instruction, "Tránh xa bờ suối.");
    if (!broadcast_set_area(b, communes == NULL, communes, &error) ||
        !broadcast_create(&creator, b, &options, NULL, &existing, &error) ||
        !broadcast_approve(&approver, b->id, b->content_hash, true, &already, &error))
        fail_msg("%s", error->message);
    return b->id;
}
