/* TCP, the receiving half (RFC 9293): which segment belongs to what, and what it changes. Segments out of order are
   dropped and asked for again; data in order goes to HTTP at once, so the window never shrinks. */
#include "tcp.h"

enum { HEADER = 20, MSS_DEFAULT = 536, MSS_MIN = 64, FAST_RETRANSMIT = 3 };

struct segment {
    uint16_t from_port, window;
    uint32_t seq, ack;
    uint8_t flags;
    const uint8_t *data;
    unsigned len;                                           /* of data alone */
};

static uint16_t read_mss(const uint8_t *option, const uint8_t *end)
{
    while (option < end && *option != 0) {
        if (*option == 1) {
            option++;
            continue;
        }
        if (end - option < 2 || option[1] < 2 || option[1] > end - option)
            break;
        if (option[0] == 2 && option[1] == 4)
            return get16(option + 2);
        option += option[1];
    }
    return MSS_DEFAULT;
}

static void open_conn(const struct datagram *d, const struct segment *s, const uint8_t *options)
{
    struct conn *c = conn_new();
    if (!c)
        return;                                             /* the client asks again in a second */
    uint16_t own = nic_mtu - IP_BYTES - HEADER, peers = read_mss(options, s->data);
    c->state = SYN_RECEIVED;
    c->peer = d->from;
    c->peer_port = s->from_port;
    memcpy(c->peer_mac, d->back, 6);
    c->mss = peers < own ? peers : own;
    if (c->mss < MSS_MIN && own >= MSS_MIN)
        c->mss = MSS_MIN;
    c->first_received = s->seq;
    c->expected = s->seq + 1;
    c->first_sent = (uint32_t)rdtsc() * 2654435761u + s->from_port;
    c->unacked = c->next = c->first_sent;
    c->sent_max = c->first_sent + 1;
    c->window = s->window;
    c->congestion = 10 * c->mss;
    c->threshold = 0xffff;
    c->last_heard = rdtsc();
    tcp_emit(c, SYN | ACK, c->first_sent, 0);
}

static void take_ack(struct conn *c, const struct segment *s)
{
    if (before(c->unacked, s->ack)) {
        uint32_t step = c->congestion < c->threshold ? c->mss : c->mss * c->mss / c->congestion + 1;
        c->congestion = c->congestion + step < 0xffff ? c->congestion + step : 0xffff;
        c->unacked = s->ack;
        if (before(c->next, c->unacked))
            c->next = c->unacked;
        c->duplicates = c->retries = c->wait_ticks = 0;
        c->recovering = c->recovering && before(c->unacked, c->recover);
        if (c->recovering)
            tcp_retransmit_first(c);
    } else if (s->ack == c->unacked && !s->len && c->unacked != c->sent_max) {
        if (++c->duplicates == FAST_RETRANSMIT && !c->recovering)
            tcp_start_recovery(c);
    }
    if (!before(s->ack, c->unacked))
        c->window = s->window;
    if (!c->window)
        c->retries = 0;                                     /* a probe was answered: the peer lives */
}

static void take_data(struct conn *c, struct segment *s)
{
    unsigned old = before(s->seq, c->expected) ? c->expected - s->seq : 0;
    bool fin = s->flags & FIN;
    if (s->len || fin || s->seq != c->expected)
        c->ack_due = true;
    if (old >= s->len + fin)
        return;
    s->seq += old;
    s->data += old;
    s->len -= old < s->len ? old : s->len;
    if (s->seq != c->expected) {
        tcp_emit(c, ACK, c->next, 0);                       /* at once: these make the peer's fast retransmit */
        return;
    }
    if (c->peer_done)
        return;
    c->expected += s->len;
    if (s->len)
        http_input(c, s->data, s->len);
    if (fin) {
        c->expected++;
        c->peer_done = true;
        http_eof(c);
    }
}

static void take_segment(struct conn *c, struct segment *s, const struct datagram *d, const uint8_t *tcp)
{
    if (s->flags & RST) {
        if (s->seq - c->expected < WINDOW)
            conn_free(c);
        return;
    }
    if (s->flags & SYN) {
        bool again = c->state == SYN_RECEIVED && s->seq == c->first_received;
        tcp_emit(c, again ? SYN | ACK : ACK, again ? c->first_sent : c->next, 0);
        return;
    }
    if (!(s->flags & ACK))
        return;
    if (c->state == SYN_RECEIVED) {
        if (s->ack != c->first_sent + 1) {
            tcp_refuse(d, tcp, s->data - tcp);
            return;
        }
        c->state = OPEN;
        c->next = c->first_sent + 1;
    }
    if (before(c->sent_max, s->ack)) {
        c->ack_due = true;
        return;
    }
    c->last_heard = rdtsc();
    memcpy(c->peer_mac, d->back, 6);
    take_ack(c, s);
    take_data(c, s);
}

void tcp_input(const struct datagram *d)
{
    const uint8_t *tcp = d->data;
    if (d->len < HEADER)
        return;
    unsigned header = (tcp[12] >> 4) * 4;
    if (header < HEADER || header > d->len)
        return;
    if (!d->checked && checksum(pseudo_header(d->from, interface.addr, IP_TCP, d->len), tcp, d->len))
        return;
    struct segment s = { get16(tcp), get16(tcp + 14), get32(tcp + 4), get32(tcp + 8), tcp[13],
                         tcp + header, d->len - header };
    if (get16(tcp + 2) != HTTP_PORT) {
        tcp_refuse(d, tcp, header);
        return;
    }
    struct conn *c = conn_find(d->from, s.from_port);
    bool opens = (s.flags & (SYN | ACK | RST | FIN)) == SYN;
    if (c && c->state == TIME_WAIT && opens && before(c->expected, s.seq)) {
        conn_free(c);
        c = NULL;
    }
    if (c)
        take_segment(c, &s, d, tcp);
    else if (opens)
        open_conn(d, &s, tcp + HEADER);
    else
        tcp_refuse(d, tcp, header);
}
