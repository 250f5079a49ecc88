/* PCI configuration space by the old ports 0xcf8/0xcfc: enough to find a device and to use its I/O bars. */
#include "guest.h"

enum { CLASS_BRIDGE = 0x0604 };

uint32_t pci_read(uint32_t device, uint8_t reg)
{
    outl(0xcf8, 0x80000000u | device | (reg & 0xfc));
    return inl(0xcfc);
}

void pci_write(uint32_t device, uint8_t reg, uint32_t value)
{
    outl(0xcf8, 0x80000000u | device | (reg & 0xfc));
    outl(0xcfc, value);
}

/* Bridges lead to the buses behind them, so only buses that exist are looked at. */
static uint32_t find_on_bus(uint32_t bus, uint32_t wanted, unsigned *number, unsigned depth)
{
    for (uint32_t slot = 0; slot < 32; slot++) {
        uint32_t functions = 1;
        for (uint32_t function = 0; function < functions; function++) {
            uint32_t device = bus << 16 | slot << 11 | function << 8;
            uint32_t id = pci_read(device, 0);
            if (id == 0xffffffff)
                continue;
            if (id == wanted && !(*number)--)
                return device;
            if (function == 0 && pci_read(device, 0x0c) & 0x800000)
                functions = 8;
            uint32_t behind = pci_read(device, 0x18) >> 8 & 0xff;
            if (pci_read(device, 8) >> 16 == CLASS_BRIDGE && behind > bus && depth) {
                uint32_t found = find_on_bus(behind, wanted, number, depth - 1);
                if (found != PCI_NONE)
                    return found;
            }
        }
    }
    return PCI_NONE;
}

uint32_t pci_find(uint16_t vendor, uint16_t id, unsigned number)
{
    return find_on_bus(0, (uint32_t)id << 16 | vendor, &number, 4);
}
