/* From the network card up to IPv4. Numbers on the wire are big-endian; everywhere else they are in host order. */
#ifndef NET_H
#define NET_H

#include "guest.h"

enum { ETHERNET_BYTES = 14, IP_BYTES = 20, IP_TCP = 6, IP_UDP = 17, MTU_DEFAULT = 1500, MTU_MAX = 9000 };

typedef uint16_t __attribute__((aligned(1), may_alias)) wire16;
typedef uint32_t __attribute__((aligned(1), may_alias)) wire32;
static inline uint16_t get16(const uint8_t *p) { return __builtin_bswap16(*(const wire16 *)p); }
static inline uint32_t get32(const uint8_t *p) { return __builtin_bswap32(*(const wire32 *)p); }
static inline void put16(uint8_t *p, uint16_t v) { *(wire16 *)p = __builtin_bswap16(v); }
static inline void put32(uint8_t *p, uint32_t v) { *(wire32 *)p = __builtin_bswap32(v); }

/* virtio_net.c */
extern uint8_t nic_mac[6];
extern uint16_t nic_mtu;
bool nic_start(void);
bool nic_poll(void);                        /* hands what arrived to net_input; true if there was anything */
bool nic_has_work(void);
uint8_t *nic_frame(void);                   /* room for one frame, or NULL: then the guest is woken when there is */
void nic_send(uint8_t *frame, unsigned len);
void nic_kick(void);

/* net.c. A datagram's `back` is the MAC that leads to its sender. */
struct datagram { uint32_t from; const uint8_t *back; const uint8_t *data; unsigned len; bool checked; };
extern struct interface { bool up; uint32_t addr, prefix, mask, gw; bool has_gw, gw_known; uint8_t gw_mac[6]; } interface;
void net_start(void);
void net_configure(uint32_t addr, uint32_t prefix, bool has_gw, uint32_t gw);
void net_input(const uint8_t *frame, unsigned len, bool checked);
uint16_t checksum(uint32_t start, const uint8_t *data, unsigned len);
uint32_t pseudo_header(uint32_t a, uint32_t b, uint8_t protocol, unsigned len);
uint8_t *ip_payload(void);                  /* where to build a payload of at most nic_mtu - IP_BYTES, or NULL */
void ip_send(uint8_t *payload, unsigned len, uint32_t to, const uint8_t *mac, uint8_t protocol);

/* dhcp.c */
void dhcp_start(void);
bool dhcp_waits(void);
void dhcp_tick(void);
void dhcp_input(const uint8_t *udp, unsigned len);

#endif
