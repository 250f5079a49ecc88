/* COM1, the guest's only console: what the supervisor reads to learn how the guest fares. */
#include "guest.h"

enum {
    COM1 = 0x3f8, COM1_LINE = 4, INTERRUPTS = COM1 + 1, MODEM_CONTROL = COM1 + 4, LINE_STATUS = COM1 + 5,
    TRANSMITTER_EMPTY = 0x20, HAS_DATA = 1, OUT2 = 8
};

void console_start(void)
{
    outb(COM1 + 1, 0);          /* no interrupts */
    outb(COM1 + 3, 0x80);       /* 115200 baud */
    outb(COM1, 1);
    outb(COM1 + 1, 0);
    outb(COM1 + 3, 3);          /* 8N1 */
    outb(COM1 + 2, 7);          /* FIFO on, cleared */
}

/* The wait is bounded: a console that nobody reads loses text, it does not stop the guest. */
uint32_t console_patience = 20000;

void console_byte(uint8_t byte)
{
    for (uint32_t tries = console_patience; tries && !(inb(LINE_STATUS) & TRANSMITTER_EMPTY); tries--)
        ;
    outb(COM1, byte);
}

/* One message; "\n" becomes "\r\n". */
void say(const char *pattern, ...)
{
    static char line[CONFIG_MAX_BYTES + 64];
    va_list args;
    va_start(args, pattern);
    unsigned n = vformat(line, sizeof line, pattern, args);
    va_end(args);
    for (unsigned i = 0; i < n; i++) {
        if (line[i] == '\n')
            console_byte('\r');
        console_byte(line[i]);
    }
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
    cpu_listen_irq(COM1_LINE, typed);
    outb(MODEM_CONTROL, OUT2);                  /* which lets the interrupt out of the chip */
    outb(INTERRUPTS, HAS_DATA);
}
