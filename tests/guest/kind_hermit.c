/* Hermit: options, variables, then `--` and the program's own. Its exit device tells whether it was well. */
#include "guest.h"

enum { EXIT_PORT = 0xf4, WELL = 1, NOT_WELL = 0 };

const char kind_name[] = "Hermit (hermit-loader)";
const bool kind_hears_button = false;

static struct text value_of(struct text *rest)
{
    struct text value = { 0 };
    word_next(rest, &value);
    return value;
}

void kind_configure(const uint32_t *multiboot)
{
    struct text rest = config_command_line(multiboot), word, addr = { 0 }, mask = { 0 }, gw = { 0 };
    while (word_next(&rest, &word) && !text_is(word, "--")) {
        if (text_is(word, "-ip")) addr = value_of(&rest);
        else if (text_is(word, "-mask")) mask = value_of(&rest);
        else if (text_is(word, "-gateway")) gw = value_of(&rest);
        else if (word_takes(&word, "env=")) config_env(word);
        else bootstrap_failed("an argument that was not expected");
    }
    config.cmdline = rest.len ? (struct text){ rest.at + 1, rest.len - 1 } : rest;
    if (addr.at)
        config_static(addr, (struct text){ 0 }, mask, gw);
}

static void __attribute__((noreturn)) left(uint32_t value)
{
    outl(EXIT_PORT, value);
    stop_cpu();
}

void kind_failed(const char *why)
{
    say("[0][PANIC] panicked at src/env.rs:3:5: %s\n", why);
    left(NOT_WELL);
}

void kind_trapped(uint32_t vector, uint32_t at, uint32_t error)
{
    say("[0][PANIC] exception %u at 0x%X, error 0x%x\n", vector, at, error);
    left(NOT_WELL);
}

void kind_exit(uint32_t code)
{
    say("[0][INFO] Shutting down system\n");
    left(code ? NOT_WELL : WELL);
}

void kind_abort(void)
{
    say("[0][PANIC] panicked at src/main.rs:3:5:\naborted\n");
    left(NOT_WELL);
}
