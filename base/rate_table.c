/* Token buckets in bounded memory. Time is the caller's; a bucket's level is worked out when it is
 * asked for, so idle keys cost nothing but their place. The list is in order of use, newest first.
 */
#include <assert.h>
#include <limits.h>
#include <pthread.h>

#include "base/clock.h"
#include "base/http_server.h"

struct bucket {
    char *key;
    double tokens;
    int64_t at_us; /* when tokens was true */
    GList link;    /* in table->order; data = this */
};

struct rate_table {
    pthread_mutex_t mutex;
    GHashTable *buckets; /* key, owned by the bucket → bucket, owned */
    GQueue order;        /* front = used last */
    size_t keys_max;
    double per_second, burst;
};

static void bucket_free(void *data)
{
    struct bucket *bucket = data;
    g_free(bucket->key);
    g_free(bucket);
}

struct rate_table *rate_table_new(size_t keys_max, double per_second, double burst)
{
    struct rate_table *table = g_new0(struct rate_table, 1);
    assert(keys_max > 0 && per_second > 0 && burst >= 1);
    pthread_mutex_init(&table->mutex, NULL);
    table->buckets = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, bucket_free);
    g_queue_init(&table->order);
    table->keys_max = keys_max;
    table->per_second = per_second;
    table->burst = burst;
    return table;
}

void rate_table_free(struct rate_table *table)
{
    if (table == NULL)
        return;
    g_hash_table_unref(table->buckets);
    pthread_mutex_destroy(&table->mutex);
    g_free(table);
}

static void forget_oldest(struct rate_table *table)
{
    struct bucket *oldest = g_queue_peek_tail(&table->order);
    g_queue_unlink(&table->order, &oldest->link);
    g_hash_table_remove(table->buckets, oldest->key);
}

/* Whole seconds, rounded up, at least one. */
static unsigned seconds_until(const struct rate_table *table, const struct bucket *bucket)
{
    double exact = (1 - bucket->tokens) / table->per_second;
    unsigned whole = exact < 1 ? 1 : exact < UINT_MAX ? (unsigned)exact : UINT_MAX - 1;
    return (double)whole < exact ? whole + 1 : whole;
}

/* The key's bucket, moved to the front; a new one is full. */
static struct bucket *use_bucket(struct rate_table *table, const char *key, int64_t mono_us)
{
    struct bucket *bucket = g_hash_table_lookup(table->buckets, key);
    if (bucket != NULL) {
        g_queue_unlink(&table->order, &bucket->link);
    } else {
        if (g_hash_table_size(table->buckets) >= table->keys_max)
            forget_oldest(table);
        bucket = g_new0(struct bucket, 1);
        bucket->key = g_strdup(key);
        bucket->link.data = bucket;
        bucket->tokens = table->burst;
        bucket->at_us = mono_us;
        g_hash_table_insert(table->buckets, bucket->key, bucket);
    }
    g_queue_push_head_link(&table->order, &bucket->link);
    return bucket;
}

bool rate_table_take(struct rate_table *table, const char *key, int64_t mono_us,
                     unsigned *out_wait_s)
{
    pthread_mutex_lock(&table->mutex);
    struct bucket *bucket = use_bucket(table, key, mono_us);
    if (mono_us > bucket->at_us) { /* threads may come with times slightly out of order */
        double passed_s = (double)(mono_us - bucket->at_us) / (double)USEC_PER_SEC;
        bucket->tokens = MIN(table->burst, bucket->tokens + passed_s * table->per_second);
        bucket->at_us = mono_us;
    }
    bool allowed = bucket->tokens >= 1;
    if (allowed)
        bucket->tokens -= 1;
    else
        *out_wait_s = seconds_until(table, bucket);
    pthread_mutex_unlock(&table->mutex);
    return allowed;
}
