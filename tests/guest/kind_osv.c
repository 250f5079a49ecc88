/* OSv: options in front of the program. It powers off when the program is done, and halts after a crash. */
#include "guest.h"

const char kind_name[] = "OSv (power-off-on-abort)";
const bool kind_hears_button = false;

static struct text addr, mask, gw;

/* eth0,ADDRESS,MASK; further cards are none of this guest's business */
static void read_ip(struct text value)
{
    struct text card = cut(&value, ',');
    if (!text_is(card, "eth0"))
        return;
    addr = cut(&value, ',');
    mask = value;
}

static void read_option(struct text word)
{
    if (word_takes(&word, "--ip=")) read_ip(word);
    else if (word_takes(&word, "--defaultgw=")) gw = word;
    else if (word_takes(&word, "--nameserver=")) config.dns[0] = word;
    else if (word_takes(&word, "--env=")) config_env(word);
    else bootstrap_failed("unknown option");
}

void kind_configure(const uint32_t *multiboot)
{
    struct text rest = config_command_line(multiboot), word, before = rest;
    while (word_next(&rest, &word) && *word.at == '-') {
        read_option(word);
        before = rest;
    }
    while (before.len && *before.at == ' ')
        before = (struct text){ before.at + 1, before.len - 1 };
    config.cmdline = before;
    if (addr.at)
        config_static(addr, (struct text){ 0 }, mask, gw);
}

static void __attribute__((noreturn)) aborted(const char *why)
{
    say("%s\n\n[backtrace]\n0x0000000040477678 <abort(char const*, ...)+40>\n0x00000000403a1b2c <osv::halt()+12>\n", why);
    stop_cpu();
}

void kind_failed(const char *why)
{
    aborted(why);
}

void kind_trapped(uint32_t vector, uint32_t at, uint32_t error)
{
    (void)vector;
    (void)error;
    say("RIP: 0x%X\n", at);
    aborted("page fault outside application, addr: 0x0000000000000000");
}

void kind_exit(uint32_t code)
{
    struct text rest = config.cmdline, name = cut(&rest, ' ');
    if (code)
        say("program %T returned %u\n", &name, code);
    power_off();
}

void kind_abort(void)
{
    aborted("Aborted");
}
