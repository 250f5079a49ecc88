/* The ACPI power button, for kinds that hear it: an interrupt, and then the guest is off. */
#include "guest.h"

enum { SCI_LINE = 9, PM1_STATUS = 0, PM1_ENABLE = 2, POWER_BUTTON = 1 << 8 };

static void sci_arrived(void)
{
    uint16_t base = acpi_pm_base();
    bool pressed = inw(base + PM1_STATUS) & POWER_BUTTON;
    outw(base + PM1_STATUS, POWER_BUTTON);
    if (pressed) {
        say("hello: power button\n");
        power_off();
    }
}

void button_start(void)
{
    uint16_t base = acpi_pm_base();
    if (!base)
        return;
    cpu_listen_irq(SCI_LINE, sci_arrived);
    outw(base + PM1_ENABLE, POWER_BUTTON);
}
