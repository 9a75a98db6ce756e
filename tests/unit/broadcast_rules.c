/* lib: loa_engine */
/* The rules of a new broadcast: what is refused, what is filled in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "engine/broadcast.h"
#include "engine/channel.h"

#define NOW  (INT64_C(1795000000) * USEC_PER_SEC)
#define HOUR (INT64_C(3600) * USEC_PER_SEC)

/* A live emergency for the whole province that passes. */
static struct broadcast *sample(void)
{
    struct broadcast *b = broadcast_new();
    struct broadcast_text *vi = broadcast_text_add(b, "vi");

    assert_true(broadcast_set_area(b, true, NULL, NULL));
    b->realm = BROADCAST_LIVE;
    b->kind = BROADCAST_CANH_BAO;
    b->level = BROADCAST_KHAN_CAP;
    b->expires_utc_us = NOW + HOUR;
    b->receipt_window_s = 600;
    broadcast_set(&vi->title, "Lũ khẩn cấp trên sông Bằng");
    broadcast_set(&vi->body, "Nước vượt báo động 3.");
    broadcast_set(&vi->instruction, "Di dời ngay lên điểm cao.");
    return b;
}

static struct broadcast_text *vi_of(struct broadcast *b)
{
    return broadcast_text_add(b, "vi");
}

static void refused_with(struct broadcast *b, const char *part)
{
    g_autoptr(GError) error = NULL;

    assert_false(broadcast_prepare(b, NOW, NULL, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_INVALID));
    if (strstr(error->message, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", error->message, part);
}

static void passes(struct broadcast *b)
{
    g_autoptr(GError) error = NULL;

    if (!broadcast_prepare(b, NOW, NULL, &error))
        fail_msg("%s", error->message);
}

static void test_sample_passes(void **state)
{
    loa_auto(broadcast) b = sample();

    (void)state;
    passes(b);
    assert_int_equal(b->cls, BROADCAST_CLASS_KHAN_CAP);
    assert_string_equal(b->areas, "toan_tinh");
    assert_string_equal(vi_of(b)->correction_title, "ĐÍNH CHÍNH: Lũ khẩn cấp trên sông Bằng");
    assert_true(vi_of(b)->correction_body[0] != '\0');
}

static void test_classes(void **state)
{
    static const struct {
        enum broadcast_realm realm;
        enum broadcast_kind kind;
        enum broadcast_level level;
        enum broadcast_class cls;
    } cases[] = {
        {BROADCAST_LIVE, BROADCAST_CANH_BAO, BROADCAST_KHAN_CAP, BROADCAST_CLASS_KHAN_CAP},
        {BROADCAST_LIVE, BROADCAST_CANH_BAO, BROADCAST_UU_TIEN, BROADCAST_CLASS_UU_TIEN},
        {BROADCAST_LIVE, BROADCAST_CANH_BAO, BROADCAST_THUONG, BROADCAST_CLASS_THUONG},
        {BROADCAST_LIVE, BROADCAST_THONG_TIN, BROADCAST_UU_TIEN, BROADCAST_CLASS_UU_TIEN},
        {BROADCAST_LIVE, BROADCAST_THONG_TIN, BROADCAST_THUONG, BROADCAST_CLASS_THUONG},
        {BROADCAST_EXERCISE, BROADCAST_CANH_BAO, BROADCAST_KHAN_CAP, BROADCAST_CLASS_DIEN_TAP},
        {BROADCAST_TEST, BROADCAST_THONG_TIN, BROADCAST_THUONG, BROADCAST_CLASS_DIEN_TAP},
    };

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
        assert_int_equal(broadcast_class_of(cases[i].realm, cases[i].kind, cases[i].level),
                         cases[i].cls);
}

static void test_area_is_explicit(void **state)
{
    static const struct {
        bool province;
        const char *codes;
        const char *areas; /* NULL = refused */
    } cases[] = {
        {true, NULL, "toan_tinh"},
        {false, "01288,01234", "01234,01288"},
        {false, " 01288 ,01288", "01288"},
        {false, NULL, NULL},
        {true, "01288", NULL},
        {false, "", NULL},
        {false, "01288,", NULL},
        {false, "1288", NULL},
        {false, "0128a", NULL},
    };

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        loa_auto(broadcast) b = broadcast_new();
        g_autoptr(GError) error = NULL;
        bool ok = broadcast_set_area(b, cases[i].province, cases[i].codes, &error);
        assert_int_equal(ok, cases[i].areas != NULL);
        assert_string_equal(b->areas, ok ? cases[i].areas : "");
        if (!ok)
            assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_INVALID));
    }
}

static void test_missing_area_is_refused(void **state)
{
    loa_auto(broadcast) b = sample();

    (void)state;
    broadcast_set(&b->areas, "");
    refused_with(b, "area:");
}

/* Sets one thing that must be refused, with what the message must name. */
static void test_contents_refused(void **state)
{
    static const struct {
        const char *title, *body, *instruction, *url;
        const char *complaint;
    } cases[] = {
        {"", "b", "i", "", "title.vi: must not be empty"},
        {"t", "  \n ", "i", "", "body.vi: must not be empty"},
        {"t", "b", "", "", "instruction.vi"},
        {"a\nb", "b", "i", "", "title.vi: character U+000A"},
        {"t", "a\x07", "i", "", "body.vi: character U+0007"},
        {"t", "a\u202Eb", "i", "", "body.vi: character U+202E"},
        {"t", "a\u2066b", "i", "", "body.vi: character U+2066"},
        {"t\xff", "b", "i", "", "title.vi: not valid UTF-8"},
        {"t", "b", "i", "http://a.vn/", "url: must be an https"},
        {"t", "b", "i", "https://", "url: must be an https"},
        {"t", "b", "i", "javascript:alert(1)", "url: must be an https"},
        {"t", "b", "i", "https://u@a.vn/", "url: must be an https"},
    };

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        loa_auto(broadcast) b = sample();
        broadcast_set(&vi_of(b)->title, cases[i].title);
        broadcast_set(&vi_of(b)->body, cases[i].body);
        broadcast_set(&vi_of(b)->instruction, cases[i].instruction);
        broadcast_set(&b->url, cases[i].url);
        refused_with(b, cases[i].complaint);
    }
}

static void test_all_faults_at_once(void **state)
{
    loa_auto(broadcast) b = sample();

    (void)state;
    broadcast_set(&vi_of(b)->title, "");
    broadcast_set(&b->url, "ftp://x");
    b->expires_utc_us = NOW;
    refused_with(b, "title.vi");
    refused_with(b, "\nurl:");
    refused_with(b, "\nexpires: must be in the future");
}

static void test_lengths(void **state)
{
    loa_auto(broadcast) b = sample();
    g_autofree char *fits = g_strnfill(MESSAGE_TITLE_MAX, 'a');
    g_autofree char *over = g_strnfill(MESSAGE_TITLE_MAX + 1, 'a');

    (void)state;
    broadcast_set(&vi_of(b)->title, fits);
    passes(b);
    assert_true(strlen(vi_of(b)->correction_title) <= MESSAGE_TITLE_MAX);
    assert_true(g_str_has_suffix(vi_of(b)->correction_title, "…"));
    broadcast_set(&vi_of(b)->title, over);
    refused_with(b, "title.vi: 201 bytes, at most 200");
}

/* A cut title must still be valid UTF-8, wherever the limit falls. */
static void test_correction_title_is_cut_at_a_character(void **state)
{
    (void)state;
    for (size_t pad = 0; pad < 4; pad++) {
        loa_auto(broadcast) b = sample();
        g_autoptr(GString) title = g_string_new(NULL);
        for (size_t i = 0; i < pad; i++)
            g_string_append_c(title, 'a');
        while (title->len + strlen("ễ") <= MESSAGE_TITLE_MAX)
            g_string_append(title, "ễ");
        broadcast_set(&vi_of(b)->title, title->str);
        passes(b);
        assert_true(g_utf8_validate(vi_of(b)->correction_title, -1, NULL));
        assert_true(strlen(vi_of(b)->correction_title) <= MESSAGE_TITLE_MAX);
    }
}

static void test_text_becomes_nfc(void **state)
{
    loa_auto(broadcast) b = sample();

    (void)state;
    broadcast_set(&vi_of(b)->title, " Lu\xcc\x83 "); /* u + combining tilde */
    passes(b);
    assert_string_equal(vi_of(b)->title, "Lũ");
}

static void test_expiry(void **state)
{
    static const struct {
        enum broadcast_kind kind;
        int64_t from_now_us;
        bool ok;
    } cases[] = {
        {BROADCAST_CANH_BAO, 1 * USEC_PER_SEC, true},
        {BROADCAST_CANH_BAO, 0, false},
        {BROADCAST_CANH_BAO, -HOUR, false},
        {BROADCAST_CANH_BAO, 7 * 24 * HOUR, true},
        {BROADCAST_CANH_BAO, 7 * 24 * HOUR + USEC_PER_SEC, false},
        {BROADCAST_THONG_TIN, 7 * 24 * HOUR + USEC_PER_SEC, true},
        {BROADCAST_THONG_TIN, 30 * 24 * HOUR, true},
        {BROADCAST_THONG_TIN, 30 * 24 * HOUR + USEC_PER_SEC, false},
    };

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        loa_auto(broadcast) b = sample();
        b->kind = cases[i].kind;
        b->level = BROADCAST_UU_TIEN;
        b->expires_utc_us = NOW + cases[i].from_now_us;
        if (cases[i].ok)
            passes(b);
        else
            refused_with(b, "expires:");
    }
}

static void test_parse_expiry(void **state)
{
    static const struct {
        const char *text;
        int64_t utc_us; /* 0 = refused */
    } cases[] = {
        {"90s", NOW + 90 * USEC_PER_SEC},
        {"30m", NOW + HOUR / 2},
        {"6h", NOW + 6 * HOUR},
        {"3d", NOW + 72 * HOUR},
        {"1970-01-01T07:00:10", 10 * USEC_PER_SEC}, /* Viet Nam's time */
        {"1970-01-01T00:00:10Z", 10 * USEC_PER_SEC},
        {"1970-01-01T07:10", 600 * USEC_PER_SEC}, /* as --help shows it */
        {"1970-01-01T07:10:", 0},
        {"0m", 0},
        {"-5m", 0},
        {"6", 0},
        {"6x", 0},
        {"6hh", 0},
        {"tomorrow", 0},
        {"", 0},
        {"99999999999999999999d", 0},
    };

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        int64_t got = 0;
        bool ok = broadcast_parse_expiry(cases[i].text, NOW, &got, NULL);
        assert_int_equal(ok, cases[i].utc_us != 0);
        assert_int_equal(got, cases[i].utc_us);
    }
}

static void test_vietnamese_is_required(void **state)
{
    loa_auto(broadcast) b = sample();

    (void)state;
    broadcast_set(&vi_of(b)->language, "en");
    refused_with(b, "Vietnamese text (vi) is missing");
}

static void test_language_tags(void **state)
{
    static const struct {
        const char *tag;
        bool ok;
    } cases[] = {{"tyz", true},   {"en", true},   {"zh-Hans", true}, {"", false},
                 {"VI", false},   {"v", false},   {"en-", false},    {"en_US", false},
                 {"abcd", false}, {"en\n", false}};

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        loa_auto(broadcast) b = sample();
        struct broadcast_text *text = broadcast_text_add(b, cases[i].tag);
        broadcast_set(&text->title, "t");
        broadcast_set(&text->body, "b");
        broadcast_set(&text->instruction, "i");
        if (cases[i].ok)
            passes(b);
        else
            refused_with(b, "language:");
    }
}

static void test_languages_are_sorted_and_limited(void **state)
{
    loa_auto(broadcast) b = sample();
    struct broadcast_text *en = broadcast_text_add(b, "en");

    (void)state;
    broadcast_set(&en->title, "Flood");
    broadcast_set(&en->body, "Water is rising.");
    broadcast_set(&en->instruction, "Leave now.");
    passes(b);
    assert_string_equal(((struct broadcast_text *)b->texts->pdata[0])->language, "en");
    assert_string_equal(((struct broadcast_text *)b->texts->pdata[1])->language, "vi");
    for (int i = 0; i < BROADCAST_LANGUAGES_MAX - 2; i++) {
        char tag[] = {'x', (char)('a' + i), '\0'};
        assert_non_null(broadcast_text_add(b, tag));
    }
    assert_null(broadcast_text_add(b, "zz"));
}

static void test_exercise_is_marked_first_and_last(void **state)
{
    loa_auto(broadcast) b = sample();
    g_autoptr(GPtrArray) notes = g_ptr_array_new_with_free_func(g_free);

    (void)state;
    b->realm = BROADCAST_EXERCISE;
    assert_true(broadcast_prepare(b, NOW, notes, NULL));
    assert_string_equal(vi_of(b)->title, "[DIỄN TẬP] Lũ khẩn cấp trên sông Bằng");
    assert_string_equal(vi_of(b)->body, "Nước vượt báo động 3. [DIỄN TẬP]");
    assert_string_equal(vi_of(b)->instruction, "Di dời ngay lên điểm cao. [DIỄN TẬP]");
    assert_true(g_str_has_prefix(vi_of(b)->correction_title, BROADCAST_EXERCISE_MARK));
    assert_true(g_str_has_suffix(vi_of(b)->correction_body, BROADCAST_EXERCISE_MARK));
    assert_true(notes->len >= 5);
    /* Marked once, however often it is prepared. */
    assert_true(broadcast_prepare(b, NOW, NULL, NULL));
    assert_string_equal(vi_of(b)->title, "[DIỄN TẬP] Lũ khẩn cấp trên sông Bằng");
}

static void test_exercise_mark_counts_in_length(void **state)
{
    loa_auto(broadcast) b = sample();
    g_autofree char *title = g_strnfill(MESSAGE_TITLE_MAX, 'a');

    (void)state;
    b->realm = BROADCAST_EXERCISE;
    broadcast_set(&vi_of(b)->title, title);
    refused_with(b, "title.vi: 215 bytes with the exercise mark");
}

static void test_contradictions(void **state)
{
    loa_auto(broadcast) b = sample();
    loa_auto(broadcast) live = sample();
    g_autoptr(GPtrArray) notes = g_ptr_array_new_with_free_func(g_free);
    bool noted = false;

    (void)state;
    b->realm = BROADCAST_EXERCISE;
    broadcast_set(&vi_of(b)->body, "Đây KHÔNG PHẢI DIỄN TẬP.");
    refused_with(b, "must not say");
    broadcast_set(&vi_of(live)->body, "Diễn tập phòng cháy lúc 9 giờ.");
    assert_true(broadcast_prepare(live, NOW, notes, NULL));
    for (guint i = 0; i < notes->len; i++)
        noted |= strstr(notes->pdata[i], "is the realm right?") != NULL;
    assert_true(noted);
}

static void test_information_is_never_urgent(void **state)
{
    loa_auto(broadcast) b = sample();

    (void)state;
    b->kind = BROADCAST_THONG_TIN;
    refused_with(b, "level: khan_cap");
    b->level = BROADCAST_THUONG;
    broadcast_set(&vi_of(b)->instruction, "");
    passes(b); /* information needs no instruction */
}

static void test_prepared_correction_may_be_given(void **state)
{
    loa_auto(broadcast) b = sample();
    struct broadcast_text *en = broadcast_text_add(b, "en");

    (void)state;
    broadcast_set(&vi_of(b)->correction_title, "Thu hồi");
    broadcast_set(&vi_of(b)->correction_body, "Không có lũ.");
    broadcast_set(&en->title, "Flood");
    broadcast_set(&en->body, "Water is rising.");
    broadcast_set(&en->instruction, "Leave now.");
    passes(b);
    assert_string_equal(vi_of(b)->correction_title, "Thu hồi");
    en = broadcast_text_add(b, "en");
    assert_string_equal(en->correction_title, "ĐÍNH CHÍNH: Flood");
    assert_string_equal(en->correction_body, "Không có lũ.");
}

/* State × event, all of them. */
static void test_states(void **state)
{
    static const int next[BROADCAST_STATE_COUNT][BROADCAST_EVENT_COUNT] = {
        [BROADCAST_DRAFT] = {BROADCAST_RELEASED, BROADCAST_WITHDRAWN},
        [BROADCAST_WITHDRAWN] = {-1, -1},
        [BROADCAST_RELEASED] = {-1, BROADCAST_CANCELLED},
        [BROADCAST_CANCELLED] = {-1, -1},
    };

    (void)state;
    for (int s = 0; s < BROADCAST_STATE_COUNT; s++) {
        for (int e = 0; e < BROADCAST_EVENT_COUNT; e++) {
            enum broadcast_state got = (enum broadcast_state)s;
            g_autoptr(GError) error = NULL;
            bool ok = broadcast_next_state((enum broadcast_state)s, (enum broadcast_event)e, &got,
                                           &error);
            assert_int_equal(ok, next[s][e] >= 0);
            if (ok)
                assert_int_equal(got, next[s][e]);
            else
                assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_CONFLICT));
        }
    }
}

static void test_two_people(void **state)
{
    loa_auto(broadcast) b = sample();
    g_autoptr(GError) error = NULL;

    (void)state;
    b->creator_id = 7;
    assert_true(broadcast_check_approver(b, 8, NULL));
    assert_false(broadcast_check_approver(b, 7, &error));
    assert_true(g_error_matches(error, LOA_ERROR, LOA_ERROR_DENIED));
}

static void test_correction(void **state)
{
    loa_auto(broadcast) b = sample();
    loa_auto(broadcast) c = NULL;
    struct message m;

    (void)state;
    passes(b);
    b->id = 7;
    broadcast_set(&b->alert_id, "20261123-K7M2QX");
    c = broadcast_correction(b);
    assert_int_equal(c->corrects, 7);
    assert_int_equal(c->version, 2);
    assert_int_equal(c->type, MESSAGE_CANCEL);
    assert_int_equal(c->cls, b->cls);
    assert_int_equal(c->expires_utc_us, b->expires_utc_us);
    broadcast_message(c, "tyz", &m); /* unknown language: Vietnamese */
    assert_string_equal(m.title, vi_of(b)->correction_title);
    assert_string_equal(m.body, vi_of(b)->correction_body);
    assert_string_equal(m.instruction, "");
    assert_string_equal(m.alert_id, "20261123-K7M2QX");
    assert_string_equal(m.language, "vi");
    assert_true(m.store);
}

static void test_alert_id(void **state)
{
    static const uint8_t zeros[4], ones[4] = {255, 255, 255, 255};
    /* 2026-11-18T17:30:00Z is already the 19th in Viet Nam. */
    int64_t evening = INT64_C(1795023000) * USEC_PER_SEC;
    g_autofree char *a = broadcast_make_alert_id(evening, zeros);
    g_autofree char *b = broadcast_make_alert_id(evening, ones);

    (void)state;
    assert_string_equal(a, "20261119-000000");
    assert_string_equal(b, "20261119-ZZZZZZ");
}

/* A channel with room for so many bytes of title and body. */
static struct channel_payload *fake_render(struct channel *channel, const struct message *message,
                                           GError **error)
{
    size_t size = strlen(message->title) + strlen(message->body);

    assert_true(message->is_signed);
    assert_true(message->issued_s > 0);
    assert_string_equal(message->key_id, "k1");
    if (size > channel->payload_max) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "%zu bytes, at most %zu", size,
                    channel->payload_max);
        return NULL;
    }
    return (struct channel_payload *)g_malloc(1);
}

static void fake_payload_free(struct channel_payload *payload)
{
    g_free(payload);
}

static bool at_most_two(const struct message *messages, size_t n, GError **error)
{
    (void)messages;
    if (n > 2)
        g_set_error_literal(error, LOA_ERROR, LOA_ERROR_INVALID, "too many");
    return n <= 2;
}

static void test_measure(void **state)
{
    static const struct channel_ops ops = {.render = fake_render,
                                           .payload_free = fake_payload_free};
    struct channel channel = {.ops = &ops, .name = "fake", .payload_max = 4096};
    struct channel *channels[] = {&channel};
    struct broadcast_meter meter = {channels, 1, at_most_two};
    loa_auto(broadcast) b = sample();
    struct broadcast_text *vi = vi_of(b);
    g_autofree char *long_body = g_strnfill(300, 'b');
    g_autoptr(GError) error = NULL;

    (void)state;
    passes(b);
    assert_true(broadcast_measure(b, &meter, "k1", NOW, NULL));
    channel.payload_max = strlen(vi->title) + strlen(vi->body) - 1;
    assert_false(broadcast_measure(b, &meter, "k1", NOW, &error));
    assert_non_null(strstr(error->message, "text, language vi, channel fake: "));
    g_clear_error(&error);
    /* The text fits, its correction does not. */
    broadcast_set(&vi->correction_body, long_body);
    channel.payload_max = 200;
    assert_false(broadcast_measure(b, &meter, "k1", NOW, &error));
    assert_non_null(strstr(error->message, "correction, language vi, channel fake: "));
    g_clear_error(&error);
    channel.payload_max = 4096;
    broadcast_text_add(b, "en");
    assert_true(broadcast_measure(b, &meter, "k1", NOW, NULL));
    broadcast_text_add(b, "tyz");
    assert_false(broadcast_measure(b, &meter, "k1", NOW, &error));
    assert_non_null(strstr(error->message, "all languages together"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sample_passes),
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_area_is_explicit),
        cmocka_unit_test(test_missing_area_is_refused),
        cmocka_unit_test(test_contents_refused),
        cmocka_unit_test(test_all_faults_at_once),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_correction_title_is_cut_at_a_character),
        cmocka_unit_test(test_text_becomes_nfc),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_parse_expiry),
        cmocka_unit_test(test_vietnamese_is_required),
        cmocka_unit_test(test_language_tags),
        cmocka_unit_test(test_languages_are_sorted_and_limited),
        cmocka_unit_test(test_exercise_is_marked_first_and_last),
        cmocka_unit_test(test_exercise_mark_counts_in_length),
        cmocka_unit_test(test_contradictions),
        cmocka_unit_test(test_information_is_never_urgent),
        cmocka_unit_test(test_prepared_correction_may_be_given),
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_two_people),
        cmocka_unit_test(test_correction),
        cmocka_unit_test(test_alert_id),
        cmocka_unit_test(test_measure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
