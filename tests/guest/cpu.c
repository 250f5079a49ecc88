/* Interrupts and sleep. The guest sleeps in `hlt`; the timer is armed only while somebody waits for it, so an
   idle guest is never woken. Handlers only note that something came; the loop in main.c does the work. */
#include "guest.h"

enum { PIC1 = 0x20, PIC2 = 0xa0, PIT = 0x40, PIT_HZ = 1193182, VECTOR_BASE = 32 };

struct gate { uint16_t low, selector, flags, high; };

extern const uint32_t interrupt_entries[48];
static struct gate idt[48];
static void (*listeners[16])(void);
static volatile bool tick_arrived;
static bool tick_armed;

/* Mode 0 fires once. Loading it also ends the 18.2 Hz that the firmware leaves running. */
static void arm_tick(void)
{
    uint16_t count = PIT_HZ / 1000 * TICK_MS;
    outb(PIT + 3, 0x30);
    outb(PIT, count & 0xff);
    outb(PIT, count >> 8);
    tick_armed = true;
}

void irq_arrived(uint32_t line)
{
    if (line == 0) {
        tick_arrived = true;
        tick_armed = false;
    } else if (listeners[line]) {
        listeners[line]();      /* acknowledges at the device, so that the level falls before the EOI */
    }
    if (line >= 8)
        outb(PIC2, 0x20);
    outb(PIC1, 0x20);
}

static void set_masks(void)
{
    uint16_t open = 1 << 0 | 1 << 2;
    for (unsigned line = 0; line < 16; line++)
        open |= listeners[line] ? 1 << line : 0;
    outb(PIC1 + 1, ~open & 0xff);
    outb(PIC2 + 1, ~open >> 8 & 0xff);
}

void cpu_start(void)
{
    for (unsigned i = 0; i < 48; i++)
        idt[i] = (struct gate){ interrupt_entries[i] & 0xffff, 0x08, 0x8e00, interrupt_entries[i] >> 16 };
    struct { uint16_t limit; uint32_t base; } __attribute__((packed)) pointer = { sizeof idt - 1, (uint32_t)idt };
    __asm__ volatile("lidt %0" : : "m"(pointer), "m"(idt));

    outb(PIC1, 0x11); outb(PIC2, 0x11);
    outb(PIC1 + 1, VECTOR_BASE); outb(PIC2 + 1, VECTOR_BASE + 8);
    outb(PIC1 + 1, 4); outb(PIC2 + 1, 2);
    outb(PIC1 + 1, 1); outb(PIC2 + 1, 1);
    set_masks();
    arm_tick();
}

void cpu_listen_irq(uint8_t line, void (*arrived)(void))
{
    listeners[line & 15] = arrived;
    set_masks();
}

/* True once for each tick that came. */
bool cpu_tick_taken(void)
{
    bool was = tick_arrived;
    tick_arrived = false;
    return was;
}

/* Interrupts are off everywhere else: `sti` opens them only after `hlt` has begun, so none is missed. */
void cpu_sleep(bool with_tick)
{
    if (with_tick && !tick_armed)
        arm_tick();
    __asm__ volatile("sti; hlt; cli" : : : "memory");
}
