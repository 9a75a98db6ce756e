/* Prometheus metrics of this process (exposition format 0.0.4). The table METRICS_TABLE is the
 * only place where a metric is declared; it makes /metrics and the docs page. */
#ifndef LOA_BASE_METRICS_H
#define LOA_BASE_METRICS_H

#include <glib.h>

/* X(id, "name", counter|gauge, "label name or empty", "help") */
#define METRICS_TABLE(X)                                                                           \
    X(PUSH_VERDICTS, "loa_push_verdicts_total", counter, "channel_verdict",                        \
      "Answers of the push providers, by channel and verdict")                                     \
    X(PUSH_OUTCOMES, "loa_push_outcomes_total", counter, "channel_outcome",                        \
      "Devices settled durably by this process, by channel and outcome")                           \
    X(PUSHES_IN_FLIGHT, "loa_pushes_in_flight", gauge, "channel",                                  \
      "Requests sent and not yet answered")                                                        \
    X(CONNECTIONS, "loa_connections", gauge, "channel", "Ready connections to the provider")       \
    X(CHUNKS_HELD, "loa_chunks_held", gauge, "channel", "Chunks leased by this process")           \
    X(CHUNKS_CLAIMED, "loa_chunks_claimed_total", counter, "channel", "Chunks claimed")            \
    X(LEASES_LOST, "loa_leases_lost_total", counter, "channel",                                    \
      "Writes refused because another process held the chunk")                                     \
    X(FLIGHTS_UNCERTAIN, "loa_flights_uncertain_total", counter, "channel",                        \
      "Flights taken over without knowing which devices were sent")                                \
    X(CHANNEL_STOPPED, "loa_channel_stopped", gauge, "channel",                                    \
      "1 while the channel is stopped by an operator or by a configuration error")                 \
    X(SIGNATURES_REFUSED, "loa_signatures_refused_total", counter, "",                             \
      "Broadcast rows whose release signature did not verify: nothing was sent")                   \
    X(CANARY_OK, "loa_canary_ok", gauge, "channel", "1 when the channel's last dry run passed")    \
    X(BROKER_UP, "loa_broker_up", gauge, "broker", "1 while connected to the MQTT broker")         \
    X(MQTT_PUBLICATIONS, "loa_mqtt_publications_total", counter, "broker_reply",                   \
      "Alerts and targeted messages answered by the MQTT brokers")                                 \
    X(RECEIPTS, "loa_receipts_total", counter, "kind", "Receipts stored, shown or opened")         \
    X(RECEIPTS_REFUSED, "loa_receipts_refused_total", counter, "reason", "Receipts refused")       \
    X(HTTP_REQUESTS, "loa_http_requests_total", counter, "route_status",                           \
      "HTTP requests answered, by route and status class")                                         \
    X(HTTP_REFUSED, "loa_http_refused_total", counter, "reason",                                   \
      "HTTP requests refused before a route saw them")                                             \
    X(DB_QUERIES, "loa_db_queries_total", counter, "", "Statements sent to PostgreSQL")            \
    X(DB_RECONNECTS, "loa_db_reconnects_total", counter, "", "Connections to PostgreSQL renewed")  \
    X(TOKEN_MINTS, "loa_credential_mints_total", counter, "channel",                               \
      "Provider credentials minted")                                                               \
    X(TOKEN_FAILURES, "loa_credential_failures_total", counter, "channel",                         \
      "Provider credentials that could not be renewed")                                            \
    X(PUBLIC_FILES_OK, "loa_public_files_ok", gauge, "",                                           \
      "1 while everything public is on disk as [public] files_dir wants it")                       \
    X(PUBLIC_FILES_WRITTEN, "loa_public_files_written_total", counter, "",                         \
      "Alerts, lists and feeds written or replaced in [public] files_dir")                         \
    X(OUTBOX_SENT, "loa_outbox_pushes_total", counter, "channel_outcome",                          \
      "Targeted pushes settled, by channel and outcome")                                           \
    X(OUTBOX_UNSTORED, "loa_outbox_unstored_total", counter, "channel",                            \
      "Targeted pushes accepted while an emergency kept them from being stored: still owed")

enum metric {
#define METRIC_ENUM(id, name, type, label, help) METRIC_##id,
    METRICS_TABLE(METRIC_ENUM)
#undef METRIC_ENUM
        METRIC_COUNT
};

/* Adds to a counter. label: the value of the metric's label, NULL if it has none; for a label
 * "a_b" the value is written "x/y". At most 64 values per metric are kept; later ones are counted
 * under "other". Thread safe. */
void metric_add(enum metric metric, const char *label, double value);
/* Sets a gauge. Same label rule. Thread safe. */
void metric_set(enum metric metric, const char *label, double value);
/* Current value, 0 if never touched: for tests and /readyz. */
double metric_get(enum metric metric, const char *label);
/* The text of /metrics, with process_resident_memory_bytes and process_cpu_seconds_total. Owned. */
char *metrics_text(void);
/* The table of docs/metrics.md. Owned. */
char *metrics_markdown(void);

#endif
