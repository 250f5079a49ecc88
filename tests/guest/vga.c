/* The same greeting as the page, on the VGA text screen: big letters drawn from the card's own 8x16 font with half
   blocks, so that a screenshot shows them. Without a VGA card all of it does nothing. */
#include "guest.h"

enum {
    SEQUENCER = 0x3c4, GRAPHICS = 0x3ce, CRTC = 0x3d4, DAC_INDEX = 0x3c8, DAC_DATA = 0x3c9,
    COLUMNS = 80, ROWS = 25, PURPLE = 5, CELL = PURPLE << 12,               /* black on purple */
    UPPER_HALF = 0xdf, LOWER_HALF = 0xdc, FULL_BLOCK = 0xdb
};

static volatile uint16_t *const screen = (volatile uint16_t *)0xb8000;
static volatile const uint8_t *const font_plane = (volatile const uint8_t *)0xa0000;

static void set(uint16_t port, uint8_t index, uint8_t value)
{
    outw(port, value << 8 | index);
}

/* Plane 2 holds the font while in text mode; it is mapped at 0xa0000 only for this long. */
static void read_glyph(uint8_t character, uint8_t rows[16])
{
    set(SEQUENCER, 4, 0x06);
    set(GRAPHICS, 4, 2);
    set(GRAPHICS, 5, 0x00);
    set(GRAPHICS, 6, 0x04);
    for (int i = 0; i < 16; i++)
        rows[i] = font_plane[character * 32 + i];
    set(SEQUENCER, 4, 0x02);
    set(GRAPHICS, 4, 0);
    set(GRAPHICS, 5, 0x10);
    set(GRAPHICS, 6, 0x0e);
}

static void draw_big(unsigned row, const char *word)
{
    static const uint8_t cells[4] = { ' ', LOWER_HALF, UPPER_HALF, FULL_BLOCK };
    unsigned column = (COLUMNS - 8 * strlen(word)) / 2;
    for (; *word; word++, column += 8) {
        uint8_t rows[16];
        read_glyph(*word, rows);
        for (unsigned y = 0; y < 8; y++)
            for (unsigned x = 0; x < 8; x++) {
                unsigned upper = rows[2 * y] >> (7 - x) & 1, lower = rows[2 * y + 1] >> (7 - x) & 1;
                if (upper || lower)
                    screen[(row + y) * COLUMNS + column + x] = CELL | cells[upper * 2 + lower];
            }
    }
}

void vga_greeting(const char *below)
{
    screen[0] = CELL | ' ';
    if (screen[0] != (CELL | ' '))
        return;
    outb(DAC_INDEX, PURPLE);                                /* #F444FF; the DAC keeps the upper six bits of each */
    outb(DAC_DATA, 0xf4 >> 2);
    outb(DAC_DATA, 0x44 >> 2);
    outb(DAC_DATA, 0xff >> 2);
    set(CRTC, 0x0a, 0x20);                                  /* no cursor */
    for (unsigned i = 0; i < COLUMNS * ROWS / 2; i++)
        ((volatile uint32_t *)screen)[i] = (CELL | ' ') * 0x10001u;
    draw_big(3, "Hiya,");
    draw_big(11, "Gump!");
    unsigned column = (COLUMNS - strlen(below)) / 2;
    for (unsigned i = 0; below[i]; i++)
        screen[22 * COLUMNS + column + i] = CELL | (uint8_t)below[i];
}
