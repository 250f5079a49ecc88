/* Unikraft: words before `--`, in the syntax since 0.16 or (built with -DBEFORE_0_16) the one before. Whatever ends it,
   it powers off. */
#include "guest.h"

const bool kind_hears_button = false;

#ifdef BEFORE_0_16
const char kind_name[] = "Unikraft before 0.16 (libukboot, ipv4_subnet_mask)";

static struct text addr, mask, gw;

static void read_word(struct text word, struct text *rest)
{
    (void)rest;
    if (word_takes(&word, "netdev.ipv4_addr=")) addr = word;
    else if (word_takes(&word, "netdev.ipv4_gw_addr=")) gw = word;
    else if (word_takes(&word, "netdev.ipv4_subnet_mask=")) mask = word;
}

static void finish(void)
{
    if (addr.at)
        config_static(addr, (struct text){ 0 }, mask, gw);
}
#else
const char kind_name[] = "Unikraft (libukboot)";

/* ADDRESS/PREFIX:GATEWAY:DNS0:DNS1:HOST:DOMAIN */
static void read_card(struct text card)
{
    struct text address = cut(&card, ':'), gw = cut(&card, ':');
    for (unsigned i = 0; i < DNS_MAX; i++)
        config.dns[i] = cut(&card, ':');
    config.hostname = cut(&card, ':');
    struct text ip = cut(&address, '/');
    if (!address.len)
        bootstrap_failed("net: no prefix, so this would ask DHCP");
    config_static(ip, address, (struct text){ 0 }, gw);
}

/* This guest drives one card. */
static void read_first_card(struct text card)
{
    if (!config.wants_network)
        read_card(card);
}

static void read_list(struct text *rest, void (*read)(struct text))
{
    struct text word;
    while (word_next(rest, &word) && !text_is(word, "]"))
        read(word);
}

static void read_word(struct text word, struct text *rest)
{
    if (text_is(word, "env.vars=["))
        read_list(rest, config_env);
    else if (text_is(word, "netdev.ip=["))
        read_list(rest, read_first_card);
    else if (word_takes(&word, "netdev.ip="))
        read_card(word);
}

static void finish(void)
{
}
#endif

void kind_configure(const uint32_t *multiboot)
{
    struct text rest = config_command_line(multiboot), word;
    while (word_next(&rest, &word) && !text_is(word, "--"))
        read_word(word, &rest);
    config.cmdline = rest.len ? (struct text){ rest.at + 1, rest.len - 1 } : rest;
    finish();
}

void kind_failed(const char *why)
{
    say("[    0.010000] CRIT: [libukboot] <boot.c @  300> Assertion failure: %s\n", why);
    power_off();
}

void kind_trapped(uint32_t vector, uint32_t at, uint32_t error)
{
    say("[    0.500000] CRIT: [libkvmplat] <traps.c @   83> Unhandled Trap %u (at 0x%X), error code=0x%x\n", vector, at, error);
    power_off();
}

void kind_exit(uint32_t code)
{
    if (code)
        say("[    0.500000] Info: [libukboot] <boot.c @  544> main returned %u, halting system\n", code);
    power_off();
}

void kind_abort(void)
{
    say("[    0.500000] CRIT: [libmusl] <abort.c @   21> abort called\n");
    power_off();
}
