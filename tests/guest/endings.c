/* Every way for the guest to end. What it then says, and whether QEMU ends with it, is its kind's; /crash, /poweroff and
   (with -device pvpanic) /panic end QEMU whatever the kind, /hang never does. */
#include "guest.h"

enum { PVPANIC_PORT = 0x505, PVPANIC_PANICKED = 1, SLEEP_ENABLE = 1 << 13, PATIENCE_TSC_BITS = 28 };

void stop_cpu(void)
{
    for (;;)
        __asm__ volatile("cli; hlt");
}

void fatal_trap(uint32_t vector, const uint32_t *stack)
{
    bool has_code = vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
    kind_trapped(vector, stack[has_code], has_code ? stack[0] : 0);
}

void end_exit(uint32_t code)
{
    kind_exit(code);
}

void end_abort(uint32_t code)
{
    (void)code;
    kind_abort();
}

void end_trap(uint32_t code)
{
    (void)code;
    __asm__ volatile("ud2");
}

void end_hang(uint32_t code)
{
    (void)code;
    stop_cpu();
}

void end_crash(uint32_t code)
{
    (void)code;
    triple_fault();
}

void end_panic(uint32_t code)
{
    (void)code;
    outb(PVPANIC_PORT, PVPANIC_PANICKED);
    for (uint64_t began = rdtsc(); (rdtsc() - began) >> PATIENCE_TSC_BITS == 0; )
        ;                                       /* QEMU stops the CPU only a moment later */
    say("FATAL TRAP: panic, and nothing ended the guest\n");
    stop_cpu();
}

/* The I/O base of the ACPI power management block: PIIX4 (-M pc) or ICH9 (-M q35); 0 if there is neither. */
uint16_t acpi_pm_base(void)
{
    uint32_t device = pci_find(0x8086, 0x7113, 0);
    if (device == PCI_NONE)
        device = pci_find(0x8086, 0x2918, 0);
    return device == PCI_NONE ? 0 : pci_read(device, 0x40) & 0xff80;
}

void power_off(void)
{
    uint16_t base = acpi_pm_base();
    if (base)
        outw(base + 4, SLEEP_ENABLE);           /* PM1a_CNT, sleep type 0: off, in a moment */
    else
        say("no ACPI power-off here\nhalted\n");
    stop_cpu();
}

void end_poweroff(uint32_t code)
{
    (void)code;
    power_off();
}
