/* MirageOS on Solo5's virtio binding: keys with `--`. It halts as before Solo5 0.12; a trap powers off as since then. */
#include "guest.h"

const char kind_name[] = "MirageOS";
const bool kind_hears_button = false;

/* The note by which solo5-elftool, too, recognises an image: its target is virtio (elf_abi.h). */
__attribute__((section(".note.solo5, \"a\", @note #"), used, aligned(4)))
static const struct { uint32_t name_size, size, type; char name[8]; uint32_t target, version, zero[2]; } abi =
    { 6, 16, 0x31494241, "Solo5", 3, 1, { 0, 0 } };

void kind_configure(const uint32_t *multiboot)
{
    struct text rest = config_command_line(multiboot), word, addr = { 0 }, gw = { 0 };
    config.cmdline = rest;
    while (word_next(&rest, &word)) {
        if (word_takes(&word, "--ipv4="))
            addr = word;
        else if (word_takes(&word, "--ipv4-gateway="))
            gw = word;
        else
            continue;
        config.cmdline = rest.len ? (struct text){ rest.at + 1, rest.len - 1 } : rest;
    }
    if (addr.at) {
        struct text ip = cut(&addr, '/');
        config_static(ip, addr, (struct text){ 0 }, gw);
    }
}

static void __attribute__((noreturn)) halted(void)
{
    say("Solo5: Halted\n");
    stop_cpu();
}

void kind_failed(const char *why)
{
    say("%s\nSolo5: solo5_exit(64) called\n", why);
    halted();
}

void kind_trapped(uint32_t vector, uint32_t at, uint32_t error)
{
    say("Solo5: trap: type=%u ec=0x%x rip=0x%X\nSolo5: ABORT: cpu_x86_64.c:181: Fatal trap\n", vector, error, at);
    power_off();
}

void kind_exit(uint32_t code)
{
    say("Solo5: solo5_exit(%u) called\n", code);
    halted();
}

void kind_abort(void)
{
    say("Solo5: solo5_abort() called\n");
    halted();
}
