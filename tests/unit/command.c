/* lib: loa_app */
/* Options, help and exit codes that all commands share. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include <cmocka.h>

#include "app/command.h"
#include "base/error.h"

/* What fn prints on a stream, owned. */
static char *captured(FILE *stream, void (*fn)(void *user), void *user)
{
    FILE *file = tmpfile();
    int kept = dup(fileno(stream));
    char *text = g_malloc0(65536);

    assert_non_null(file);
    fflush(stream);
    dup2(fileno(file), fileno(stream));
    fn(user);
    fflush(stream);
    dup2(kept, fileno(stream));
    close(kept);
    rewind(file);
    assert_true(fread(text, 1, 65535, file) < 65535);
    fclose(file);
    return text;
}

struct parse {
    const char *words[6];
    gboolean json;
    bool run;
    int argc, exit_code;
};

static void parse(void *user)
{
    struct parse *p = user;
    const GOptionEntry entries[] = {
        {"json", 0, 0, G_OPTION_ARG_NONE, &p->json, "Prints JSON", NULL}, {NULL}};
    char *argv_buffer[7] = {0};
    char **argv = argv_buffer;

    for (p->argc = 0; p->words[p->argc] != NULL; p->argc++)
        argv[p->argc] = (char *)p->words[p->argc];
    p->exit_code = -1;
    p->run = command_parse("broadcast show ID [--json]", "Shows one.", entries, &p->argc, &argv,
                           &p->exit_code);
}

static void test_options_are_taken_out(void **state)
{
    struct parse p = {.words = {"show", "--json", "7"}};
    (void)state;

    parse(&p);
    assert_true(p.run);
    assert_int_equal(p.exit_code, EX_OK);
    assert_int_equal(p.argc, 2);
    assert_true(p.json);
}

static void test_help_goes_to_standard_output(void **state)
{
    static const char *const forms[] = {"--help", "-h"};
    (void)state;

    for (size_t i = 0; i < G_N_ELEMENTS(forms); i++) {
        struct parse p = {.words = {"show", "7", forms[i]}};
        g_autofree char *text = captured(stdout, parse, &p);
        assert_false(p.run);
        assert_int_equal(p.exit_code, EX_OK);
        assert_non_null(strstr(text, "Usage: loa broadcast show ID [--json]\n"));
        assert_non_null(strstr(text, "Shows one."));
        assert_non_null(strstr(text, "--json"));
    }
}

static void test_a_wrong_option_says_what_to_do(void **state)
{
    struct parse p = {.words = {"show", "--nonsense"}};
    g_autofree char *text = captured(stderr, parse, &p);
    (void)state;

    assert_false(p.run);
    assert_int_equal(p.exit_code, EX_USAGE);
    assert_non_null(strstr(text, "loa broadcast show: "));
    assert_non_null(strstr(text, "--nonsense"));
    assert_non_null(strstr(text, "loa broadcast show --help"));
}

static void test_after_two_dashes_help_is_an_argument(void **state)
{
    const char *const argv[] = {"show", "--", "--help"};
    (void)state;

    assert_false(command_wants_help(G_N_ELEMENTS(argv), (char **)argv));
}

static void print_failure(void *user)
{
    command_fail("check", user);
}

static void test_every_line_of_an_error_names_the_command(void **state)
{
    g_autoptr(GError) error =
        g_error_new_literal(LOA_ERROR, LOA_ERROR_DENIED, "first fault\nsecond fault");
    g_autofree char *text = captured(stderr, print_failure, error);
    (void)state;

    assert_string_equal(text, "loa check: first fault\nloa check: second fault\n");
    assert_int_equal(loa_error_exit_code(error), EX_NOPERM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_are_taken_out),
        cmocka_unit_test(test_help_goes_to_standard_output),
        cmocka_unit_test(test_a_wrong_option_says_what_to_do),
        cmocka_unit_test(test_after_two_dashes_help_is_an_argument),
        cmocka_unit_test(test_every_line_of_an_error_names_the_command),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
