/* Ethernet, ARP, IPv4 and ICMP echo for one address. Answers to the own link go to the MAC that the question came
   from, so there is no ARP cache; answers to anywhere else go to the configured gateway, which is resolved by ARP.
   So a wrong mask or gateway shows, as it would with a real stack. Whatever is malformed or not for us is dropped. */
#include "net.h"

enum { TYPE_ARP = 0x0806, TYPE_IP = 0x0800, ARP_BYTES = 28, ARP_ASK = 1, ARP_ANSWER = 2, IP_ICMP = 1 };

struct interface interface;
static const uint8_t everybody[6] = { 255, 255, 255, 255, 255, 255 };

uint16_t checksum(uint32_t start, const uint8_t *data, unsigned len)
{
    uint64_t sum = start;
    for (; len >= 4; data += 4, len -= 4)
        sum += *(const wire32 *)data;
    if (len & 2) {
        sum += *(const wire16 *)data;
        data += 2;
    }
    if (len & 1)
        sum += *data;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return __builtin_bswap16(~sum);
}

/* The start of a TCP or UDP checksum, in the byte order that checksum() sums in. */
uint32_t pseudo_header(uint32_t a, uint32_t b, uint8_t protocol, unsigned len)
{
    uint8_t header[12];
    put32(header, a);
    put32(header + 4, b);
    put16(header + 8, protocol);
    put16(header + 10, len);
    return __builtin_bswap16((uint16_t)~checksum(0, header, sizeof header));
}

static void ethernet_send(uint8_t *frame, const uint8_t *to, uint16_t type, unsigned payload)
{
    memcpy(frame, to, 6);
    memcpy(frame + 6, nic_mac, 6);
    put16(frame + 12, type);
    nic_send(frame, ETHERNET_BYTES + payload);
}

static void arp_send(uint16_t operation, const uint8_t *to_mac, uint32_t to)
{
    uint8_t *frame = nic_frame();
    if (!frame)
        return;
    uint8_t *arp = frame + ETHERNET_BYTES;
    put32(arp, 0x00010800);
    put16(arp + 4, 0x0604);
    put16(arp + 6, operation);
    memcpy(arp + 8, nic_mac, 6);
    put32(arp + 14, interface.addr);
    memcpy(arp + 18, to_mac, 6);
    put32(arp + 24, to);
    ethernet_send(frame, operation == ARP_ANSWER ? to_mac : everybody, TYPE_ARP, ARP_BYTES);
}

static void arp_input(const uint8_t *arp, unsigned len)
{
    if (len < ARP_BYTES || get32(arp) != 0x00010800 || get16(arp + 4) != 0x0604 || !interface.up)
        return;
    uint32_t sender = get32(arp + 14);
    if (arp[8] & 1)
        return;
    if (interface.has_gw && sender == interface.gw) {
        if (!interface.gw_known)
            say("gw %I is at %M\n", sender, arp + 8);
        interface.gw_known = true;
        memcpy(interface.gw_mac, arp + 8, 6);
    }
    if (get16(arp + 6) == ARP_ASK && get32(arp + 24) == interface.addr)
        arp_send(ARP_ANSWER, arp + 8, sender);
}

/* The MAC that leads to an address, or NULL. */
static const uint8_t *way_to(uint32_t ip, const uint8_t *seen)
{
    if (!((ip ^ interface.addr) & interface.mask))
        return seen;
    if (!interface.has_gw)
        return NULL;
    if (!interface.gw_known)
        arp_send(ARP_ASK, everybody, interface.gw);
    return interface.gw_known ? interface.gw_mac : NULL;
}

uint8_t *ip_payload(void)
{
    uint8_t *frame = nic_frame();
    return frame ? frame + ETHERNET_BYTES + IP_BYTES : NULL;
}

void ip_send(uint8_t *payload, unsigned len, uint32_t to, const uint8_t *mac, uint8_t protocol)
{
    static uint16_t ids;
    uint8_t *ip = payload - IP_BYTES;
    put16(ip, 0x4500);
    put16(ip + 2, IP_BYTES + len);
    put16(ip + 4, ids++);
    put16(ip + 6, 0x4000);                                  /* don't fragment */
    put16(ip + 8, 64 << 8 | protocol);
    put16(ip + 10, 0);
    put32(ip + 12, interface.addr);
    put32(ip + 16, to);
    put16(ip + 10, checksum(0, ip, IP_BYTES));
    ethernet_send(ip - ETHERNET_BYTES, mac ? mac : everybody, TYPE_IP, IP_BYTES + len);
}

static void icmp_input(const struct datagram *d)
{
    if (d->len < 8 || d->data[0] != 8 || d->data[1] || checksum(0, d->data, d->len) || d->len + IP_BYTES > nic_mtu)
        return;
    uint8_t *reply = ip_payload();
    if (!reply)
        return;
    memcpy(reply, d->data, d->len);
    put32(reply, 0);                                        /* echo reply */
    put16(reply + 2, checksum(0, reply, d->len));
    ip_send(reply, d->len, d->from, d->back, IP_ICMP);
}

void tcp_input(const struct datagram *d);

static void ip_input(const uint8_t *mac, const uint8_t *ip, unsigned len, bool checked)
{
    if (len < IP_BYTES || ip[0] >> 4 != 4)
        return;
    unsigned header = (ip[0] & 15) * 4, total = get16(ip + 2);
    if (header < IP_BYTES || total < header || total > len || checksum(0, ip, header) || get16(ip + 6) & 0x3fff)
        return;                                             /* the last: a fragment */
    struct datagram d = { get32(ip + 12), NULL, ip + header, total - header, checked };
    if (dhcp_waits() && ip[9] == IP_UDP)
        dhcp_input(d.data, d.len);
    if (!interface.up || get32(ip + 16) != interface.addr || d.from >> 28 >= 14 || !d.from || d.from == interface.addr)
        return;
    d.back = way_to(d.from, mac);
    if (!d.back)
        return;
    if (ip[9] == IP_ICMP)
        icmp_input(&d);
    else if (ip[9] == IP_TCP)
        tcp_input(&d);
}

void net_input(const uint8_t *frame, unsigned len, bool checked)
{
    if (len < ETHERNET_BYTES || frame[6] & 1 || (memcmp(frame, nic_mac, 6) && memcmp(frame, everybody, 6)))
        return;
    if (get16(frame + 12) == TYPE_ARP)
        arp_input(frame + ETHERNET_BYTES, len - ETHERNET_BYTES);
    else if (get16(frame + 12) == TYPE_IP)
        ip_input(frame + 6, frame + ETHERNET_BYTES, len - ETHERNET_BYTES, checked);
}

/* Takes the address, tells the link of it (so that stale ARP entries go) and asks for the gateway. */
void net_configure(uint32_t addr, uint32_t prefix, bool has_gw, uint32_t gw)
{
    interface = (struct interface){ .up = true, .addr = addr, .prefix = prefix, .gw = gw, .has_gw = has_gw };
    interface.mask = prefix ? ~0u << (32 - prefix) : 0;
    say("addr: %I\nmask: %u\n", addr, prefix);
    if (has_gw)
        say("gw: %I\n", gw);
    arp_send(ARP_ASK, everybody, addr);
    if (has_gw)
        arp_send(ARP_ASK, everybody, gw);
}

void net_start(void)
{
    if (!nic_start()) {
        say("net: no legacy virtio network card\n");
        return;
    }
    say("mac: %M\nmtu: %u\n", nic_mac, nic_mtu);
    if (config.ip4.has_address)
        net_configure(config.ip4.addr, config.ip4.prefix, config.ip4.has_gw, config.ip4.gw);
    else if (config.dhcp)
        dhcp_start();
    else
        say("net: no address\n");
}
