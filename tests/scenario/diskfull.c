/* PostgreSQL's disk is full in the middle of a broadcast: deliver lives on, nothing is lost, and
 * when there is room again everything finishes. The disk is a small tmpfs, which only root may
 * mount: elsewhere the test is skipped. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cmocka.h>
#include <glib/gstdio.h>

#include "engine/outcome.h"
#include "tests/scenario/rig.h"
#include "tests/support/testwait.h"

#define SKIPPED  77
#define DISK     "size=128m,mode=0755"
#define ERRORS   3 /* of the database, seen by deliver, before there is room again */
#define LIMIT_MS 30000
#define CHUNK    65536
#define SEND_SLOW                                                                                  \
    "{\"cmd\":\"fault\",\"channel\":\"%s\",\"match\":{},\"do\":{\"delay_ms\":400},"                \
    "\"for_ms\":600000}"

static char *disk;

static void unmount(void)
{
    umount2(disk, MNT_DETACH);
    rmdir(disk);
    g_clear_pointer(&disk, g_free);
}

/* Room for nothing more. */
static void fill(void)
{
    g_autofree char *path = g_build_filename(disk, "ballast", NULL);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    static const char zeros[CHUNK];
    size_t step = CHUNK;

    assert_true(fd >= 0);
    while (step > 0) {
        ssize_t n = write(fd, zeros, step);
        if (n < 0) {
            assert_int_equal(errno, ENOSPC);
            step /= 2;
        }
    }
    close(fd);
}

static void make_room(void)
{
    g_autofree char *path = g_build_filename(disk, "ballast", NULL);

    assert_int_equal(unlink(path), 0);
}

struct trouble {
    struct rig *rig;
    const char *text; /* in the log */
};

/* Every process of deliver has met it. */
static bool all_troubled(void *user)
{
    const struct trouble *trouble = user;
    struct rig *rig = trouble->rig;

    for (size_t i = 0; i < rig->n_roles; i++)
        if (rig_log_count(rig, rig->role[i].name, trouble->text) < ERRORS)
            return false;
    return true;
}

/* Uses the log's spare files up: the next change finds no room, and the server gives up. */
static bool log_is_full(void *user)
{
    struct rig *rig = user;
    g_autoptr(GError) error = NULL;

    return !db_exec(rig->db, "SELECT pg_switch_wal(), txid_current()", NULL, &error) &&
           strstr(error->message, "connection") != NULL;
}

static void assert_nothing_lost(struct rig *rig, int64_t id)
{
    rig_until(rig, RIG_FINISHED, 60, true);
    assert_int_equal(rig_outcomes(rig, id, "fcm", OUTCOME_ACCEPTED), rig->options.fcm);
    assert_int_equal(rig_outcomes(rig, id, "apns", OUTCOME_ACCEPTED), rig->options.apns);
    rig_assert_tokens(rig, id, "fcm");
    rig_assert_tokens(rig, id, "apns");
    rig_assert_checks(rig);
}

/* server_dies: the full disk also stops PostgreSQL itself, and somebody starts it again. */
static void full_disk(bool server_dies)
{
    g_autofree char *data = g_build_filename(disk, server_dies ? "dies" : "lives", NULL);
    struct rig_options options = {.fcm = 8000,
                                  .apns = 4000,
                                  .deliver = 2,
                                  .pgdata_dir = data,
                                  .extra_conf = "[fcm]\nquota_per_minute=100000000\n"};
    struct trouble trouble = {.text = server_dies ? "database_lost" : "[53100]"};
    struct rig *rig;
    int64_t id;

    assert_int_equal(g_mkdir(data, 0700), 0);
    rig = rig_new(&options);
    trouble.rig = rig;
    rig_exec(rig, "ALTER SYSTEM SET max_wal_size = '32MB'");
    rig_exec(rig, "ALTER SYSTEM SET min_wal_size = '32MB'");
    rig_exec(rig, "SELECT pg_reload_conf()");
    json_decref(rig_sim(rig, SEND_SLOW, "fcm"));
    json_decref(rig_sim(rig, SEND_SLOW, "apns"));
    id = rig_release(rig, true, "2h");
    rig_until(rig, "SELECT count(*) FROM fanout_flight WHERE codes IS NOT NULL", 30, true);
    fill();
    if (server_dies)
        assert_true(test_wait_until(log_is_full, rig, LIMIT_MS));
    assert_true(test_wait_until(all_troubled, &trouble, LIMIT_MS));
    for (size_t i = 0; i < rig->n_roles; i++)
        assert_true(rig_alive(&rig->role[i]));
    make_room();
    if (server_dies) {
        testpg_cluster_stop(rig->cluster, true);
        testpg_cluster_start(rig->cluster);
    }
    json_decref(rig_sim(rig, "{\"cmd\":\"clear\"}"));
    assert_nothing_lost(rig, id);
    for (size_t i = 0; i < rig->n_roles; i++)
        assert_int_equal(rig->role[i].starts, 1);
    rig_free(rig);
}

static void test_server_lives(void **state)
{
    (void)state;
    full_disk(false);
}

static void test_server_dies(void **state)
{
    (void)state;
    full_disk(true);
}

static bool mount_disk(void)
{
    disk = g_strdup("/tmp/loa-disk.XXXXXX");
    if (geteuid() != 0) {
        puts("skipped: only root may mount a small disk");
        return false;
    }
    if (g_mkdtemp(disk) == NULL || mount("tmpfs", disk, "tmpfs", MS_NODEV, DISK) != 0) {
        printf("skipped: a small disk cannot be mounted at %s: %s\n", disk, g_strerror(errno));
        rmdir(disk);
        return false;
    }
    atexit(unmount); /* behind the clean-ups of rig and cluster, which are registered later */
    return true;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_server_lives),
                                       cmocka_unit_test(test_server_dies)};

    return mount_disk() ? cmocka_run_group_tests(tests, NULL, NULL) : SKIPPED;
}
