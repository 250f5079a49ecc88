/* Any virtio device through its modern interface ("Virtual I/O Device 1.1", section 4.1.4): what a request says goes into a
   queue as it stands. So a test speaks to a device of QEMU as a guest's kernel could, also one that means harm. */
#include "tcp.h"

enum {
    CAPABILITIES = 0x34, VENDOR_SPECIFIC = 9, COMMON = 1, NOTIFY = 2,
    SEEN = 1, DRIVER = 2, READY = 4, FEATURES = 8, BROKEN = 0x40, VERSION_1 = 1,
    NEXT = 1, DEVICE_WRITES = 2, NO_INTERRUPT = 1,
    SIZE = 8, QUEUES = 2, PAGE = 4096, AVAILABLE_AT = 256, USED_AT = 512, MESSAGE_MAX = 0x10000, SHOWN_MAX = 2048
};

struct descriptor { uint64_t at; uint32_t len; uint16_t flags, next; };
struct available { uint16_t flags, head, ring[SIZE]; };
struct used { uint16_t flags, head; struct { uint32_t id, len; } ring[SIZE]; };

struct common {
    uint32_t device_select, device_features, driver_select, driver_features;
    uint16_t config_vector, queues;
    uint8_t status, generation;
    uint16_t queue, size, vector, enabled, notify_at;
    uint64_t descriptors, available, used;
};

static uint32_t device_id;                              /* the one that is started; 0: none */
static volatile struct common *common;
static uint32_t notify_base, notify_step;
static uint8_t *rings[QUEUES], *message, *reply;
static uint16_t notify_at[QUEUES];

/* Finds the two structures that a driver cannot do without. Memory is not mapped, so a BAR is where the firmware put it. */
static bool find(uint32_t device)
{
    common = NULL;
    notify_base = 0;
    for (uint8_t at = pci_read(device, CAPABILITIES); at; at = pci_read(device, at) >> 8) {
        uint32_t head = pci_read(device, at), bar = pci_read(device, at + 4) & 0xff;
        if ((head & 0xff) != VENDOR_SPECIFIC || bar > 5)
            continue;
        uint32_t where = (pci_read(device, 0x10 + 4 * bar) & ~15u) + pci_read(device, at + 8);
        if (head >> 24 == COMMON)
            common = (void *)where;
        if (head >> 24 == NOTIFY) {
            notify_base = where;
            notify_step = pci_read(device, at + 16);
        }
    }
    return common && notify_base;
}

static void start_queue(uint16_t number)
{
    if (!rings[number])
        rings[number] = memory_take(PAGE, PAGE);
    uint8_t *ring = memset(rings[number], 0, PAGE);
    ((struct available *)(ring + AVAILABLE_AT))->flags = NO_INTERRUPT;
    common->queue = number;
    common->size = SIZE;
    common->descriptors = (uint32_t)ring;
    common->available = (uint32_t)ring + AVAILABLE_AT;
    common->used = (uint32_t)ring + USED_AT;
    notify_at[number] = common->notify_at;
    common->enabled = 1;
}

static bool start(uint32_t id)
{
    uint32_t device = pci_find(VIRTIO, id, 0);
    device_id = 0;
    if (device == PCI_NONE || !find(device))
        return false;
    pci_write(device, 4, pci_read(device, 4) | 0x406);              /* memory, bus master, no INTx */
    common->status = 0;
    while (common->status)
        ;
    common->status = SEEN | DRIVER;
    common->driver_select = 1;
    common->driver_features = VERSION_1;
    common->status = SEEN | DRIVER | FEATURES;
    for (uint16_t i = 0; i < QUEUES && i < common->queues; i++)
        start_queue(i);
    common->status = SEEN | DRIVER | FEATURES | READY;
    device_id = id;
    return true;
}

static void describe(struct descriptor *to, uint32_t at, uint32_t len, uint16_t flags)
{
    *to = (struct descriptor){ at, len, flags, 1 };
}

/* Returns how many bytes the device wrote; MESSAGE_MAX + 1 if it has not answered for about a second. */
static uint32_t exchange(uint16_t number, uint32_t at, uint32_t len, uint32_t room, bool loops)
{
    struct descriptor *descriptors = (void *)rings[number];
    volatile struct available *available = (void *)(rings[number] + AVAILABLE_AT);
    volatile struct used *used = (void *)(rings[number] + USED_AT);
    uint16_t before = used->head;
    describe(descriptors, at, len, room || loops ? NEXT : 0);
    describe(descriptors + 1, (uint32_t)reply, room, DEVICE_WRITES);
    descriptors->next = !loops;
    available->ring[available->head % SIZE] = len || loops ? 0 : 1;
    __asm__ volatile("lock; addl $0, (%%esp)" : : : "memory");
    available->head++;
    __asm__ volatile("lock; addl $0, (%%esp)" : : : "memory");
    *(volatile uint16_t *)(notify_base + notify_at[number] * notify_step) = number;
    for (uint64_t began = rdtsc(); used->head == before; )
        if (rdtsc() - began > 1ull << 31 || common->status & BROKEN)
            return MESSAGE_MAX + 1;
    return used->ring[before % SIZE].len;
}

static uint32_t number_in(struct text query, const char *name, uint32_t otherwise)
{
    uint32_t n;
    return text_number(query_value(query, name), UINT32_MAX, &n) ? n : otherwise;
}

static uint32_t read_message(struct text hex, uint32_t fill)
{
    static uint32_t chance = 7;
    uint32_t len = 0;
    for (unsigned i = 0; i + 1 < hex.len && len < MESSAGE_MAX; i += 2)
        message[len++] = hex_digit(hex.at[i]) << 4 | hex_digit(hex.at[i + 1]);
    for (; fill && len < MESSAGE_MAX; fill--) {
        chance = chance * 1664525 + 1013904223;
        message[len++] = chance >> 24;
    }
    return len;
}

static void show(struct conn *c, uint32_t len)
{
    static char hex[2 * SHOWN_MAX + 1];
    static const char digits[] = "0123456789abcdef";
    uint32_t shown = len < SHOWN_MAX ? len : SHOWN_MAX;
    for (uint32_t i = 0; i < shown; i++) {
        hex[2 * i] = digits[reply[i] >> 4];
        hex[2 * i + 1] = digits[reply[i] & 15];
    }
    hex[2 * shown] = 0;
    http_reply_text(c, "200 OK", "%u %s\n", len, hex);
}

void speak_to_device(struct conn *c, struct text query)
{
    uint32_t id = number_in(query, "id", 0), queue = number_in(query, "queue", 0), room = number_in(query, "room", 0);
    if (!message) {
        message = memory_take(MESSAGE_MAX, 16);
        reply = memory_take(MESSAGE_MAX, 16);
    }
    bool must_start = id != device_id || common->status & BROKEN || query_value(query, "reset").at;
    if ((must_start && !start(id)) || queue >= QUEUES || !rings[queue] || room > MESSAGE_MAX) {
        http_reply_text(c, "404 Not Found", "no such device or queue\n");
        return;
    }
    uint32_t len = read_message(query_value(query, "say"), number_in(query, "fill", 0));
    memset(reply, 0, room);
    len = exchange(queue, number_in(query, "at", (uint32_t)message), number_in(query, "length", len), room,
                   query_value(query, "loop").at);
    if (len > MESSAGE_MAX)
        http_reply_text(c, "200 OK", common->status & BROKEN ? "broken\n" : "silent\n");
    else
        show(c, len);
}
