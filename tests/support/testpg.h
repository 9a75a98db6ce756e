/* Databases for tests. Under ctest they live in the cluster of the fixture "postgres" (environment
 * LOA_TESTPG names the file with its conninfo); a test program started by hand starts a cluster of
 * its own at the first call and stops it at exit. Failures end the program with a message. */
#ifndef LOA_TESTS_SUPPORT_TESTPG_H
#define LOA_TESTS_SUPPORT_TESTPG_H

#include <stdbool.h>

/* The conninfo of a fresh database with the current schema, cloned from a migrated template;
 * dropped at exit. name: letters, digits, underscores; calls with the same name give different
 * databases. Borrowed until exit. */
const char *testpg_database(const char *name);
/* The same without any schema. */
const char *testpg_empty_database(const char *name);

/* A cluster that belongs to one test, for stopping and starting the server. */
struct testpg_cluster;
/* durable: with fsync. Owned: testpg_cluster_free stops it; forgotten ones are stopped at exit. */
struct testpg_cluster *testpg_cluster_new(bool durable);
/* The same with its data in an empty folder of the caller's, who removes it. */
struct testpg_cluster *testpg_cluster_new_in(const char *data_dir, bool durable);
void testpg_cluster_free(struct testpg_cluster *cluster);
/* Of its database "postgres". Borrowed. */
const char *testpg_cluster_conninfo(const struct testpg_cluster *cluster);
/* immediate: as in a crash, without telling the clients or writing a checkpoint. */
void testpg_cluster_stop(struct testpg_cluster *cluster, bool immediate);
/* Returns when the server accepts connections. */
void testpg_cluster_start(struct testpg_cluster *cluster);

#endif
