/* The VGA text screen as a console, as rumprun's platform/hw/arch/x86/vgacons.c drives it: magenta on black, no cursor,
   a line is blanked when it is begun. */
#include "guest.h"

enum { COLUMNS = 80, ROWS = 25, MAGENTA = 5 };

static volatile uint16_t *const cells = (volatile uint16_t *)0xb8000;

static void blank(unsigned from, unsigned count, uint8_t colour)
{
    for (unsigned i = 0; i < count; i++)
        cells[from + i] = colour << 8 | ' ';
}

void screen_clear(void)
{
    blank(0, COLUMNS * ROWS, 0);
}

void screen_byte(uint8_t byte)
{
    static unsigned column, row;
    if (byte == '\r')
        column = 0;
    else if (byte == '\t')
        column = (column + 8) & ~7u;
    else if (byte != '\n')
        cells[row * COLUMNS + column++] = MAGENTA << 8 | byte;
    if (byte != '\n' && column < COLUMNS)
        return;
    column = 0;
    if (++row == ROWS) {
        row = ROWS - 1;
        for (unsigned i = 0; i < row * COLUMNS; i++)
            cells[i] = cells[i + COLUMNS];
    }
    blank(row * COLUMNS, COLUMNS, MAGENTA);
}
