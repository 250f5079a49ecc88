/* Rumprun's "net": handle_net() of lib/librumprun_base/config.c, and what NetBSD refuses then. */
#include "rumprun.h"

struct net { struct text interface, cloner, type, method, addr, mask, gw; };

static void net_failed(const struct net *n)
{
    rumprun_failed("ifconfig \"%T\" for \"%T/%T\" failed", &n->interface, &n->addr, &n->mask);
}

/* The route is refused when its gateway is on no link, and when there is one already. */
static void check_gateway(const struct net *n, bool ok, bool *given)
{
    if (!ok || *given)
        rumprun_failed("gw \"%T\" addition failed", &n->gw);
    *given = true;
}

/* rump_netconfig_ipv6_ifaddr() knows whole bytes of prefix only (buildrump.sh, brlib/libnetconfig/netconfig.c). */
static void use_inet6(const struct net *n)
{
    static bool gateway_given;
    uint32_t bits;
    if (!text_number(n->mask, 128, &bits) || bits % 8)
        net_failed(n);
    if (n->gw.at)
        check_gateway(n, true, &gateway_given);
    say("net: inet6 ignored\n");
    if (config.ip6.at)
        return;
    config.ip6 = joined(n->addr, "/", n->mask);
    config.gw6 = n->gw;
}

/* This guest drives one card, and tries its words for the others. */
static void use_inet(const struct net *n)
{
    static bool gateway_given;
    struct ip4 first = config.ip4;
    if (!config_address(n->addr, n->mask))
        net_failed(n);
    if (n->gw.at)
        check_gateway(n, config_gateway(n->gw) && config_gateway_is_on_link(), &gateway_given);
    if (text_is(n->interface, "vioif0") && !first.has_address)
        return;
    config.ip4 = first;
    say("net: %T ignored, this guest has one card and one address\n", &n->interface);
}

static void use_net(const struct net *n)
{
    uint32_t number;
    struct text rest = n->interface;
    bool inet6 = text_is(n->type, "inet6");
    if (!n->interface.at || !n->type.at || !n->method.at)
        rumprun_failed("net cfg missing vital data, not configuring");
    if (!inet6 && !text_is(n->type, "inet"))
        rumprun_failed("network type \"%T\" not supported", &n->type);
    bool exists = word_takes(&rest, "vioif") && text_number(rest, 31, &number)
                  && pci_find(VIRTIO, VIRTIO_NET, number) != PCI_NONE;
    if (text_is(n->method, inet6 ? "auto" : "dhcp")) {
        if (!exists)
            rumprun_failed("configuring %T for %T failed: 6", &n->method, &n->interface);
        config.dhcp |= !inet6 && !number;
        return;
    }
    if (!text_is(n->method, "static"))
        rumprun_failed("method \"static\" or \"dhcp\" expected, got \"%T\"", &n->method);
    if (!n->addr.at || !n->mask.at)
        rumprun_failed("static net cfg missing addr or mask");
    if (!exists)
        net_failed(n);
    (inet6 ? use_inet6 : use_inet)(n);
}

const struct token *rumprun_read_net(const struct token *t)
{
    struct net n = { 0 };
    const struct field fields[] = {
        { "if", &n.interface }, { "cloner", &n.cloner }, { "type", &n.type }, { "method", &n.method },
        { "addr", &n.addr }, { "mask", &n.mask }, { "gw", &n.gw }, { 0 },
    };
    t = rumprun_read_fields(t, fields, "handle_net");
    use_net(&n);
    return t;
}
