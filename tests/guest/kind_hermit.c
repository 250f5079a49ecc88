/* Hermit: options, variables, then `--` and the program's own (src/env/mod.rs). Its exit device tells whether it was
   well; without it the guest powers off. */
#include "guest.h"

enum { EXIT_PORT = 0xf4, WELL = 1, NOT_WELL = 0 };

const struct kind kind = { "Hermit (hermit-loader)", ON_SERIAL, false, 0 };

static void __attribute__((noreturn)) panicked(const char *pattern, ...)
{
    va_list args;
    va_start(args, pattern);
    say("[0][PANIC] panicked at src/env/mod.rs:51:5:\n");
    vsay(pattern, args);
    say("\n\n");
    outl(EXIT_PORT, NOT_WELL);
    power_off();
}

static void skipped(struct text word)
{
    say("[            ][0][ERROR env       ] could not parse bootarg: %T\n", &word);
    list_add(&config.words, word);
}

static struct text value_of(struct words *w, const char *option)
{
    struct text value;
    if (!word_next(w, &value))
        panicked("The argument '%s' requires a value but none was supplied", option);
    return value;
}

/* An option with a value is another way to set a variable. */
static bool read_option(struct words *w, struct text word)
{
    static const struct { const char *option, *variable; } options[] = {
        { "-ip", "HERMIT_IP=" }, { "-mask", "HERMIT_MASK=" }, { "-gateway", "HERMIT_GATEWAY=" }, { "-mount", "UHYVE_MOUNT=" },
    };
    for (unsigned i = 0; i < sizeof options / sizeof *options; i++) {
        if (!text_is(word, options[i].option))
            continue;
        list_add(&config.env, joined((struct text){ 0 }, options[i].variable, value_of(w, options[i].option)));
        return true;
    }
    if (!text_is(word, "-freq"))
        return false;
    value_of(w, "-freq");
    return true;
}

/* The kernel's path is the one bare word that is no mistake. */
static void read_word(struct words *w, struct text word)
{
    struct text variable = word, value;
    if (read_option(w, word))
        return;
    if (!word_takes(&variable, "env=")) {
        skipped(word);
        return;
    }
    value = variable;
    struct text key = cut(&value, '=');
    if (key.len == variable.len)
        skipped(word);
    else
        list_add(&config.env, variable);
}

/* The last one that was set. */
static struct text variable(const char *front, const char *default_value)
{
    for (unsigned i = config.env.count; i--; ) {
        struct text value = config.env.items[i];
        if (word_takes(&value, front))
            return value;
    }
    return (struct text){ default_value, strlen(default_value) };
}

/* NetworkState's defaults (src/executor/device.rs); what is no address is unwrapped. */
static void read_network(void)
{
    struct text gw = variable("HERMIT_GATEWAY=", "10.0.5.1");
    if (!config_address_masked(variable("HERMIT_IP=", "10.0.5.3"), variable("HERMIT_MASK=", "255.255.255.0")) || !config_gateway(gw))
        panicked("called `Result::unwrap()` on an `Err` value: AddrParseError(Ipv4)");
    config.dns[0] = variable("HERMIT_DNS1=", "9.9.9.9");
    config.dns[1] = variable("HERMIT_DNS2=", "1.1.1.1");
}

void kind_configure(const uint32_t *multiboot)
{
    unsigned path_bytes;
    struct words w = { config_command_line(multiboot, &path_bytes), " \t\n", "\"'", "$`\"\\\n", false };
    struct text word;
    while (word_next(&w, &word) && !text_is(word, "--"))
        read_word(&w, word);
    config.cmdline = w.rest.len ? (struct text){ w.rest.at + 1, w.rest.len - 1 } : w.rest;
    read_network();
}

void kind_failed(const char *why)
{
    panicked("%s", why);
}

/* src/arch/x86_64/kernel/interrupts.rs: an error and scheduler::abort(), no panic. */
void kind_trapped(uint32_t vector, uint32_t at, uint32_t error)
{
    const char *name = vector == 6 ? "Invalid Opcode (#UD)" : vector == 13 ? "General Protection (#GP)" : "Page fault (#PF)";
    say("[    0.500000][0][ERROR interrupts] %s Exception: ExceptionStackFrame {\n"
        "    instruction_pointer: VirtAddr(0x%x),\n}, error %x\n", name, at, error);
    outl(EXIT_PORT, NOT_WELL);
    power_off();
}

void kind_exit(uint32_t code)
{
    outl(EXIT_PORT, code ? NOT_WELL : WELL);
    power_off();
}

void kind_abort(void)
{
    panicked("aborted");
}
