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
bool text_number(struct text t, uint32_t max, uint32_t *out);
/* %s string, %T struct text *, %u and %x unsigned, %X eight hex digits, %c, %I IPv4 address, %M MAC. Never overruns. */
unsigned format(char *out, unsigned size, const char *pattern, ...);
unsigned vformat(char *out, unsigned size, const char *pattern, va_list args);

/* console.c: COM1 */
void console_start(void);
extern uint32_t console_patience;
void console_listen(void);                             /* echoes what is typed */
void console_byte(uint8_t byte);
void say(const char *pattern, ...);

/* vga.c */
void vga_greeting(const char *below);

/* json.c */
struct json { const char *at, *end; bool bad; };
void json_skip(struct json *j);
bool json_string(struct json *j, struct text *out);
bool json_open_object(struct json *j);
bool json_next_key(struct json *j, bool first, struct text *key);
bool json_at_end(struct json *j);

/* config.c: what every kind is told, in whatever words */
enum { CONFIG_MAX_BYTES = 4095, ENV_MAX = 64, DNS_MAX = 2 };    /* the first is rumprun's limit for its text */
struct config {
    const char *source;                             /* "module", "command line" or "none" */
    struct text cmdline;
    struct text env[ENV_MAX];
    unsigned env_count;
    bool wants_network, dhcp, has_gw;
    uint32_t addr, gw, prefix;                      /* addresses in host order */
    struct text dns[DNS_MAX], hostname;             /* no text where nothing was said */
};
extern struct config config;
void config_read(const uint32_t *multiboot);
struct text config_command_line(const uint32_t *multiboot);     /* a copy, without the kernel's path */
struct text config_module(const uint32_t *multiboot);           /* a copy of module 0, or no text */
bool config_ip(struct text t, uint32_t *out);
bool config_mask(struct text t, uint32_t *prefix);
void config_env(struct text variable);
void config_static(struct text addr, struct text prefix, struct text mask, struct text gw);

/* words.c: blanks part words; quotes, which are taken away, hold them together. The text is changed in place. */
bool word_next(struct text *rest, struct text *word);
bool word_takes(struct text *word, const char *front);  /* cuts `front` off; false where it begins otherwise */
struct text cut(struct text *rest, char at);            /* the part before `at`, or all of it */

/* kind_*.c: one of them is linked in, and makes the guest look like that kind. Endings do not return. */
extern const char kind_name[];                          /* its marks, by which a supervisor recognises it */
extern const bool kind_hears_button;
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
uint32_t pci_read(uint32_t device, uint8_t reg);
void pci_write(uint32_t device, uint8_t reg, uint32_t value);
uint32_t pci_find(uint16_t vendor, uint16_t id);

/* main.c */
void *memory_take(size_t bytes, size_t align);
extern uint32_t memory_bytes, firmware_ms, boot_ms;

/* endings.c */
struct ending { void (*run)(uint32_t); uint32_t code; };
void triple_fault(void) __attribute__((noreturn));
void fatal_trap(uint32_t vector, const uint32_t *stack) __attribute__((noreturn));
void bootstrap_failed(const char *why) __attribute__((noreturn));
void end_crash(uint32_t), end_panic(uint32_t), end_hang(uint32_t), end_exit(uint32_t);
void end_abort(uint32_t), end_trap(uint32_t), end_poweroff(uint32_t);
uint16_t acpi_pm_base(void);
void stop_cpu(void) __attribute__((noreturn));
void power_off(void) __attribute__((noreturn));

#endif
