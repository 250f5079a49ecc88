/* The first sector of a disk with the guest on it: what a boot loader does, in 510 bytes. The guest, a flat image for
   1 MiB, follows in the next sectors; in the last of them stands its command line. (man: BIOS int 13h AH=42h, int 15h
   AX=E801h; Multiboot Specification 0.6.96, 3.3.) */
#define SECTORS 127                     /* as many as one read may take, and one segment holds */
#define LOADED 0x10000
#define COMMAND_LINE (LOADED + (SECTORS - 1) * 512)
#define INFO 0x8000
#define MIB 0x100000

    .code16
    .text
    .globl _start
_start:
    cli
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $0x7c00, %sp
    mov $packet, %si
    mov $0x42, %ah                      /* %dl is the disk that we come from */
    int $0x13
    jc failed
    mov $0xe801, %ax
    int $0x15
    jc failed
    movzx %ax, %eax                     /* KiB from 1 MiB to 16 MiB; %bx, 64 KiB blocks above */
    movzx %bx, %ebx
    shl $6, %ebx
    add %ebx, %eax
    mov %eax, INFO + 8
    movl $5, INFO                       /* memory and command line are given */
    movl $640, INFO + 4
    movl $COMMAND_LINE, INFO + 16
    inb $0x92, %al
    or $2, %al                          /* A20 */
    outb %al, $0x92
    lgdt gdt_pointer
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmp $0x08, $protected
failed:
    hlt
    jmp failed

    .code32
protected:
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    cld
    xor %eax, %eax
    mov $MIB, %edi
    mov $(MIB / 4), %ecx
    rep stosl                           /* the guest's .bss is zero */
    mov $LOADED, %esi
    mov $MIB, %edi
    mov $((SECTORS - 1) * 512 / 4), %ecx
    rep movsl
    mov $0x2badb002, %eax
    mov $INFO, %ebx
    mov $ENTRY, %ecx
    jmp *%ecx

    .align 4
packet:
    .byte 16, 0
    .word SECTORS, 0, LOADED >> 4
    .quad 1
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff
    .quad 0x00cf93000000ffff
gdt_pointer:
    .word gdt_pointer - gdt - 1
    .long gdt

    .org 510
    .word 0xaa55
