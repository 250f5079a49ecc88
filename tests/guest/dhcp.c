/* A DHCP client (RFC 2131) for "method": "dhcp": discover, request, done. It takes address, mask and the first router,
   and never renews: a test guest does not outlive its lease. How often it asks is its kind's. */
#include "net.h"

enum {
    BOOTP_BYTES = 236, COOKIE = 0x63825363, OPTIONS_AT = BOOTP_BYTES + 4, MESSAGE_BYTES = 300, UDP_BYTES = 8,
    SERVER_PORT = 67, CLIENT_PORT = 68, MASK = 1, ROUTER = 3, WANTED_ADDRESS = 50, KIND = 53, SERVER = 54,
    WANTED_OPTIONS = 55, END = 255, DISCOVER = 1, OFFER = 2, REQUEST = 3, ACCEPTED = 5, REFUSED = 6,
    RETRY_TICKS = 1000 / TICK_MS
};

static uint8_t waits_for;                                   /* OFFER, ACCEPTED or 0 */
static unsigned tries, ticks;
static uint32_t offered, server, exchange;

bool dhcp_waits(void)
{
    return waits_for != 0;
}

static uint8_t *add_address(uint8_t *option, uint8_t code, uint32_t address)
{
    option[0] = code;
    option[1] = 4;
    put32(option + 2, address);
    return option + 6;
}

static void ask(void)
{
    uint8_t *udp = nic_mtu >= IP_BYTES + UDP_BYTES + MESSAGE_BYTES ? ip_payload() : NULL;
    if (!udp)
        return;
    uint8_t *message = udp + UDP_BYTES, *option = message + OPTIONS_AT;
    memset(udp, 0, UDP_BYTES + MESSAGE_BYTES);
    put16(udp, CLIENT_PORT);
    put16(udp + 2, SERVER_PORT);
    put16(udp + 4, UDP_BYTES + MESSAGE_BYTES);              /* the checksum may be left out, as 0 */
    put32(message, 0x01010600);                             /* request, Ethernet, 6 bytes of MAC */
    put32(message + 4, exchange);
    put16(message + 10, 0x8000);                            /* answer by broadcast: we have no address yet */
    memcpy(message + 28, nic_mac, 6);
    put32(message + BOOTP_BYTES, COOKIE);
    *option++ = KIND;
    *option++ = 1;
    *option++ = waits_for == OFFER ? DISCOVER : REQUEST;
    if (waits_for == ACCEPTED)
        option = add_address(add_address(option, WANTED_ADDRESS, offered), SERVER, server);
    memcpy(option, (uint8_t[]){ WANTED_OPTIONS, 2, MASK, ROUTER, END }, 5);
    ip_send(udp, UDP_BYTES + MESSAGE_BYTES, 0xffffffff, NULL, IP_UDP);
}

static void expect(uint8_t kind)
{
    waits_for = kind;
    tries = ticks = 0;
    ask();
}

void dhcp_start(void)
{
    say("net: asking for an address by DHCP\n");
    exchange = (uint32_t)rdtsc();
    expect(OFFER);
}

void dhcp_tick(void)
{
    if (!waits_for || ++ticks < RETRY_TICKS)
        return;
    ticks = 0;
    if (++tries == kind.dhcp_tries)
        kind_failed("configuring dhcp for vioif0 failed: 49");      /* EADDRNOTAVAIL */
    ask();
}

/* The value of an option that has at least `bytes` bytes, or NULL. */
static const uint8_t *find_option(const uint8_t *at, const uint8_t *end, uint8_t code, unsigned bytes)
{
    while (at < end && *at != END) {
        if (*at == 0) {
            at++;
            continue;
        }
        if (end - at < 2 || end - at - 2 < at[1])
            return NULL;
        if (at[0] == code)
            return at[1] >= bytes ? at + 2 : NULL;
        at += 2 + at[1];
    }
    return NULL;
}

static uint32_t prefix_of(uint32_t mask)
{
    uint32_t prefix = 0;
    while (prefix < 32 && mask & 0x80000000u >> prefix)
        prefix++;
    return prefix;
}

void dhcp_input(const uint8_t *udp, unsigned len)
{
    const uint8_t *message = udp + UDP_BYTES, *end = udp + len;
    if (len < UDP_BYTES + OPTIONS_AT || get16(udp + 2) != CLIENT_PORT || message[0] != 2
        || get32(message + 4) != exchange || memcmp(message + 28, nic_mac, 6) || get32(message + BOOTP_BYTES) != COOKIE)
        return;
    const uint8_t *kind = find_option(message + OPTIONS_AT, end, KIND, 1);
    const uint8_t *mask = find_option(message + OPTIONS_AT, end, MASK, 4);
    const uint8_t *router = find_option(message + OPTIONS_AT, end, ROUTER, 4);
    const uint8_t *sender = find_option(message + OPTIONS_AT, end, SERVER, 4);
    if (!kind)
        return;
    if (*kind == OFFER && waits_for == OFFER && sender) {
        offered = get32(message + 16);
        server = get32(sender);
        expect(ACCEPTED);
    } else if (*kind == ACCEPTED && waits_for == ACCEPTED) {
        waits_for = 0;
        net_configure(get32(message + 16), mask ? prefix_of(get32(mask)) : 24, router != NULL, router ? get32(router) : 0);
    } else if (*kind == REFUSED && waits_for == ACCEPTED) {
        expect(OFFER);
    }
}
