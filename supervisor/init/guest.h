/* The first process of a Linux guest that `vtapd build --rootfs` made. */
#ifndef GUEST_H
#define GUEST_H

#define GUEST_CONFIG "/vtapd-config"

enum { CONFIG_BYTES = 65536, MOST_WORDS = 1024 };

/* Do all that is asked for, then power the machine off. The words are init's, the variables those of the kernel. */
_Noreturn void run_guest(char **words, char **variables);

/* Print what failed, and power the machine off with Docker's own exit code for that. */
_Noreturn void give_up(const char *what, const char *which, long error);
_Noreturn void power_off(int exit_code);

/* guest_root.c */
void load_module(const char *file);
void enter_root(void);

/* guest_network.c: set up what the kernel's command line says. */
void set_up_network(void);

/* guest_program.c */
struct program {
    const char *words[MOST_WORDS + 1], *variables[MOST_WORDS + 1], *folder;
    unsigned groups[MOST_WORDS];
    long word_count, variable_count, group_count, user, group, stop_signal;
};
void read_program(struct program *program, char *config, long length, char **words, char **variables);
int is_init(const struct program *program);
_Noreturn void become(const struct program *program);

#endif
