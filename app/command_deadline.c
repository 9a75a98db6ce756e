/* loa deadline: computes one legal deadline and says how. It needs neither database nor loa.conf,
 * so that anybody can check a date, and what an edited calendar makes of it, before it counts. */
#include <stdio.h>
#include <sysexits.h>

#include "app/legal_files.h"
#include "app/text.h"
#include "feedback/day.h"
#include "feedback/deadline.h"

struct deadline_options {
    char *kind, *start, *calendar, *policy;
    gboolean json;
};

static void options_clear(struct deadline_options *o)
{
    g_free(o->kind);
    g_free(o->start);
    g_free(o->calendar);
    g_free(o->policy);
}

/* --- JSON --- */

static void set_text(json_t *object, const char *key, char *owned)
{
    json_object_set_new(object, key, owned != NULL ? json_string(owned) : json_null());
    g_free(owned);
}

static json_t *parts_json(const struct deadline *d)
{
    json_t *list = json_array();

    for (guint i = 0; i < d->parts->len; i++) {
        const struct deadline_part *part = &g_array_index(d->parts, struct deadline_part, i);
        json_t *object = json_object();
        set_text(object, "date", day_format(part->day));
        set_text(object, "from", instant_format(instant_of(part->day, part->from_us)));
        set_text(object, "to", instant_format(instant_of(part->day, part->to_us)));
        json_array_append_new(list, object);
    }
    return list;
}

static json_t *notes_json(const struct deadline *d)
{
    static const char *const words[] = {
        [CALENDAR_WORK] = "work",
        [CALENDAR_SWAP_WORK] = "swap-work",
        [CALENDAR_WEEKLY_REST] = "weekly-rest",
        [CALENDAR_HOLIDAY] = "holiday",
        [CALENDAR_SWAP_OFF] = "swap-off",
    };
    json_t *list = json_array();

    for (guint i = 0; i < d->notes->len; i++) {
        const struct deadline_note *note = &g_array_index(d->notes, struct deadline_note, i);
        json_t *object = json_object();
        set_text(object, "date", day_format(note->day));
        json_object_set_new(object, "day", json_string(words[note->kind]));
        if (note->name != NULL) {
            json_object_set_new(object, "name", json_string(note->name));
            json_object_set_new(object, "document", json_string(note->document));
            json_object_set_new(object, "estimated", json_boolean(note->estimated));
        }
        json_array_append_new(list, object);
    }
    return list;
}

static json_t *deadline_json(const struct deadline *d)
{
    json_t *object = json_object();

    json_object_set_new(object, "kind", json_string(deadline_kind_word(d->kind)));
    set_text(object, "start", instant_format(d->start_utc_us));
    set_text(object, "due", instant_format(d->due_utc_us));
    set_text(object, "last_day", day_format(d->last_day));
    json_object_set_new(object, "amount", json_integer(d->amount));
    json_object_set_new(object, "unit", json_string(policy_unit_word(d->unit)));
    json_object_set_new(object, "citation", json_string(d->citation));
    json_object_set_new(object, "derivation", json_string(d->derivation));
    json_object_set_new(object, "parts", parts_json(d));
    json_object_set_new(object, "notes", notes_json(d));
    json_object_set_new(object, "estimated", json_boolean(d->estimated));
    if (d->urgent_target_utc_us != 0)
        set_text(object, "urgent_target", instant_format(d->urgent_target_utc_us));
    json_object_set_new(object, "calendar_version", json_string(d->calendar_version));
    json_object_set_new(object, "policy_version", json_string(d->policy_version));
    return object;
}

/* --- the command --- */

/* Owned; NULL with the field's name in the error. */
static struct deadline *compute(const struct deadline_options *o, GError **error)
{
    loa_auto(calendar) calendar = NULL;
    loa_auto(policy) policy = NULL;
    struct deadline *deadline;
    enum deadline_kind kind;
    int64_t start_utc_us;
    bool date_only;

    if (!deadline_kind_parse(o->kind, &kind)) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID,
                    "kind: \"%s\" is none of intake, dispatch, redispatch, handling, urgent, "
                    "clarify-window, clarify-answer, maintenance",
                    o->kind);
        return NULL;
    }
    if (!instant_parse(o->start, &start_utc_us, &date_only)) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID,
                    "start: \"%s\" is no time such as 2025-10-03T16:30+07:00 (years %d to %d)",
                    o->start, DAY_YEAR_MIN, DAY_YEAR_MAX);
        return NULL;
    }
    calendar = legal_calendar_load(o->calendar, error);
    policy = calendar != NULL ? legal_policy_load(o->policy, error) : NULL;
    deadline =
        policy != NULL ? deadline_compute(start_utc_us, kind, calendar, policy, error) : NULL;
    if (deadline != NULL && date_only && deadline->unit == POLICY_WORKING_HOURS) {
        g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID,
                    "start: %s is counted in hours, so \"%s\" needs a time of day", o->kind,
                    o->start);
        g_clear_pointer(&deadline, deadline_free);
    }
    return deadline;
}

static int run(const struct deadline_options *o)
{
    g_autoptr(GError) error = NULL;
    loa_auto(deadline) deadline = NULL;
    g_autofree char *text = NULL;

    if (o->kind == NULL || o->start == NULL) {
        fprintf(stderr, "loa deadline: give %s\n", o->kind == NULL ? "--kind" : "--start");
        return EX_USAGE;
    }
    deadline = compute(o, &error);
    if (deadline == NULL)
        return command_fail("deadline", error);
    if (o->json) {
        text_print_json(deadline_json(deadline));
        return EX_OK;
    }
    text = deadline_describe(deadline);
    puts(text);
    return EX_OK;
}

int command_deadline(struct command *command, int argc, char **argv)
{
    struct deadline_options o = {.json = FALSE};
    const GOptionEntry entries[] = {
        {"kind", 0, 0, G_OPTION_ARG_STRING, &o.kind,
         "intake, dispatch, redispatch, handling, urgent, clarify-window, clarify-answer, "
         "maintenance",
         "KIND"},
        {"start", 0, 0, G_OPTION_ARG_STRING, &o.start,
         "When it starts, such as 2025-10-03T16:30+07:00; a date is enough for a term in days",
         "TIME"},
        {"calendar", 0, 0, G_OPTION_ARG_FILENAME, &o.calendar,
         "Working hours and holidays (default: the installed holidays.csv)", "FILE"},
        {"policy", 0, 0, G_OPTION_ARG_FILENAME, &o.policy,
         "The deadlines of the regulation (default: the installed policy.csv)", "FILE"},
        {"json", 0, 0, G_OPTION_ARG_NONE, &o.json, "Prints one JSON object", NULL},
        {NULL}};
    int exit_code;

    (void)command;
    if (command_parse(
            "deadline --kind KIND --start TIME [--calendar FILE] [--policy FILE] [--json]",
            "Computes a legal deadline and explains it. Needs no database.", entries, &argc, &argv,
            &exit_code)) {
        if (argc > 1) {
            fprintf(stderr, "loa deadline: \"%s\" is no option\n", argv[1]);
            exit_code = EX_USAGE;
        } else {
            exit_code = run(&o);
        }
    }
    options_clear(&o);
    return exit_code;
}
