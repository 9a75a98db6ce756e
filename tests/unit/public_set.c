/* lib: loa_engine */
/* Which version stands for an alert, what stands in the list, and what waits to be written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/public_set.h"

static struct broadcast *text_of(int64_t id)
{
    struct broadcast *b = broadcast_new();

    b->id = id;
    return b;
}

static void note(struct public_set *set, int64_t id, const char *alert, int version,
                 int64_t correction)
{
    const struct public_note one = {.id = id,
                                    .alert_id = alert,
                                    .version = version,
                                    .cancel = version > 1,
                                    .correction = correction,
                                    .released_s = 1000 + id};

    public_set_note(set, &one);
}

/* Reads whatever is asked for, all genuine but the forged ids, until the alert's version is known.
 */
static int64_t pick(struct public_set *set, const char *alert, int64_t forged)
{
    struct public_row *unread, *row;

    while ((row = public_set_pick(set, public_set_alert(set, alert), &unread)) == NULL &&
           unread != NULL)
        public_set_read(unread, unread->id != forged ? text_of(unread->id) : NULL);
    return row != NULL ? row->id : 0;
}

static void test_pick(void **state)
{
    loa_auto(public_set) set = public_set_new();

    (void)state;
    note(set, 1, "A", 1, 0);
    assert_int_equal(pick(set, "A", 0), 1);
    note(set, 2, "A", 2, 0);
    note(set, 1, "A", 1, 2);
    assert_int_equal(pick(set, "A", 0), 2);
    assert_null(public_set_alert(set, "B"));
}

static void test_forged_correction_hides_nothing(void **state)
{
    loa_auto(public_set) set = public_set_new();

    (void)state;
    note(set, 1, "A", 1, 7); /* the correction is of another realm: not in any listing */
    assert_int_equal(pick(set, "A", 7), 1);
    note(set, 8, "B", 1, 9);
    note(set, 9, "B", 2, 0);
    assert_int_equal(pick(set, "B", 9), 8);
}

static void test_refused_comes_last(void **state)
{
    loa_auto(public_set) set = public_set_new();
    const struct public_note refused = {.id = 2, .alert_id = "A", .version = 2, .refused = true};

    (void)state;
    note(set, 1, "A", 1, 0);
    public_set_note(set, &refused);
    assert_int_equal(pick(set, "A", 0), 1);
}

static void test_dirty(void **state)
{
    loa_auto(public_set) set = public_set_new();
    struct public_note again = {.id = 1, .alert_id = "A", .version = 1, .released_s = 1001};

    (void)state;
    assert_null(public_set_dirty(set));
    note(set, 1, "A", 1, 0);
    note(set, 2, "B", 1, 0);
    assert_string_equal(public_set_dirty(set)->id, "B"); /* newest first */
    public_set_done(set, public_set_dirty(set));
    assert_string_equal(public_set_dirty(set)->id, "A");
    public_set_done(set, public_set_dirty(set));
    assert_false(public_set_note(set, &again)); /* nothing new */
    assert_null(public_set_dirty(set));
    again.expired = true;
    assert_true(public_set_note(set, &again));
    assert_string_equal(public_set_dirty(set)->id, "A");
    public_set_done(set, public_set_dirty(set));

    /* A complete listing without A: it is gone; B is not expired and looked at again. */
    public_set_begin_full(set);
    note(set, 2, "B", 1, 0);
    assert_true(public_set_end_full(set));
    for (struct public_alert *alert; (alert = public_set_dirty(set)) != NULL;) {
        assert_int_equal(pick(set, alert->id, 0), strcmp(alert->id, "B") == 0 ? 2 : 0);
        public_set_done(set, alert);
    }
}

static int64_t page(struct public_set *set, bool active, int limit, const char *expected)
{
    g_autoptr(GString) ids = g_string_new(NULL);
    struct public_row *unread = NULL;
    int64_t next;

    do {
        g_autoptr(GPtrArray) rows = g_ptr_array_new();
        next = public_set_page(set, active, limit, rows, &unread);
        if (unread != NULL) {
            public_set_read(unread, unread->id != 4 ? text_of(unread->id) : NULL);
            continue;
        }
        for (guint i = 0; i < rows->len; i++)
            g_string_append_printf(ids, "%d ",
                                   (int)((const struct public_row *)rows->pdata[i])->id);
    } while (unread != NULL);
    assert_string_equal(ids->str, expected);
    return next;
}

static void test_page(void **state)
{
    loa_auto(public_set) set = public_set_new();
    g_autoptr(GPtrArray) none = g_ptr_array_new();
    const struct public_note expired = {.id = 6, .alert_id = "F", .version = 1, .expired = true};

    (void)state;
    note(set, 5, "D", 1, 0);
    note(set, 1, "A", 1, 0);
    note(set, 2, "B", 1, 3);
    note(set, 3, "B", 2, 0);
    note(set, 4, "C", 1, 0); /* forged */
    public_set_note(set, &expired);
    assert_int_equal(page(set, false, 10, "6 5 3 1 "), 0);
    assert_int_equal(page(set, false, 3, "6 5 3 "), 3);
    assert_int_equal(page(set, true, 10, "5 1 "), 0);
    assert_int_equal(page(set, true, 1, "5 "), 5);
    public_set_forget(set, none, none); /* read again when needed */
    assert_int_equal(page(set, true, 10, "5 1 "), 0);
}

/* Every release and every expiry moves the time, also within one second. */
static void test_changed(void **state)
{
    loa_auto(public_set) set = public_set_new();
    struct public_note one = {
        .id = 1, .alert_id = "A", .version = 1, .released_s = 1000, .expires_s = 2000};
    const struct public_note other = {
        .id = 2, .alert_id = "B", .version = 1, .released_s = 1000, .expires_s = 3000};

    (void)state;
    assert_int_equal(public_set_changed_s(set), 0);
    public_set_note(set, &one);
    assert_int_equal(public_set_changed_s(set), 1000);
    public_set_note(set, &other);
    assert_int_equal(public_set_changed_s(set), 1001);
    one.expired = true;
    public_set_note(set, &one);
    assert_int_equal(public_set_changed_s(set), 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pick),
        cmocka_unit_test(test_forged_correction_hides_nothing),
        cmocka_unit_test(test_refused_comes_last),
        cmocka_unit_test(test_dirty),
        cmocka_unit_test(test_page),
        cmocka_unit_test(test_changed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
