/*
 * Set up the network by the kernel's command line, as vtapd writes it (supervisor/core/kinds/linux.py):
 *
 *   ip=<address>::<gateway>:<mask or prefix>:<host name>:<card>:off[:<DNS server>[:<DNS server>]]
 *   rd.route=<network>/<prefix>:<gateway>:<card>
 *
 * An IPv6 address is in brackets. Distributions' kernels do not read `ip=` themselves: their drivers are modules.
 */
#include "guest.h"

#include "system.h"
#include "text.h"

enum { ADDRESS, GATEWAY = 2, MASK, HOST, CARD, METHOD, SERVER, FIELDS = 9, NAME_BYTES = 16, LINE_BYTES = 4096 };
enum { IPV4 = 2, IPV6 = 10, DATAGRAMS = 2 };  /* linux/socket.h */
enum { ADD_ROUTE = 0x890B, SET_FLAGS = 0x8914, SET_ADDRESS = 0x8916, SET_MASK_OF = 0x891C, GET_INDEX = 0x8933 };
enum { CARD_UP = 1, CARD_RUNS = 64, ROUTE_UP = 1, ROUTE_GATEWAY = 2 };  /* linux/if.h, linux/route.h */

struct address4 {  /* linux/in.h: struct sockaddr_in */
    unsigned short family, port;
    unsigned char bytes[4], rest[8];
};
struct card {  /* linux/if.h: struct ifreq */
    char name[NAME_BYTES];
    union {
        struct address4 address;
        short flags;
        int index;
        char size[24];
    };
};
struct address6 {  /* linux/ipv6.h: struct in6_ifreq */
    unsigned char bytes[16];
    unsigned prefix;
    int index;
};
struct route4 {  /* linux/route.h: struct rtentry */
    unsigned long pad1;
    struct address4 destination, gateway, mask;
    unsigned short flags;
    short pad2;
    unsigned long pad3;
    void *pad4;
    short metric;
    char *card;
    unsigned long mtu, window;
    unsigned short time;
};
struct route6 {  /* linux/ipv6_route.h: struct in6_rtmsg */
    unsigned char destination[16], source[16], gateway[16];
    unsigned type;
    unsigned short prefix, source_prefix;
    unsigned metric;
    unsigned long info;
    unsigned flags;
    int index;
};

static long ask(int family, unsigned long what, const void *argument)
{
    long file = call(NR_SOCKET, family, DATAGRAMS, 0, 0);
    long result = file < 0 ? file : call(NR_IOCTL, file, (long)what, (long)argument, 0);

    if (file >= 0)
        close_file(file);
    return result;
}

static struct address4 parse4(const char *text)
{
    struct address4 parsed = {IPV4, 0, {0}, {0}};

    for (int at = 0; at < 4 && *text; at++) {
        parsed.bytes[at] = (unsigned char)number_in(text);
        while (*text && *text++ != '.')
            ;
    }
    return parsed;
}

static struct address4 mask_of(unsigned long prefix)
{
    struct address4 mask = {IPV4, 0, {0}, {0}};

    for (unsigned long bit = 0; bit < prefix && bit < 32; bit++)
        mask.bytes[bit / 8] |= (unsigned char)(0x80 >> bit % 8);
    return mask;
}

static int digit_of(char letter)
{
    if (letter >= '0' && letter <= '9')
        return letter - '0';
    letter |= 0x20;
    return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

/* Parse an IPv6 address; `::` is the place of the groups that are left out. */
static void parse6(const char *text, unsigned char *target)
{
    unsigned short groups[8] = {0};
    int count = 0, gap = -1;

    while (*text && count < 8) {
        if (*text == ':') {
            if (*++text == ':')
                text++, gap = count;
            else if (gap < 0 && !count)
                break;
            continue;
        }
        if (digit_of(*text) < 0)
            break;
        for (; digit_of(*text) >= 0; text++)
            groups[count] = (unsigned short)(groups[count] << 4 | digit_of(*text));
        count++;
        if (text[0] == ':' && text[1] != ':')
            text++;
    }
    memset(target, 0, 16);
    for (int at = 0; at < count; at++) {
        int place = gap >= 0 && at >= gap ? 8 - count + at : at;

        target[2 * place] = (unsigned char)(groups[at] >> 8);
        target[2 * place + 1] = (unsigned char)groups[at];
    }
}

/* Split at colons outside brackets, and remove the brackets. */
static void split(char *text, char **fields)
{
    for (int at = 0; at < FIELDS; at++) {
        fields[at] = text;
        if (*text == '[') {
            fields[at] = ++text;
            while (*text && *text != ']')
                text++;
            if (*text)
                *text++ = 0;
        }
        while (*text && *text != ':')
            text++;
        if (*text)
            *text++ = 0;
    }
}

static int has_colon(const char *text)
{
    while (*text && *text != ':')
        text++;
    return *text;
}

static int index_of(const char *name)
{
    struct card card = {0};

    join(card.name, NAME_BYTES, name, (char *)0);
    return ask(IPV4, GET_INDEX, &card) < 0 ? 0 : card.index;
}

static void raise_card(const char *name)
{
    struct card card = {0};

    join(card.name, NAME_BYTES, name, (char *)0);
    card.flags = CARD_UP | CARD_RUNS;
    if (ask(IPV4, SET_FLAGS, &card) < 0)
        say("there is no network card ", name);
}

/* Add a route; an empty network is the default route. `network` may have its prefix behind a slash. */
static void add_route(char *network, const char *gateway, char *card)
{
    char *slash = network;
    unsigned long prefix;
    long result;

    while (*slash && *slash != '/')
        slash++;
    prefix = *slash ? number_in(slash + 1) : 0;
    *slash = 0;
    if (has_colon(gateway)) {
        struct route6 route = {.prefix = (unsigned short)prefix, .metric = 1, .flags = ROUTE_UP | ROUTE_GATEWAY,
                               .index = index_of(card)};
        parse6(network, route.destination);
        parse6(gateway, route.gateway);
        result = ask(IPV6, ADD_ROUTE, &route);
    } else {
        struct route4 route = {.destination = parse4(network), .gateway = parse4(gateway), .mask = mask_of(prefix),
                               .flags = ROUTE_UP | ROUTE_GATEWAY, .card = card};
        result = ask(IPV4, ADD_ROUTE, &route);
    }
    if (result < 0)
        say("cannot add the route by ", gateway, " on ", card);
}

static void add_address6(char **fields)
{
    struct address6 address = {{0}, (unsigned)number_in(fields[MASK]), index_of(fields[CARD])};
    char path[128];

    /* The address is the container's and no duplicate, so that nothing waits for the check. */
    write_file(join(path, sizeof path, "/proc/sys/net/ipv6/conf/", fields[CARD], "/accept_dad", (char *)0), 0, "0");
    raise_card(fields[CARD]);
    parse6(fields[ADDRESS], address.bytes);
    if (ask(IPV6, SET_ADDRESS, &address) < 0)
        say("cannot set the address ", fields[ADDRESS], " on ", fields[CARD]);
}

static void add_address4(char **fields)
{
    struct card card = {0};

    join(card.name, NAME_BYTES, fields[CARD], (char *)0);
    card.address = parse4(fields[ADDRESS]);
    if (ask(IPV4, SET_ADDRESS, &card) < 0)
        say("cannot set the address ", fields[ADDRESS], " on ", fields[CARD]);
    card.address = parse4(fields[MASK]);
    ask(IPV4, SET_MASK_OF, &card);
    raise_card(fields[CARD]);
}

/* Set the host name to its part before the first dot; the rest is the domain that names are searched in. */
static void set_names(char **fields)
{
    char *name = fields[HOST], *dot = name, line[LINE_BYTES];

    while (*dot && *dot != '.')
        dot++;
    if (*name)
        call(NR_SETHOSTNAME, (long)name, dot - name, 0, 0);
    if (*name && *fields[ADDRESS])
        write_file("/etc/hosts", O_CREATE | O_APPEND_TO, join(line, sizeof line, fields[ADDRESS], "\t", name, "\n", (char *)0));
    for (int at = SERVER; at < FIELDS; at++)
        if (*fields[at])
            write_file("/etc/resolv.conf", O_CREATE | O_APPEND_TO,
                       join(line, sizeof line, "nameserver ", fields[at], "\n", (char *)0));
    if (*dot && *fields[SERVER])
        write_file("/etc/resolv.conf", O_CREATE | O_APPEND_TO,
                   join(line, sizeof line, "search ", dot + 1, "\n", (char *)0));
}

static void set_up_card(char *text)
{
    char *fields[FIELDS], all[] = "";

    split(text, fields);
    set_names(fields);
    if (!is_same(fields[METHOD], "off")) {
        raise_card(fields[CARD]);
        say("the program must ask for the address of ", fields[CARD], " by DHCP");
        return;
    }
    if (has_colon(fields[ADDRESS]))
        add_address6(fields);
    else
        add_address4(fields);
    if (*fields[GATEWAY])
        add_route(all, fields[GATEWAY], fields[CARD]);
}

static void set_up_route(char *text)
{
    char *fields[FIELDS];

    split(text, fields);
    add_route(fields[0], fields[1], fields[2]);
}

/* Call `set_up` for each word of the kernel's command line with this prefix. */
static void each_word(const char *prefix, void (*set_up)(char *))
{
    char line[LINE_BYTES];
    char *word = line;

    read_file("/proc/cmdline", line, sizeof line);
    while (*word) {
        char *end = word;
        const char *value;
        int is_last;

        while (*end && *end != ' ' && *end != '\n')
            end++;
        is_last = !*end;
        *end = 0;
        if (is_same(word, "--"))  /* what follows is the program's */
            return;
        if ((value = after(word, prefix)))
            set_up(word + (value - word));
        word = end + !is_last;
    }
}

void set_up_network(void)
{
    call(NR_MKDIRAT, AT_CWD, (long)"/etc", 0755, 0);
    write_file("/etc/hosts", O_CREATE | O_TRUNCATE, "127.0.0.1\tlocalhost\n::1\tlocalhost\n");
    call(NR_UNLINKAT, AT_CWD, (long)"/etc/resolv.conf", 0, 0);  /* may be a link to what only systemd writes */
    raise_card("lo");
    each_word("ip=", set_up_card);
    each_word("rd.route=", set_up_route);
}
