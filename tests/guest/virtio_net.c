/* The network card: virtio-net through its legacy (I/O port) interface, which is all that rumprun can use.
   Interrupt-driven for receiving; sent frames are reaped when room is needed. No offloads are negotiated, so the
   host completes every checksum. Layout: "Virtual I/O Device 1.0", section 2.4 and the legacy parts of 5.1. */
#include "net.h"

enum {
    HOST_FEATURES = 0, GUEST_FEATURES = 4, QUEUE_PAGE = 8, QUEUE_SIZE = 12, QUEUE_SELECT = 14, QUEUE_NOTIFY = 16,
    STATUS = 18, ISR = 19, DEVICE_MAC = 20, DEVICE_MTU = 30,
    FEATURE_MTU = 1 << 3, FEATURE_MAC = 1 << 5,
    STATUS_SEEN = 1, STATUS_DRIVER = 2, STATUS_OK = 4,
    NEXT = 1, DEVICE_WRITES = 2, NO_INTERRUPT = 1, NO_NOTIFY = 1, NEEDS_CHECKSUM = 1,
    RX = 0, TX = 1, BUFFERS = 64, HEADER_BYTES = 10, PAGE = 4096
};

struct descriptor { uint64_t at; uint32_t len; uint16_t flags, next; };
struct available { uint16_t flags, head; uint16_t ring[]; };
struct used { uint16_t flags, head; struct { uint32_t id, len; } ring[]; };

/* Buffer i is descriptors 2i (virtio's header) and 2i+1 (the frame): legacy devices want them apart. */
struct queue {
    uint16_t size, buffers, seen, filled;
    struct descriptor *descriptors;
    volatile struct available *available;
    volatile struct used *used;
    uint8_t *frames;
};

uint8_t nic_mac[6];
uint16_t nic_mtu = MTU_DEFAULT;
static uint16_t port;
static struct queue queues[2];
static uint8_t headers[2][BUFFERS][HEADER_BYTES];
static uint16_t free_tx[BUFFERS], free_tx_count;
static unsigned frame_stride;

static void fence(void)
{
    __asm__ volatile("lock; addl $0, (%%esp)" : : : "memory");
}

static void offer(struct queue *q, uint16_t buffer)
{
    q->available->ring[q->filled++ % q->size] = buffer * 2;
    __asm__ volatile("" : : : "memory");
    q->available->head = q->filled;
}

static void notify(unsigned which)
{
    fence();
    if (!(queues[which].used->flags & NO_NOTIFY))
        outw(port + QUEUE_NOTIFY, which);
}

static bool queue_start(unsigned which)
{
    struct queue *q = &queues[which];
    outw(port + QUEUE_SELECT, which);
    q->size = inw(port + QUEUE_SIZE);
    if (q->size < 2 || q->size > 32768)
        return false;
    q->buffers = q->size / 2 < BUFFERS ? q->size / 2 : BUFFERS;
    size_t used_at = (q->size * sizeof(struct descriptor) + 6 + 2 * q->size + PAGE - 1) & ~(PAGE - 1);
    size_t bytes = used_at + 6 + 8 * q->size;
    uint8_t *ring = memset(memory_take(bytes, PAGE), 0, bytes);
    q->descriptors = (void *)ring;
    q->available = (void *)(ring + q->size * sizeof(struct descriptor));
    q->used = (void *)(ring + used_at);
    q->frames = memory_take(q->buffers * frame_stride, 16);
    for (uint16_t i = 0; i < q->buffers; i++) {
        uint16_t writes = which == RX ? DEVICE_WRITES : 0;
        q->descriptors[2 * i] =
            (struct descriptor){ (uint32_t)headers[which][i], HEADER_BYTES, NEXT | writes, 2 * i + 1 };
        q->descriptors[2 * i + 1] = (struct descriptor){ (uint32_t)(q->frames + i * frame_stride), frame_stride, writes, 0 };
        if (which == RX)
            offer(q, i);
        else
            free_tx[free_tx_count++] = i;
    }
    q->available->flags = which == TX ? NO_INTERRUPT : 0;
    outl(port + QUEUE_PAGE, (uint32_t)ring / PAGE);
    return true;
}

static void acknowledge(void)
{
    inb(port + ISR);
}

bool nic_start(void)
{
    uint32_t device = pci_find(VIRTIO, VIRTIO_NET, 0);
    if (device == PCI_NONE || !(pci_read(device, 0x10) & 1))
        return false;
    port = pci_read(device, 0x10) & 0xfffc;
    pci_write(device, 4, (pci_read(device, 4) & 0xfbff) | 5);       /* I/O ports, bus master, INTx not disabled */
    outb(port + STATUS, 0);
    outb(port + STATUS, STATUS_SEEN);
    outb(port + STATUS, STATUS_SEEN | STATUS_DRIVER);
    uint32_t features = inl(port + HOST_FEATURES) & (FEATURE_MTU | FEATURE_MAC);
    outl(port + GUEST_FEATURES, features);
    for (int i = 0; i < 6; i++)
        nic_mac[i] = inb(port + DEVICE_MAC + i);
    if (features & FEATURE_MTU)
        nic_mtu = inw(port + DEVICE_MTU);
    if (nic_mtu < 68 || nic_mtu > MTU_MAX)
        nic_mtu = nic_mtu < 68 ? 68 : MTU_MAX;
    frame_stride = (nic_mtu + ETHERNET_BYTES + 4 + 15) & ~15u;       /* 4: a VLAN tag does not make it too short */
    if (!queue_start(RX) || !queue_start(TX))
        return false;
    cpu_listen_irq(pci_read(device, 0x3c) & 0xff, acknowledge);
    outb(port + STATUS, STATUS_SEEN | STATUS_DRIVER | STATUS_OK);
    notify(RX);
    return true;
}

static void reap(void)
{
    struct queue *q = &queues[TX];
    while (q->seen != q->used->head) {
        uint32_t id = q->used->ring[q->seen++ % q->size].id / 2;
        if (id < q->buffers && free_tx_count < BUFFERS)
            free_tx[free_tx_count++] = id;
    }
}

/* If not, the device interrupts once it has sent a frame. */
static bool can_send(void)
{
    struct queue *q = &queues[TX];
    reap();
    q->available->flags = free_tx_count ? NO_INTERRUPT : 0;
    if (!free_tx_count) {
        notify(TX);
        reap();
    }
    return free_tx_count;
}

/* Frames stay in their ring while there is no room for an answer: a burst is answered late, and completely. */
bool nic_has_work(void)
{
    return port && queues[RX].used && queues[TX].used && queues[RX].used->head != queues[RX].seen && can_send();
}

bool nic_poll(void)
{
    struct queue *q = &queues[RX];
    unsigned got = 0;
    for (; nic_has_work() && got < BUFFERS; got++) {
        uint32_t id = q->used->ring[q->seen % q->size].id / 2, len = q->used->ring[q->seen % q->size].len;
        q->seen++;
        if (id >= q->buffers)
            continue;
        if (len > HEADER_BYTES && len - HEADER_BYTES <= frame_stride)
            net_input(q->frames + id * frame_stride, len - HEADER_BYTES, headers[RX][id][0] & NEEDS_CHECKSUM);
        offer(q, id);
    }
    if (got)
        notify(RX);
    return got;
}

uint8_t *nic_frame(void)
{
    struct queue *q = &queues[TX];
    return port && q->used && can_send() ? q->frames + free_tx[--free_tx_count] * frame_stride : NULL;
}

/* Sends what nic_frame gave; a frame with no bytes is only given back. */
void nic_send(uint8_t *frame, unsigned len)
{
    struct queue *q = &queues[TX];
    uint16_t buffer = (frame - q->frames) / frame_stride;
    if (!len) {
        free_tx[free_tx_count++] = buffer;
        return;
    }
    if (len < 60) {
        memset(frame + len, 0, 60 - len);
        len = 60;
    }
    q->descriptors[2 * buffer + 1].len = len;
    offer(q, buffer);
}

void nic_kick(void)
{
    static uint16_t told;
    if (told != queues[TX].filled) {
        told = queues[TX].filled;
        notify(TX);
    }
}
