/* Receipts: a device says that it has shown or opened an alert, or a notification (whose alert id
 * is "n" and its number). Counted once per device, confirmed to the device only when the row is
 * durable; the device repeats until then. */
#ifndef LOA_ENGINE_RECEIPT_H
#define LOA_ENGINE_RECEIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "base/auto.h"
#include "base/db.h"
#include "base/db_async.h"
#include "base/json.h"

#define RECEIPT_ALERT_ID_MAX 32   /* bytes */
#define RECEIPT_BODY_MAX     512  /* bytes of one receipt as JSON */
#define RECEIPT_BATCH_MAX    5000 /* rows of one statement */

enum receipt_event {
    RECEIPT_SHOWN,  /* "shown": the text was on the screen or in the tray */
    RECEIPT_OPENED, /* "opened": the person opened it (so it was shown, too) */
};
const char *receipt_event_name(enum receipt_event event);

struct receipt {
    char alert_id[RECEIPT_ALERT_ID_MAX + 1];
    int version;
    int64_t device_id;
    enum receipt_event event;
};

enum receipt_result {
    RECEIPT_STORED,  /* durable, also when it was there before: confirm it */
    RECEIPT_UNKNOWN, /* no such released alert version, no such device, or no notification of it: do
                        not confirm */
};

/* Reads {"alert":…,"v":…,"event":…} from the reader's object; what is wrong is noted as complaints
 * (ask json_reader_complaints after json_reader_end). device_id is left 0. */
void receipt_read(struct json_reader *reader, struct receipt *out);
/* One receipt as a whole body, the MQTT payload. INVALID names the fields. */
bool receipt_parse(const char *text, size_t len, int64_t device_id, struct receipt *out,
                   GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Stores n ≤ RECEIPT_BATCH_MAX receipts in one statement; out_results[i] belongs to receipts[i].
 * Repeatable. Blocks. */
bool receipt_store(struct db *db, const struct receipt *receipts, size_t n,
                   enum receipt_result *out_results, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Group commit for the HTTP threads: one thread with its own connection writes whatever has
 * gathered within 50 ms, or while the statement before was being committed. */
struct receipt_writer;
/* Receipts of one request, 1 … RECEIPT_BATCH_MAX. The writer borrows it from submit until done. */
struct receipt_job {
    const struct receipt *receipts;
    size_t n;
    enum receipt_result *results; /* n; meaningful when error is NULL */
    GError *error;                /* the statement's; the job's owner frees it */
    /* Runs once, on the writer's thread, when the receipts are durable or have failed; must not
     * block. The job is its owner's again: done may free it. */
    void (*done)(struct receipt_job *job);
    struct receipt_job *next; /* the writer's */
};
struct receipt_writer *receipt_writer_start(const char *conninfo, GError **error);
/* Writes what is queued, then ends the thread. Nobody may submit any more. */
void receipt_writer_stop(struct receipt_writer *writer);
LOA_AUTO_DEFINE(receipt_writer, receipt_writer_stop)
/* Any thread; does not block. RETRY when 20,000 receipts wait: the job was not taken, done does not
 * run, the device repeats. */
bool receipt_writer_submit(struct receipt_writer *writer, struct receipt_job *job,
                           GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The same on an event loop, for `loa mqtt`. Gathers for at most 50 ms or RECEIPT_BATCH_MAX. */
struct receipt_batch_async;
/* Runs once per batch, after the rows are durable; never from inside add(). receipts and results
 * are borrowed until it returns. After a failure of the database it is not called: nothing is
 * confirmed, and the devices repeat. */
typedef void (*receipt_durable_cb)(const struct receipt *receipts,
                                   const enum receipt_result *results, size_t n, void *user);
/* db is borrowed and must outlive it. Owned. */
struct receipt_batch_async *receipt_batch_async_new(struct db_async *db, receipt_durable_cb cb,
                                                    void *user);
/* What was not durable yet is dropped without a callback. Free it before its db_async. */
void receipt_batch_async_free(struct receipt_batch_async *batch);
LOA_AUTO_DEFINE(receipt_batch_async, receipt_batch_async_free)
/* Copies the receipt. false when 20,000 wait: dropped, the device repeats. */
bool receipt_batch_async_add(struct receipt_batch_async *batch, const struct receipt *receipt);

#endif
