/* The statement behind receipt_store and the two batchers. */
#ifndef LOA_ENGINE_RECEIPT_STORE_H
#define LOA_ENGINE_RECEIPT_STORE_H

#include "base/db.h"
#include "engine/receipt.h"

/* One row per receipt that is now durable: its index (bigint, from 0). */
extern const char receipt_store_sql[];
/* n ≤ RECEIPT_BATCH_MAX. Owned, or taken by the query. */
struct db_params *receipt_store_params(const struct receipt *receipts, size_t n);
/* Turns the statement's rows into results, and counts them in the metrics. */
void receipt_store_results(const PGresult *res, const struct receipt *receipts, size_t n,
                           enum receipt_result *out_results);

#endif
