/* Order of events: read the configuration, start the card, print that it serves, then sleep until something arrives. */
#include "tcp.h"

enum { MULTIBOOT_LOADED = 0x2badb002, HAS_MEMORY = 1, PM_TICKS_PER_MS = 3580, MIB = 1 << 20 };

extern char image_end[];
uint32_t memory_bytes, firmware_ms, boot_ms;
static uintptr_t memory_next, memory_end;

/* Memory is handed out once and never given back; it is not zeroed. */
void *memory_take(size_t bytes, size_t align)
{
    uintptr_t at = (memory_next + align - 1) & ~(align - 1);
    if (bytes > memory_end || at > memory_end - bytes)
        kind_failed("memory: too little");
    memory_next = at + bytes;
    return (void *)at;
}

/* The ACPI timer counts from the machine's start, so it shows how long the firmware took; it wraps at 4.6 s. */
static uint32_t pm_timer(void)
{
    uint16_t base = acpi_pm_base();
    return base ? inl(base + 8) & 0xffffff : 0;
}

/* The greeting is drawn over the console's lines, so it comes when there will be no more of them by itself. */
static void announce(void)
{
    static bool said, drawn;
    static char where[64];
    if (interface.up && !said) {
        said = true;
        where[format(where, sizeof where - 1, "hello: serving on %I:%u", interface.addr, HTTP_PORT)] = 0;
        say("%s\n", where);
    }
    if (said && !drawn && (interface.gw_known || !interface.has_gw)) {
        drawn = true;
        vga_greeting(where + strlen("hello: "));
    }
}

static void serve(void)
{
    for (;;) {
        announce();
        nic_poll();
        if (cpu_tick_taken()) {
            tcp_tick();
            dhcp_tick();
        }
        tcp_flush();
        nic_kick();
        if (!nic_has_work())
            cpu_sleep(tcp_wants_tick() || dhcp_waits());
    }
}

void guest_main(uint32_t magic, const uint32_t *multiboot)
{
    uint32_t began = pm_timer();
    console_start();
    cpu_start();
    console_listen();
    say("hello: vtapd's test guest, configured as %s is\n", kind.name);
    if (magic != MULTIBOOT_LOADED || !(multiboot[0] & HAS_MEMORY))
        kind_failed("not booted by multiboot 1");
    memory_next = (uintptr_t)image_end;
    memory_end = MIB + multiboot[2] * 1024;
    memory_bytes = memory_end;
    config_read(multiboot);
    conns_start();
    if (kind.hears_button)
        button_start();
    net_start();
    firmware_ms = began / PM_TICKS_PER_MS;
    boot_ms = ((pm_timer() - began) & 0xffffff) / PM_TICKS_PER_MS;
    if (!interface.up)
        vga_greeting("no address");
    serve();
}
