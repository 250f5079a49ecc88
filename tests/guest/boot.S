/* The few things C cannot say: the multiboot header, the first instructions, interrupt entry and exit, a triple fault. */

    .section .multiboot, "a"
    .align 4
    .long 0x1badb002            /* multiboot 1 */
    .long 3                     /* modules page-aligned, memory sizes wanted */
    .long -(0x1badb002 + 3)

    .text
    .globl _start
_start:
    cli
    cld
    mov $stack_top, %esp
    lgdt gdt_pointer
    ljmp $0x08, $1f
1:  mov $0x10, %ecx
    mov %ecx, %ds
    mov %ecx, %es
    mov %ecx, %ss
    push %ebx                   /* multiboot information */
    push %eax                   /* multiboot magic */
    call guest_main
2:  cli
    hlt
    jmp 2b

/* Exceptions never return, so nothing is saved: fatal_trap(vector, stack at entry). */
    .altmacro
    .macro trap_entry n
trap_\n:
    mov %esp, %eax
    push %eax
    push $\n
    call fatal_trap
    .endm

    .macro irq_entry n
irq_\n:
    pushal
    push $\n
    call irq_arrived
    add $4, %esp
    popal
    iret
    .endm

    .macro table_entry prefix n
    .long \prefix\()_\n
    .endm

    .set i, 0
    .rept 32
    trap_entry %i
    .set i, i + 1
    .endr
    .set i, 0
    .rept 16
    irq_entry %i
    .set i, i + 1
    .endr

    .globl triple_fault
triple_fault:                   /* no IDT: the breakpoint faults, the fault faults, the CPU resets */
    cli
    lidt empty_idt
    int3
    jmp triple_fault

    .section .rodata
    .globl interrupt_entries
interrupt_entries:              /* 32 exceptions, then 16 interrupt lines */
    .set i, 0
    .rept 32
    table_entry trap %i
    .set i, i + 1
    .endr
    .set i, 0
    .rept 16
    table_entry irq %i
    .set i, i + 1
    .endr

    .align 8
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff    /* flat code */
    .quad 0x00cf93000000ffff    /* flat data */
gdt_pointer:
    .word gdt_pointer - gdt - 1
    .long gdt
empty_idt:
    .word 0
    .long 0

    .bss
    .align 16
    .skip 16384
stack_top:
    .section .note.GNU-stack, "", @progbits
