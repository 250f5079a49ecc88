/* What the parts of the guest share: port access, text, configuration, endings. Networking is in net.h and tcp.h. */
#ifndef GUEST_H
#define GUEST_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline void outb(uint16_t port, uint8_t v) { __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port)); }
static inline void outw(uint16_t port, uint16_t v) { __asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(port)); }
static inline void outl(uint16_t port, uint32_t v) { __asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port)); }
static inline uint8_t inb(uint16_t port) { uint8_t v; __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port)); return v; }
static inline uint16_t inw(uint16_t port) { uint16_t v; __asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port)); return v; }
static inline uint32_t inl(uint16_t port) { uint32_t v; __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port)); return v; }
static inline uint64_t rdtsc(void) { uint64_t v; __asm__ volatile("rdtsc" : "=A"(v)); return v; }

/* text.c */
struct text { const char *at; unsigned len; };      /* a piece of somebody else's bytes, not ended by NUL */
void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
bool text_is(struct text t, const char *word);
bool is_in(char c, const char *set);
bool text_number(struct text t, uint32_t max, uint32_t *out);
/* %s string, %T struct text *, %J the same as a JSON string, %u and %x unsigned, %X eight hex digits, %c, %I IPv4
   address, %M MAC. Never overruns. */
unsigned format(char *out, unsigned size, const char *pattern, ...);
unsigned vformat(char *out, unsigned size, const char *pattern, va_list args);

/* console.c: COM1, the VGA text screen or both, as the kind has it */
void console_start(void);
extern uint32_t console_patience;
void console_listen(void);                             /* echoes what is typed */
void console_byte(uint8_t byte);
void say(const char *pattern, ...);
void vsay(const char *pattern, va_list args);

/* screen.c, vga.c */
void screen_clear(void);
void screen_byte(uint8_t byte);
void vga_greeting(const char *below);

/* json.c: a text in tokens, as jsmn cuts them */
enum json_type { JSON_OBJECT, JSON_ARRAY, JSON_STRING, JSON_PRIMITIVE };
struct token { enum json_type type; unsigned size; struct text text; };      /* of a string without its quotes */
unsigned json_read(struct text t, struct token *tokens);

/* config.c: what every kind is given, in whatever words */
enum { TEXT_MAX = 16384, LIST_MAX = 512, DNS_MAX = 2 };
struct list { unsigned count; struct text items[LIST_MAX]; };
struct ip4 { bool has_address, has_gw; uint32_t addr, gw, prefix; };          /* in host order */
struct config {
    const char *source;                             /* "module", "command line" or "none" */
    struct text cmdline;
    struct list env, mounts, words;                 /* words: those for the system that are of no other use here */
    bool dhcp;                                      /* asked for, unless there is an address */
    struct ip4 ip4;
    struct text dns[DNS_MAX], hostname, domain, ip6, gw6;       /* no text where nothing was said */
};
extern struct config config;
void config_read(const uint32_t *multiboot);
/* What QEMU was given as -append: a copy. `path_bytes` is the length of the kernel's path and a blank before it. */
struct text config_command_line(const uint32_t *multiboot, unsigned *path_bytes);
bool config_has_module(const uint32_t *multiboot);
struct text config_module(const uint32_t *multiboot);           /* a copy of module 0 */
void list_add(struct list *list, struct text item);
/* Each is false, and has changed nothing, where it was given what is none. */
bool config_address(struct text ip, struct text prefix);
bool config_address_masked(struct text ip, struct text mask);
bool config_gateway(struct text gw);
bool config_gateway_is_on_link(void);

/* words.c: a command line in words. */
struct words {
    struct text rest;                   /* what is not read yet; its bytes are never changed */
    const char *blanks, *quotes;
    const char *escaped;                /* what `\` escapes between double quotes; "" is everything; NULL: no escapes */
    bool unclosed;                      /* the text has ended within a quote or behind an escape */
};
bool word_next(struct words *words, struct text *word);
char word_begins(struct words *words);                  /* steps over blanks; 0 at the end */
bool word_takes(struct text *word, const char *front);  /* cuts `front` off; false where it begins otherwise */
struct text cut(struct text *rest, char at);            /* the part before `at`, or all of it */
struct text joined(struct text a, const char *between, struct text b);

/* kind_*.c: one of them is linked in, and makes the guest look like that kind. Endings do not return. */
enum console { ON_SERIAL, ON_BOTH, ON_SCREEN_ELSE_SERIAL };
extern const struct kind {
    const char *name;                                   /* its marks, by which a supervisor recognises it */
    enum console console;
    bool hears_button;
    unsigned dhcp_tries;                                /* 0: for ever */
} kind;
void kind_configure(const uint32_t *multiboot);
void kind_exit(uint32_t code) __attribute__((noreturn));
void kind_abort(void) __attribute__((noreturn));
void kind_trapped(uint32_t vector, uint32_t at, uint32_t error) __attribute__((noreturn));
void kind_failed(const char *why) __attribute__((noreturn));

/* button.c */
void button_start(void);

/* cpu.c */
void cpu_start(void);
void cpu_listen_irq(uint8_t line, void (*arrived)(void));     /* it acknowledges at its device */
bool cpu_tick_taken(void);
void cpu_sleep(bool with_tick);
enum { TICK_MS = 20 };

/* pci.c: a device is its bus, slot and function as the configuration address has them; 0xffffffff is none */
#define PCI_NONE 0xffffffffu
enum { VIRTIO = 0x1af4, VIRTIO_NET = 0x1000, VIRTIO_BLK = 0x1001 };         /* legacy and transitional devices */
uint32_t pci_read(uint32_t device, uint8_t reg);
void pci_write(uint32_t device, uint8_t reg, uint32_t value);
uint32_t pci_find(uint16_t vendor, uint16_t id, unsigned number);     /* the first has number 0 */

/* main.c */
void *memory_take(size_t bytes, size_t align);
extern uint32_t memory_bytes, firmware_ms, boot_ms;

/* endings.c */
struct ending { void (*run)(uint32_t); uint32_t code; };
void triple_fault(void) __attribute__((noreturn));
void fatal_trap(uint32_t vector, const uint32_t *stack) __attribute__((noreturn));
void end_crash(uint32_t), end_panic(uint32_t), end_hang(uint32_t), end_exit(uint32_t);
void end_abort(uint32_t), end_trap(uint32_t), end_poweroff(uint32_t);
uint16_t acpi_pm_base(void);
void stop_cpu(void) __attribute__((noreturn));
void power_off(void) __attribute__((noreturn));

#endif
