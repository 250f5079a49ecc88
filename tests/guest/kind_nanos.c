/* Nanos: the address is baked into the disk, or given to the kernel, in the same words. The exit device tells its code. */
#include "guest.h"

enum { EXIT_PORT = 0x501, KILLED = 0x7f };

const char kind_name[] = "Nanos";
const bool kind_hears_button = true;

void kind_configure(const uint32_t *multiboot)
{
    struct text rest = config_command_line(multiboot), word, addr = { 0 }, mask = { 0 }, gw = { 0 };
    while (word_next(&rest, &word)) {
        if (word_takes(&word, "en1.ipaddr=")) addr = word;
        else if (word_takes(&word, "en1.netmask=")) mask = word;
        else if (word_takes(&word, "en1.gateway=")) gw = word;
    }
    if (addr.at)
        config_static(addr, (struct text){ 0 }, mask, gw);
}

static void __attribute__((noreturn)) left(uint32_t code)
{
    outb(EXIT_PORT, code);
    stop_cpu();
}

void kind_failed(const char *why)
{
    say("halt: %s\n", why);
    left(KILLED);
}

void kind_trapped(uint32_t vector, uint32_t at, uint32_t error)
{
    say("signal 11 received by tid 2, errno 0, code 1\n   fault address 0x%X (%u, 0x%x)\n", at, vector, error);
    left(KILLED);
}

void kind_exit(uint32_t code)
{
    left(code);
}

void kind_abort(void)
{
    say("signal 6 received by tid 2, errno 0, code 0\n");
    left(KILLED);
}
