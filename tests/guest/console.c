/* The console: COM1, the VGA text screen or both, as the kind has it. On COM1 the supervisor reads how the guest fares. */
#include "guest.h"

enum {
    COM1 = 0x3f8, COM1_LINE = 4, INTERRUPTS = COM1 + 1, MODEM_CONTROL = COM1 + 4, LINE_STATUS = COM1 + 5,
    TRANSMITTER_EMPTY = 0x20, HAS_DATA = 1, OUT2 = 8,
    BIOS_COM1 = 0x400, BIOS_CRTC = 0x463            /* the BIOS data area: the ports that the firmware found, or 0 */
};

static bool on_serial, on_screen;

static uint16_t bios_word(uint32_t at)
{
    uint16_t word;
    __asm__ volatile("movw (%1), %0" : "=r"(word) : "r"(at));
    return word;
}

static void serial_start(void)
{
    outb(COM1 + 1, 0);          /* no interrupts */
    outb(COM1 + 3, 0x80);       /* 115200 baud */
    outb(COM1, 1);
    outb(COM1 + 1, 0);
    outb(COM1 + 3, 3);          /* 8N1 */
    outb(COM1 + 2, 7);          /* FIFO on, cleared */
}

/* ON_SCREEN_ELSE_SERIAL is rumprun's cons_init(): with a VGA card the serial port stays silent. */
void console_start(void)
{
    bool has_screen = bios_word(BIOS_CRTC), has_serial = bios_word(BIOS_COM1);
    on_serial = kind.console != ON_SCREEN_ELSE_SERIAL || (has_serial && !has_screen);
    on_screen = kind.console == ON_BOTH ? has_screen : !on_serial;
    if (on_serial)
        serial_start();
    if (on_screen)
        screen_clear();
}

/* The wait is bounded: a console that is not read loses text, it does not stop the guest. */
uint32_t console_patience = 20000;

static void serial_byte(uint8_t byte)
{
    for (uint32_t tries = console_patience; tries && !(inb(LINE_STATUS) & TRANSMITTER_EMPTY); tries--)
        ;
    outb(COM1, byte);
}

void console_byte(uint8_t byte)
{
    if (on_serial)
        serial_byte(byte);
    if (on_screen)
        screen_byte(byte);
}

/* One message; "\n" becomes "\r\n". */
void vsay(const char *pattern, va_list args)
{
    static char line[TEXT_MAX + 64];
    unsigned n = vformat(line, sizeof line, pattern, args);
    for (unsigned i = 0; i < n; i++) {
        if (line[i] == '\n')
            console_byte('\r');
        console_byte(line[i]);
    }
}

void say(const char *pattern, ...)
{
    va_list args;
    va_start(args, pattern);
    vsay(pattern, args);
    va_end(args);
}

/* What is typed is shown, as a terminal driver would; a line ends as one. */
static void typed(void)
{
    while (inb(LINE_STATUS) & HAS_DATA) {
        uint8_t byte = inb(COM1);
        console_byte(byte);
        if (byte == '\r')
            console_byte('\n');
    }
}

void console_listen(void)
{
    if (!on_serial)
        return;
    cpu_listen_irq(COM1_LINE, typed);
    outb(MODEM_CONTROL, OUT2);                  /* which lets the interrupt out of the chip */
    outb(INTERRUPTS, HAS_DATA);
}
