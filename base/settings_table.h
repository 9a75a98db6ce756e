/* Every setting of loa.conf, one row each:
 * X(section, key, type, default, min, max, unit, secret, help)
 * type: STRING, FILE (path), LIST (comma separated), INT, BOOL. min/max: of an INT, or of a
 * string's length in bytes. secret: the file it names must not be readable by others. */
#ifndef LOA_BASE_SETTINGS_TABLE_H
#define LOA_BASE_SETTINGS_TABLE_H

#define SETTINGS_TABLE(X)                                                                          \
    X(database, conninfo, STRING, "dbname=loa", 1, 1024, "", false,                                \
      "libpq connection string; put a password in a passfile, never here")                         \
    X(api, listen, STRING, "127.0.0.1:8080", 1, 108, "", false,                                    \
      "Address and port of the HTTP API; nginx stands in front")                                   \
    X(api, public_url, STRING, "", 0, 256, "", false,                                              \
      "How the outside reaches Loa, for the links in the feed, without a final slash")             \
    X(api, threads, INT, "4", 1, 64, "threads", false, "Threads that answer requests")             \
    X(api, connections_max, INT, "1000", 8, 15000, "connections", false,                           \
      "Open connections in all")                                                                   \
    X(api, connections_per_address, INT, "100", 1, 15000, "connections", false,                    \
      "Open connections from one address; raise it for the proxy's")                               \
    X(api, idle_timeout_s, INT, "30", 1, 600, "seconds", false, "A connection without progress")   \
    X(api, request_timeout_s, INT, "20", 1, 600, "seconds", false,                                 \
      "One request, first to last byte")                                                           \
    X(api, trusted_proxies, LIST, "", 0, 1024, "", false,                                          \
      "Addresses whose X-Forwarded-For is believed")                                               \
    X(api, rate_per_address, INT, "50", 1, 100000, "requests/s", false,                            \
      "Sustained requests from one address; ten seconds' worth may come at once")                  \
    X(api, rate_per_device, INT, "2", 1, 1000, "requests/s", false,                                \
      "Sustained requests of one device; ten seconds' worth may come at once")                     \
    X(device, secret_key_file, FILE, "", 0, 4096, "", true,                                        \
      "32 random bytes; device secrets are HMACs under this key (loa keys create makes it)")       \
    X(device, realm, STRING, "live", 4, 8, "", false,                                              \
      "Realm of devices that register over HTTP: live; exercise or test on a rehearsal server")    \
    X(device, stale_days, INT, "270", 30, 3650, "days", false,                                     \
      "A device not seen for so long gets emergencies only (FCM expires Android tokens then)")     \
    X(broadcast, signing_key_file, FILE, "", 0, 4096, "", true,                                    \
      "Ed25519 private key that releases broadcasts; only the releasing process may read it")      \
    X(broadcast, public_key_files, LIST, "", 0, 8192, "", false,                                   \
      "Ed25519 public keys (PEM, absolute paths) that sign releases: the current and the next")    \
    X(broadcast, key_id, STRING, "k1", 1, 16, "", false, "Name of the signing key in every alert") \
    X(broadcast, receipt_window_s, INT, "600", 1, 86400, "seconds", false,                         \
      "Devices spread their receipts over this time")                                              \
    X(public, files_dir, FILE, "", 0, 4096, "", false,                                             \
      "Folder where loa tick keeps alerts, lists and feed as files for nginx; empty = no files")   \
    X(public, author, STRING, "Tỉnh Cao Bằng", 1, 200, "", false,                                  \
      "Who publishes the alerts: the author that the feed names")                                  \
    X(deliver, channels, LIST, "fcm,apns", 0, 64, "", false, "Channels that loa deliver serves")   \
    X(deliver, metrics_listen, STRING, "", 0, 108, "", false,                                      \
      "Address and port of /metrics and /healthz of loa deliver; empty = none")                    \
    X(deliver, chunks_per_lane, INT, "3", 1, 64, "chunks", false,                                  \
      "Chunks held at once per channel and lane")                                                  \
    X(deliver, flight_size, INT, "1000", 1, 1000, "devices", false,                                \
      "Devices that leave under one durable mark")                                                 \
    X(deliver, ordinary_in_flight, INT, "200", 1, 100000, "requests", false,                       \
      "Requests open at once per channel that are no emergency's; few keep its way free")          \
    X(deliver, lease_ms, INT, "5000", 500, 60000, "ms", false,                                     \
      "How long a chunk stays with a silent process")                                              \
    X(deliver, poll_ms, INT, "1000", 50, 60000, "ms", false, "Looks for work beside NOTIFY")       \
    X(fcm, service_account_file, FILE, "", 0, 4096, "", true,                                      \
      "Service account JSON of the Firebase project; empty = channel off")                         \
    X(fcm, endpoint, STRING, "fcm.googleapis.com:443", 1, 256, "", false, "Host and port")         \
    X(fcm, ca_file, FILE, "", 0, 4096, "", false, "PEM of trusted roots; empty = the system's")    \
    X(fcm, connections, INT, "8", 1, 64, "connections", false, "Connections per process")          \
    X(fcm, streams_max, INT, "100", 1, 1000, "streams", false,                                     \
      "Requests open on one connection (FCM allows 100)")                                          \
    X(fcm, quota_per_minute, INT, "600000", 60, 1000000000, "messages/min", false,                 \
      "The project's quota, shared by all processes")                                              \
    X(fcm, emergency_reserve_percent, INT, "20", 0, 90, "%", false,                                \
      "Part of the quota that only an emergency may use")                                          \
    X(fcm, request_timeout_ms, INT, "15000", 1000, 120000, "ms", false,                            \
      "An answer later than this is unknown (Google: at least 10 s)")                              \
    X(fcm, canary_token, STRING, "", 0, 4096, "", false,                                           \
      "Registration token used by dry runs; empty = a made-up one, which proves credentials only") \
    X(fcm, topic_endpoint, STRING, "iid.googleapis.com:443", 1, 256, "", false,                    \
      "Host and port of subscription management (loa topic sync)")                                 \
    X(fcm, topic_rate, INT, "3000", 1, 1000000, "registrations/s", false,                          \
      "Subscriptions changed by loa topic sync (FCM allows 3,000 per second and project)")         \
    X(apns, key_file, FILE, "", 0, 4096, "", true, "Provider key .p8; empty = channel off")        \
    X(apns, key_id, STRING, "", 0, 10, "", false, "Ten-character key id")                          \
    X(apns, team_id, STRING, "", 0, 10, "", false, "Ten-character team id")                        \
    X(apns, topic, STRING, "", 0, 256, "", false, "The app's bundle id")                           \
    X(apns, endpoint, STRING, "api.push.apple.com:443", 1, 256, "", false,                         \
      "Production host, port")                                                                     \
    X(apns, sandbox_endpoint, STRING, "api.sandbox.push.apple.com:443", 1, 256, "", false,         \
      "Sandbox host and port")                                                                     \
    X(apns, ca_file, FILE, "", 0, 4096, "", false, "PEM of trusted roots; empty = the system's")   \
    X(apns, connections, INT, "4", 1, 64, "connections", false, "Connections per process")         \
    X(apns, streams_max, INT, "1000", 1, 5000, "streams", false,                                   \
      "Requests open on one connection, below the server's own limit")                             \
    X(apns, request_timeout_ms, INT, "15000", 1000, 120000, "ms", false,                           \
      "An answer later than this is unknown")                                                      \
    X(apns, critical_alerts, BOOL, "false", 0, 0, "", false,                                       \
      "The app has Apple's critical-alerts entitlement; otherwise the fallback level is used")     \
    X(apns, fallback_level, STRING, "time-sensitive", 1, 20, "", false,                            \
      "Interruption level of an emergency without the entitlement: time-sensitive or active")      \
    X(apns, canary_token, STRING, "", 0, 4096, "", false,                                          \
      "Device token used by dry runs; empty = connection and credentials only")                    \
    X(mqtt, brokers, LIST, "", 0, 4096, "", false,                                                 \
      "host:port of every broker, TLS; each alert is published once to each; empty = channel off") \
    X(mqtt, ca_file, FILE, "", 0, 4096, "", false, "PEM of trusted roots; empty = the system's")   \
    X(mqtt, cert_file, FILE, "", 0, 4096, "", false, "Client certificate of the engine")           \
    X(mqtt, key_file, FILE, "", 0, 4096, "", true, "Its private key")                              \
    X(mqtt, metrics_listen, STRING, "", 0, 108, "", false,                                         \
      "Address and port of /metrics and /healthz of loa mqtt; empty = none")                       \
    X(tick, metrics_listen, STRING, "", 0, 108, "", false,                                         \
      "Address and port of /metrics and /healthz of loa tick; empty = none")                       \
    X(tick, canary_interval_s, INT, "300", 5, 86400, "seconds", false,                             \
      "A dry run on each channel so often; a failure shows in /readyz, metrics and log")

#endif
