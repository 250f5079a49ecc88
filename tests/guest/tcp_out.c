/* TCP, the sending half: segments cut to what the peer takes, retransmission with backoff, and when a connection is
   over. Time is counted in ticks, and ticks come only while something is unacknowledged. */
#include "tcp.h"

enum { HEADER = 20, FIRST_WAIT = 300 / TICK_MS, LONGEST_WAIT = 3000 / TICK_MS, RETRIES_MAX = 10 };

static void finish(uint8_t *tcp, unsigned len, uint32_t to, const uint8_t *mac)
{
    put16(tcp + 14, WINDOW);
    put16(tcp + 16, 0);
    put16(tcp + 18, 0);
    put16(tcp + 16, checksum(pseudo_header(interface.addr, to, IP_TCP, len), tcp, len));
    ip_send(tcp, len, to, mac, IP_TCP);
}

/* Sends one segment with `len` bytes of the stream; false if there was no free frame for it. */
bool tcp_emit(struct conn *c, uint8_t flags, uint32_t seq, unsigned len)
{
    uint8_t *tcp = ip_payload();
    unsigned header = flags & SYN ? HEADER + 4 : HEADER;
    if (!tcp)
        return false;
    put16(tcp, HTTP_PORT);
    put16(tcp + 2, c->peer_port);
    put32(tcp + 4, seq);
    put32(tcp + 8, c->expected);
    tcp[12] = header / 4 << 4;
    tcp[13] = flags;
    if (flags & SYN)
        put32(tcp + HEADER, 0x02040000u | (nic_mtu - IP_BYTES - HEADER));
    if (len)
        stream_read(&c->stream, seq - c->first_sent - 1, tcp + header, len);
    finish(tcp, header + len, c->peer, c->peer_mac);
    c->ack_due = false;
    return true;
}

/* Answers a segment that belongs to no connection by RST. */
void tcp_refuse(const struct datagram *d, const uint8_t *in, unsigned header)
{
    uint8_t flags = in[13];
    uint8_t *tcp = flags & RST ? NULL : ip_payload();
    if (!tcp)
        return;
    uint32_t length = d->len - header + !!(flags & SYN) + !!(flags & FIN);
    put16(tcp, get16(in + 2));
    put16(tcp + 2, get16(in));
    put32(tcp + 4, flags & ACK ? get32(in + 8) : 0);
    put32(tcp + 8, flags & ACK ? 0 : get32(in + 4) + length);
    tcp[12] = HEADER / 4 << 4;
    tcp[13] = flags & ACK ? RST : RST | ACK;
    finish(tcp, HEADER, d->from, d->back);
}

bool tcp_all_acked(const struct conn *c)
{
    return c->stream.complete && c->unacked == c->first_sent + 1 + stream_bytes(&c->stream) + 1;
}

static uint32_t unsent(const struct conn *c)
{
    uint32_t offset = c->next - c->first_sent - 1, all = stream_bytes(&c->stream);
    return offset < all ? all - offset : 0;
}

/* Sends the next segment if the windows allow; `probe` sends at least a byte even if they do not. */
static bool send_next(struct conn *c, bool probe)
{
    uint32_t flight = c->next - c->unacked, left = unsent(c), n = left < c->mss ? left : c->mss;
    uint32_t limit = c->window < c->congestion ? c->window : c->congestion;
    uint32_t room = limit > flight ? limit - flight : 0;
    if (n > room)
        n = flight ? 0 : room;                              /* no small segments while others are on their way */
    if (!n && left && probe)
        n = 1;
    bool fin = c->stream.complete && n == left && c->next - c->first_sent - 1 <= stream_bytes(&c->stream);
    if ((!n && !fin) || !tcp_emit(c, ACK | (n == left ? PSH : 0) | (fin ? FIN : 0), c->next, n))
        return false;
    c->next += n + fin;
    if (before(c->sent_max, c->next))
        c->sent_max = c->next;
    return true;
}

static void slow_down(struct conn *c)
{
    uint32_t half = (c->sent_max - c->unacked) / 2;
    c->threshold = half > 2u * c->mss ? half : 2u * c->mss;
}

/* Fast retransmit: the first segment again, and until all that was sent by then is acknowledged, each next hole. */
void tcp_start_recovery(struct conn *c)
{
    slow_down(c);
    c->congestion = c->threshold;
    c->recovering = true;
    c->recover = c->sent_max;
    tcp_retransmit_first(c);
}

void tcp_retransmit_first(struct conn *c)
{
    uint32_t next = c->next;
    c->next = c->unacked;
    send_next(c, true);
    c->next = before(c->next, next) ? next : c->next;
}

static bool wants_tick(const struct conn *c)
{
    return c->state == SYN_RECEIVED || (c->state == OPEN && (c->unacked != c->sent_max || unsent(c)));
}

bool tcp_wants_tick(void)
{
    for (struct conn *c = conns; c < conns + CONNECTIONS; c++)
        if (wants_tick(c))
            return true;
    return false;
}

static void time_out(struct conn *c)
{
    if (++c->retries > RETRIES_MAX) {
        conn_free(c);
        return;
    }
    c->wait_ticks = c->wait_ticks * 2 < LONGEST_WAIT ? c->wait_ticks * 2 : LONGEST_WAIT;
    c->ticks_left = c->wait_ticks;
    if (c->state == SYN_RECEIVED) {
        tcp_emit(c, SYN | ACK, c->first_sent, 0);
        return;
    }
    slow_down(c);
    c->congestion = c->mss;
    c->recovering = false;
    c->next = c->unacked;                                   /* all from here again, as the window opens */
    send_next(c, true);
}

void tcp_tick(void)
{
    for (struct conn *c = conns; c < conns + CONNECTIONS; c++) {
        if (!wants_tick(c))
            c->wait_ticks = 0;
        else if (!c->wait_ticks)
            c->wait_ticks = c->ticks_left = FIRST_WAIT;
        else if (!--c->ticks_left)
            time_out(c);
    }
}

static void flush(struct conn *c)
{
    while (send_next(c, false))
        ;
    if (c->ack_due)
        tcp_emit(c, ACK, c->next, 0);
    if (!tcp_all_acked(c))
        return;
    if (c->http.ending.run)
        conn_free(c);
    else if (c->peer_done)
        c->state = TIME_WAIT;
}

/* Sends what has become possible; called after each batch of frames. */
void tcp_flush(void)
{
    for (struct conn *c = conns; c < conns + CONNECTIONS; c++) {
        if (c->state == OPEN)
            flush(c);
        else if (c->state == TIME_WAIT && c->ack_due)
            tcp_emit(c, ACK, c->next, 0);
    }
}
