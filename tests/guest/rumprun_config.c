/* Rumprun's JSON, by the rules of lib/librumprun_base/config.c, and in its words where it is refused. */
#include "rumprun.h"

/* A key is taken for the first name that begins with it. */
static bool begins(const char *name, struct text key)
{
    return key.len <= strlen(name) && !memcmp(name, key.at, key.len);
}

static void check_type(const struct token *t, enum json_type type, const char *where)
{
    if (t->type != type)
        rumprun_failed("unexpected type for token \"%T\" in \"%s\"", &t->text, where);
}

static void check_size(const struct token *t, unsigned size, const char *where)
{
    if (t->size != size)
        rumprun_failed("unexpected size for token \"%T\" in \"%s\"", &t->text, where);
}

/* An object of strings. Returns the token behind it. */
const struct token *rumprun_read_fields(const struct token *t, const struct field *fields, const char *where)
{
    check_type(t, JSON_OBJECT, where);
    unsigned pairs = t++->size;
    for (; pairs; pairs--, t += 2) {
        const struct field *field = fields;
        check_type(t, JSON_STRING, where);
        check_size(t, 1, where);
        check_type(t + 1, JSON_STRING, where);
        check_size(t + 1, 0, where);
        while (field->name && !begins(field->name, t->text))
            field++;
        if (!field->name)
            rumprun_failed("unexpected key \"%T\" in \"%s\"", &t->text, where);
        *field->value = t[1].text;
    }
    return t;
}

static bool has_program;

static const struct token *read_cmdline(const struct token *t)
{
    check_type(t, JSON_STRING, "handle_cmdline");
    config.cmdline = t->text;
    has_program = true;
    return t + 1;
}

/* An array of programs. Without "argv" rumprun follows a null pointer; a runmode is of no use for one program. */
static const struct token *read_rc(const struct token *t)
{
    check_type(t, JSON_ARRAY, "handle_rc");
    unsigned left = t++->size;
    for (; left; left--) {
        check_type(t, JSON_OBJECT, "addbin");
        struct text bin = { 0 };
        bool has_argv = false;
        unsigned pairs = t++->size;
        for (; pairs; pairs--) {
            const struct token *value = t + 1;
            check_type(t, JSON_STRING, "addbin");
            bool argv = begins("argv", t->text) && !begins("bin", t->text);
            if (!argv && !begins("bin", t->text) && !begins("runmode", t->text))
                rumprun_failed("unexpected key \"%T\" in \"addbin\"", &t->text);
            check_type(value, argv ? JSON_ARRAY : JSON_STRING, "addbin");
            if (begins("bin", t->text))
                bin = value->text;
            has_argv |= argv;
            t = value + 1 + (argv ? value->size : 0);
        }
        if (!bin.at)
            rumprun_failed("missing \"bin\" for rc entry");
        if (!has_argv)
            kind_trapped(14, 0, 0);
        if (!has_program)
            config.cmdline = bin;
        has_program = true;
    }
    return t;
}

static const struct token *read_env(const struct token *t)
{
    check_type(t, JSON_STRING, "handle_env");
    list_add(&config.env, t->text);
    return t + 1;
}

static const struct token *read_hostname(const struct token *t)
{
    check_type(t, JSON_STRING, "handle_hostname");
    config.hostname = t->text;
    return t + 1;
}

static const struct { const char *name; const struct token *(*read)(const struct token *); } members[] = {
    { "cmdline", read_cmdline }, { "rc_TESTING", read_rc }, { "env", read_env }, { "hostname", read_hostname },
    { "blk", rumprun_read_blk }, { "net", rumprun_read_net },
};

/* Members may stand in objects within objects. Behind the last token there is one that no member takes. */
void rumprun_read_config(struct text t)
{
    static struct token tokens[CONFIG_SIZE + 1];
    unsigned count = json_read(t, tokens), i;
    if (!count)
        rumprun_failed("json parse failed 2");
    tokens[count] = (struct token){ JSON_PRIMITIVE, 0, { "", 0 } };
    check_type(tokens, JSON_OBJECT, "rumprun_config");
    for (const struct token *at = tokens; at < tokens + count; ) {
        if (at->type == JSON_OBJECT) {
            at++;
            continue;
        }
        check_type(at, JSON_STRING, "rumprun_config");
        for (i = 0; i < sizeof members / sizeof *members && !begins(members[i].name, at->text); i++)
            ;
        if (i == sizeof members / sizeof *members)
            rumprun_failed("no match for key \"%T\"", &at->text);
        at = members[i].read(at + 1);
    }
    if (!has_program)
        rumprun_failed("rumprun_config: no bins");
}
