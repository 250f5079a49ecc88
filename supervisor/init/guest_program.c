/* The image's program: its words, its environment, its user. */
#include "guest.h"

#include "system.h"
#include "text.h"

enum { NOT_FOUND = -2, NO_FOLDER = -20, STATUS_NOT_FOUND = 127, STATUS_NOT_RUN = 126 };  /* as a shell has them */

static void add(const char **list, long *count, const char *text)
{
    if (*count < MOST_WORDS)
        list[(*count)++] = text;
}

/* Add a variable, in place of one with its name. */
static void set_variable(struct program *program, const char *text)
{
    for (long i = 0; i < program->variable_count; i++) {
        const char *old = program->variables[i], *new = text;

        while (*old == *new && *new && *new != '=')
            old++, new++;
        if (*old == '=' && *new == '=') {
            program->variables[i] = text;
            return;
        }
    }
    add(program->variables, &program->variable_count, text);
}

static void read_field(struct program *program, const char *field, int has_words)
{
    const char *value;

    if ((value = after(field, "user=")))
        program->user = (long)number_in(value);
    else if ((value = after(field, "group=")))
        program->group = (long)number_in(value);
    else if ((value = after(field, "other=")) && program->group_count < MOST_WORDS)
        program->groups[program->group_count++] = (unsigned)number_in(value);
    else if ((value = after(field, "folder=")))
        program->folder = value;
    else if ((value = after(field, "stop=")))
        program->stop_signal = (long)number_in(value);
    else if ((value = after(field, "variable=")))
        set_variable(program, value);
    else if ((value = after(field, "entry=")) || (!has_words && (value = after(field, "word="))))
        add(program->words, &program->word_count, value);
}

/* The kernel passes its own words on, too, as far as it does not know them: `ip=`. vtapd passes names in capitals. */
static int is_passed(const char *variable)
{
    if (is_same(variable, "HOME=/") || is_same(variable, "TERM=linux"))  /* init/main.c: envp_init */
        return 0;
    for (; *variable && *variable != '='; variable++)
        if (*variable >= 'a' && *variable <= 'z')
            return 0;
    return 1;
}

void read_program(struct program *program, char *config, long length, char **words, char **variables)
{
    program->folder = "/";
    program->stop_signal = SIG_TERM;
    set_variable(program, "TERM=vt220");
    for (const char *field = config; field < config + length; field += length_of(field) + 1)
        read_field(program, field, words[1] != 0);
    for (words++; *words; words++)
        add(program->words, &program->word_count, *words);
    for (; *variables; variables++)
        if (is_passed(*variables))
            set_variable(program, *variables);
    if (!program->word_count) {
        say("the image has no command: give one to docker run");
        power_off(STATUS_NOT_FOUND);
    }
}

/* Whether the program must itself be the first process, as systemd. */
int is_init(const struct program *program)
{
    const char *name = last_part(program->words[0]);

    return !program->user && (is_same(name, "init") || is_same(name, "systemd"));
}

/* Run the program of this name, found in PATH if it has no slash. Return why it does not run. */
static long execute(const struct program *program)
{
    const char *name = program->words[0], *path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    long error = NOT_FOUND, result;
    char full[PATH_BYTES];

    if (last_part(name) != name)
        return call(NR_EXECVE, (long)name, (long)program->words, (long)program->variables, 0);
    for (long i = 0; i < program->variable_count; i++)
        path = after(program->variables[i], "PATH=") ?: path;
    while (*path) {
        unsigned long length = 0;

        while (path[length] && path[length] != ':' && length + 1 < sizeof full)
            full[length] = path[length], length++;
        full[length] = 0;
        join(full + length, sizeof full - length, "/", name, (char *)0);
        result = call(NR_EXECVE, (long)full, (long)program->words, (long)program->variables, 0);
        if (result != NOT_FOUND && result != NO_FOLDER)
            error = result;
        path += length + (path[length] == ':');
    }
    return error;
}

/* End the machine if this is its first process, which may not end. */
static _Noreturn void fail(int status)
{
    if (call(NR_GETPID, 0, 0, 0, 0) == 1)
        power_off(status);
    leave(status);
}

_Noreturn void become(const struct program *program)
{
    static const unsigned long none = 0;
    long error;

    call(NR_FCHOWN, 0, program->user, -1, 0);  /* /dev/stdout is opened again by its user */
    call(NR_SETGROUPS, program->group_count, (long)program->groups, 0, 0);
    call(NR_SETGID, program->group, 0, 0, 0);
    call(NR_SETUID, program->user, 0, 0, 0);
    if ((error = call(NR_CHDIR, (long)program->folder, 0, 0, 0)) < 0) {
        say("cannot enter the working directory ", program->folder, ": ", reason_of(error));
        fail(STATUS_NOT_RUN);
    }
    call(NR_SIGPROCMASK, SET_MASK, (long)&none, 0, sizeof none);
    error = execute(program);
    say("cannot run ", program->words[0], ": ", reason_of(error));
    fail(error == NOT_FOUND ? STATUS_NOT_FOUND : STATUS_NOT_RUN);
}
