/* Nanos: its configuration is baked into the disk, here as words (disk.S); a kernel that QEMU loads reads no command line
   (platform/pc/service.c, pvh_start). The exit device has its code, as with `debug_exit` in its configuration; without
   that device it powers off. */
#include "guest.h"

enum { EXIT_PORT = 0x501, HALT = 0x7f, LOADED_BY_QEMU = 1 << 9, SIGILL = 4, SIGABRT = 6, SIGSEGV = 11 };

const struct kind kind = { "Nanos", ON_BOTH, true, 0 };

/* get_static_config() of src/net/net.c; a gateway that is not said is the link's first address, or else its last. */
static void use_address(struct text addr, struct text mask, struct text gw)
{
    static const struct text class_c = { "255.255.255.0", 13 };
    if (!config_address_masked(addr, mask) && !config_address_masked(addr, class_c))
        return;
    if (config_gateway(gw))
        return;
    uint32_t bits = config.ip4.prefix ? ~0u << (32 - config.ip4.prefix) : 0, first = (config.ip4.addr & bits) + 1;
    config.ip4.has_gw = true;
    config.ip4.gw = first != config.ip4.addr ? first : (config.ip4.addr | ~bits) - 1;
}

void kind_configure(const uint32_t *multiboot)
{
    struct text word, addr = { 0 }, mask = { 0 }, gw = { 0 };
    unsigned path_bytes;
    config.dhcp = true;
    if (multiboot[0] & LOADED_BY_QEMU)
        return;
    struct words w = { config_command_line(multiboot, &path_bytes), " ", "", NULL, false };
    while (word_next(&w, &word)) {
        struct text whole = word;
        if (word_takes(&word, "en1.ipaddr=")) addr = word;
        else if (word_takes(&word, "en1.netmask=")) mask = word;
        else if (word_takes(&word, "en1.gateway=")) gw = word;
        else if (word_takes(&word, "en1.ip6addr=")) config.ip6 = word;
        else if (word_takes(&word, "environment.")) list_add(&config.env, word);
        else list_add(&config.words, whole);
    }
    use_address(addr, mask, gw);
}

static void __attribute__((noreturn)) left(uint32_t code)
{
    outb(EXIT_PORT, code);
    power_off();
}

/* dump_sig_info() and halt_with_code() */
static void __attribute__((noreturn)) killed(uint32_t signal, uint32_t code, uint32_t at)
{
    say("\n*** signal %u received by tid 2, errno 0, code %u\n", signal, code);
    if (signal == SIGSEGV)
        say("    fault address 0x%x\n", at);
    say("\n*** Thread context:\n   core dump\n");
    left(signal);
}

void kind_failed(const char *why)
{
    say("%s\n", why);
    left(HALT);
}

void kind_trapped(uint32_t vector, uint32_t at, uint32_t error)
{
    (void)error;
    killed(vector == 6 ? SIGILL : SIGSEGV, 1, at);
}

void kind_exit(uint32_t code)
{
    left(code);
}

void kind_abort(void)
{
    killed(SIGABRT, 0, 0);
}
