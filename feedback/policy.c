/* Reads the legal constants. Few rows, so looking one up is a walk. */
#include "feedback/policy.h"

#include <string.h>

#include "base/error.h"
#include "feedback/day.h"

#define AMOUNT_MAX 1000
#define TARGET_MAX 43200 /* minutes: 30 days */

enum column { KIND, FROM, TO, AMOUNT, UNIT, TARGET, CITATION, NAME };

struct policy {
    GPtrArray *rules; /* struct policy_rule * */
    char version[CSV_VERSION_LEN + 1];
};

static const char *const kind_words[DEADLINE_KINDS] = {
    [DEADLINE_INTAKE] = "intake",
    [DEADLINE_DISPATCH] = "dispatch",
    [DEADLINE_REDISPATCH] = "redispatch",
    [DEADLINE_HANDLING] = "handling",
    [DEADLINE_URGENT] = "urgent",
    [DEADLINE_CLARIFY_WINDOW] = "clarify-window",
    [DEADLINE_CLARIFY_ANSWER] = "clarify-answer",
    [DEADLINE_MAINTENANCE] = "maintenance",
};

static const char *const unit_words[POLICY_UNITS] = {
    [POLICY_WORKING_HOURS] = "working-hours",
    [POLICY_WORKING_DAYS] = "working-days",
    [POLICY_DAYS] = "days",
};

const char *deadline_kind_word(enum deadline_kind kind)
{
    return kind_words[kind];
}

const char *policy_unit_word(enum policy_unit unit)
{
    return unit_words[unit];
}

static bool find_word(const char *const *words, int n, const char *word, int *out)
{
    for (int i = 0; i < n; i++) {
        if (strcmp(words[i], word) == 0) {
            *out = i;
            return true;
        }
    }
    return false;
}

bool deadline_kind_parse(const char *word, enum deadline_kind *out)
{
    int found;

    if (!find_word(kind_words, DEADLINE_KINDS, word, &found))
        return false;
    *out = (enum deadline_kind)found;
    return true;
}

static bool is_number(const char *text, int min, int max, int *out)
{
    gint64 value;

    if (!g_ascii_string_to_signed(text, 10, min, max, &value, NULL))
        return false;
    *out = (int)value;
    return true;
}

static void rule_free(gpointer data)
{
    struct policy_rule *rule = data;

    g_free(rule->citation);
    g_free(rule->name);
    g_free(rule);
}

static void take_row(struct csv_reader *reader, char **field, void *user)
{
    struct policy *policy = user;
    struct policy_rule rule = {.to = INT32_MAX, .line = csv_line(reader)};
    int kind = 0, unit = 0;
    unsigned line = rule.line;

    if (!find_word(kind_words, DEADLINE_KINDS, field[KIND], &kind))
        csv_fault(reader, line, "kind: no kind \"%s\"", field[KIND]);
    else if (!day_parse(field[FROM], &rule.from))
        csv_fault(reader, line, "from: must be a date such as 2025-01-01");
    else if (field[TO][0] != '\0' && (!day_parse(field[TO], &rule.to) || rule.to < rule.from))
        csv_fault(reader, line, "to: must be empty or a date not before \"from\"");
    else if (!is_number(field[AMOUNT], 1, AMOUNT_MAX, &rule.amount))
        csv_fault(reader, line, "amount: must be a number from 1 to %d", AMOUNT_MAX);
    else if (!find_word(unit_words, POLICY_UNITS, field[UNIT], &unit))
        csv_fault(reader, line, "unit: must be working-hours, working-days or days");
    else if (field[TARGET][0] != '\0' &&
             !is_number(field[TARGET], 1, TARGET_MAX, &rule.urgent_target_min))
        csv_fault(reader, line, "urgent_target_minutes: must be empty or 1 to %d", TARGET_MAX);
    else if (field[CITATION][0] == '\0' || field[NAME][0] == '\0')
        csv_fault(reader, line, "citation and name: must not be empty");
    else {
        rule.kind = (enum deadline_kind)kind;
        rule.unit = (enum policy_unit)unit;
        rule.citation = g_strdup(field[CITATION]);
        rule.name = g_strdup(field[NAME]);
        g_ptr_array_add(policy->rules, g_memdup2(&rule, sizeof(rule)));
    }
}

/* Every kind has a rule; no day has two of one kind. */
static void check(struct csv_reader *reader, void *user)
{
    const struct policy *policy = user;
    bool has[DEADLINE_KINDS] = {false};

    for (guint i = 0; i < policy->rules->len; i++) {
        const struct policy_rule *rule = policy->rules->pdata[i];
        has[rule->kind] = true;
        for (guint j = 0; j < i; j++) {
            const struct policy_rule *other = policy->rules->pdata[j];
            if (other->kind == rule->kind && other->from <= rule->to && rule->from <= other->to)
                csv_fault(reader, rule->line, "some days have a rule for %s in line %u already",
                          kind_words[rule->kind], other->line);
        }
    }
    for (int kind = 0; kind < DEADLINE_KINDS; kind++)
        if (!has[kind])
            csv_fault(reader, csv_line(reader), "no rule for %s", kind_words[kind]);
}

struct policy *policy_parse(const char *text, size_t len, GError **error)
{
    loa_auto(policy) policy = g_new0(struct policy, 1);

    policy->rules = g_ptr_array_new_with_free_func(rule_free);
    if (!csv_read(text, len, "kind,from,to,amount,unit,urgent_target_minutes,citation,name",
                  take_row, check, policy, policy->version, error))
        return NULL;
    return g_steal_pointer(&policy);
}

void policy_free(struct policy *policy)
{
    if (policy == NULL)
        return;
    g_ptr_array_unref(policy->rules);
    g_free(policy);
}

const char *policy_version(const struct policy *policy)
{
    return policy->version;
}

const struct policy_rule *policy_find(const struct policy *policy, enum deadline_kind kind,
                                      int32_t day, GError **error)
{
    g_autofree char *date = NULL;

    for (guint i = 0; i < policy->rules->len; i++) {
        const struct policy_rule *rule = policy->rules->pdata[i];
        if (rule->kind == kind && rule->from <= day && day <= rule->to)
            return rule;
    }
    date = day_format(day);
    g_set_error(error, LOA_ERROR, LOA_ERROR_INVALID, "policy: no rule for %s on %s",
                kind_words[kind], date);
    return NULL;
}
