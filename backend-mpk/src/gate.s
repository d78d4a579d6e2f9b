// The only way into a domain and out of it, and what the kernel starts on a signal. `gate.rs` has the contract, `control.rs` the offsets.
//
// Rules that hold in every line:
// * Each WRPKRU is followed by a check that the value is the one meant, so that a jump to it from inside gains nothing.
// * Between a WRPKRU that opens the host and the switch to the host's stack nothing the domain could have written is believed.
// * gs is the control block while a thread is inside, and zero elsewhere.

    .macro clear_vectors
    cmp     byte ptr [rip + {VECTORS}], 1
    jb      81f
    vzeroall
    je      82f
    .irp    n, 16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    vpxorq  zmm\n, zmm\n, zmm\n
    .endr
    .irp    n, 0,1,2,3,4,5,6,7
    kxorw   k\n, k\n, k\n
    .endr
    jmp     82f
81:
    .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    pxor    xmm\n, xmm\n
    .endr
82:
    .endm

// After a write of gs: code inside, which key 0 is closed to for stores, must not have jumped to it. Clobbers eax, ecx, edx.
    .macro only_the_host
    xor     ecx, ecx
    rdpkru
    test    al, 2
    jz      89f
    ud2
89:
    .endm

// The third and fourth argument: siginfo and ucontext, where the kernel puts them in a frame (struct rt_sigframe), not where registers say.
    .macro frame_parts
    lea     rdx, [rbx + 312]
    lea     rcx, [rbx + 8]
    .endm

    .text
    .balign 64

// u32 gate(control): enters the domain that the control block describes; 0 when its entry returned, 1 after a rewind.
    .globl  ringfence_mpk_gate
    .hidden ringfence_mpk_gate
    .type   ringfence_mpk_gate, @function
ringfence_mpk_gate:
    .cfi_startproc
    push    rbp
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbp, 0
    push    rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbx, 0
    push    r12
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r12, 0
    push    r13
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r13, 0
    push    r14
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r14, 0
    push    r15
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r15, 0
    sub     rsp, 8
    .cfi_adjust_cfa_offset 8
    stmxcsr [rsp]
    fnstcw  [rsp + 4]
    mov     [rdi + {HOST_RSP}], rsp
    xor     ecx, ecx
    rdpkru
    and     eax, [rip + {OPEN}]
    mov     [rdi + {HOST_PKRU}], eax
    // In this order: whoever is inside has its own block in gs.
    wrgsbase rdi
    only_the_host
    mov     qword ptr [rdi + {INSIDE}], 1
    mov     rsp, [rdi + {DOMAIN_RSP}]
    mov     rdi, [rdi + {ARGUMENT}]
    xor     ebx, ebx
    xor     ebp, ebp
    xor     esi, esi
    xor     r8d, r8d
    xor     r9d, r9d
    xor     r10d, r10d
    xor     r11d, r11d
    xor     r12d, r12d
    xor     r13d, r13d
    xor     r14d, r14d
    xor     r15d, r15d
    clear_vectors

// Takes a thread with host rights into its domain, to the registers and the address in the control block. Changes no flag. Can be begun
// again at any point of it.
    .globl  ringfence_mpk_resume
    .hidden ringfence_mpk_resume
ringfence_mpk_resume:
    mov     al, gs:[{RESUME_SELECTOR}]
    mov     gs:[{SELECTOR}], al
    mov     rax, gs:[{DOMAIN_FS}]
    wrfsbase rax
    mov     ecx, 0
    mov     edx, 0
    mov     eax, gs:[{DOMAIN_PKRU}]
    wrpkru
    // Against a table, not against the block: no entry of it opens the host, wherever gs points.
    movzx   ecx, byte ptr gs:[{KEY}]
    lea     rdx, [rip + {RIGHTS}]
    mov     ecx, [rdx + rcx * 4]
    not     rcx
    lea     rcx, [rax + rcx + 1]
    jrcxz   83f
    ud2
83:
    mov     rax, gs:[{RESUME_RAX}]
    mov     rcx, gs:[{RESUME_RCX}]
    mov     rdx, gs:[{RESUME_RDX}]
    jmp     qword ptr gs:[{RESUME_RIP}]
    .globl  ringfence_mpk_resume_end
    .hidden ringfence_mpk_resume_end
ringfence_mpk_resume_end:
    .cfi_endproc
    .size   ringfence_mpk_gate, . - ringfence_mpk_gate

// The first frame of a domain's stack.
    .globl  ringfence_mpk_call
    .hidden ringfence_mpk_call
    .type   ringfence_mpk_call, @function
ringfence_mpk_call:
    .cfi_startproc
    .cfi_undefined rip
    call    rax
    xor     r14d, r14d

// The way out. r14d is what the gate returns. The register PKRU says which key, hence which thread, is inside: code inside
// cannot change it.
    .globl  ringfence_mpk_exit
    .hidden ringfence_mpk_exit
ringfence_mpk_exit:
    xor     ecx, ecx
    rdpkru
    xor     eax, {CLOSED}
    bsf     eax, eax
    lea     r15, [rip + {OWNERS}]
    mov     r15, [r15 + rax * 4]
    mov     eax, [r15 + {HOST_PKRU}]
    wrpkru
    // Whoever jumped behind this may have chosen r15, and with an instruction of its own gs: both, and the table, must name one block.
    rdgsbase rcx
    cmp     rcx, r15
    jne     84f
    movzx   ecx, byte ptr [r15 + {KEY}]
    lea     rdx, [rip + {OWNERS}]
    cmp     r15, [rdx + rcx * 8]
    jne     84f
    cmp     eax, [r15 + {HOST_PKRU}]
    jne     84f
    mov     byte ptr [r15 + {SELECTOR}], 0
    mov     rsp, [r15 + {HOST_RSP}]
    mov     rax, [r15 + {HOST_FS}]
    wrfsbase rax
    mov     qword ptr [r15 + {INSIDE}], 0
    .globl  ringfence_mpk_exit_end
    .hidden ringfence_mpk_exit_end
ringfence_mpk_exit_end:
    xor     ecx, ecx
    wrgsbase rcx
    only_the_host
    // As fninit would leave it, at a fifth of its time: no exception pending, every register empty, the host's control word.
    fnstsw  ax
    test    al, al
    jz      92f
    fnclex
92:
    emms
    fldcw   [rsp + 4]
    ldmxcsr [rsp]
    clear_vectors
    push    0x202
    popfq
    mov     eax, r14d
    xor     edx, edx
    xor     esi, esi
    xor     edi, edi
    xor     r8d, r8d
    xor     r9d, r9d
    xor     r10d, r10d
    xor     r11d, r11d
    add     rsp, 8
    pop     r15
    pop     r14
    pop     r13
    pop     r12
    pop     rbx
    pop     rbp
    ret
84:
    ud2
    .cfi_endproc
    .size   ringfence_mpk_call, . - ringfence_mpk_call

// A system call on behalf of the domain, with the domain's rights: the resume stub comes here with the selector off.
    .globl  ringfence_mpk_syscall
    .hidden ringfence_mpk_syscall
    .type   ringfence_mpk_syscall, @function
ringfence_mpk_syscall:
    .cfi_startproc
    .cfi_undefined rip
    syscall
    mov     r11, rax
    mov     ecx, 0
    mov     edx, 0
    mov     eax, gs:[{HOST_PKRU}]
    wrpkru
    mov     ecx, gs:[{HOST_PKRU}]
    not     rcx
    lea     rcx, [rax + rcx + 1]
    jrcxz   85f
    ud2
85:
    mov     gs:[{RESUME_RAX}], r11
    mov     rax, gs:[{AFTER_RIP}]
    mov     gs:[{RESUME_RIP}], rax
    mov     rdi, gs:[{AFTER_RDI}]
    mov     byte ptr gs:[{RESUME_SELECTOR}], 1
    jmp     ringfence_mpk_resume
    .globl  ringfence_mpk_syscall_end
    .hidden ringfence_mpk_syscall_end
ringfence_mpk_syscall_end:
    .cfi_endproc
    .size   ringfence_mpk_syscall, . - ringfence_mpk_syscall

// What the kernel starts on a signal: rdi signal, rsi siginfo, rdx ucontext, rsp the frame. On kernel 6.1 the frame lies under a
// domain's key, which the kernel has closed; nothing is pushed or read before the key is open.
    .globl  ringfence_mpk_signal
    .hidden ringfence_mpk_signal
    .type   ringfence_mpk_signal, @function
ringfence_mpk_signal:
    .cfi_startproc
    .cfi_undefined rip
    mov     rax, rsp
    sub     rax, [rip + {ARENA}]
    cmp     rax, {ARENA_BYTES}
    jae     {on_other_stack}
    mov     r12, rdi
    xor     ecx, ecx
    xor     edx, edx
    mov     eax, [rip + {OPEN}]
    and     eax, {INITIAL}
    wrpkru
    mov     ecx, [rip + {OPEN}]
    and     ecx, {INITIAL}
    cmp     eax, ecx
    jne     87f
    mov     rax, rsp
    sub     rax, [rip + {ARENA}]
    cmp     rax, {ARENA_BYTES}
    jae     87f
    mov     rbx, rsp
    mov     r15, rsp
    and     r15, -{BLOCK_BYTES}
    // A thread that is inside has its own block in gs, any other thread zero, or its own block on the last steps of the way out.
    rdgsbase rax
    cmp     rax, r15
    je      90f
    or      rax, [r15 + {INSIDE}]
    jz      90f
    // Code inside has changed gs, or jumped here with another thread's stack. A thread of whom this is not the block has its own selector on,
    // and does not come back from the system call.
    mov     byte ptr [r15 + {SELECTOR}], 0
    mov     eax, {GETTID}
    syscall
    cmp     eax, [r15 + {THREAD}]
    jne     87f
90:
    mov     rsp, [r15 + {HANDLER_RSP}]
    // The kernel clears DF and TF for a handler, but not AC.
    push    2
    popfq
    mov     rdi, r15
    mov     rsi, r12
    mov     r8, rbx
    cmp     qword ptr [r15 + {INSIDE}], 0
    je      86f
    mov     byte ptr [r15 + {SELECTOR}], 0
    mov     rax, [r15 + {HOST_FS}]
    wrfsbase rax
    rdgsbase r9
    xor     eax, eax
    wrgsbase rax
    only_the_host
    frame_parts
    call    {on_signal_inside}
    wrgsbase rax
    only_the_host
    jmp     91f
86:
    frame_parts
    call    {on_signal_outside}
91:
    // The mark of a frame that has been used. Until the kernel writes another one a jump here is told from a signal.
    mov     qword ptr [rbx], 0
    lea     rsp, [rbx + 8]
    // rt_sigreturn
    mov     eax, 15
    syscall
87:
    ud2
    .cfi_endproc
    .size   ringfence_mpk_signal, . - ringfence_mpk_signal

// void abandon(control): leaves a domain without a signal frame, through the domain's rights and the way out.
    .globl  ringfence_mpk_abandon
    .hidden ringfence_mpk_abandon
    .type   ringfence_mpk_abandon, @function
ringfence_mpk_abandon:
    .cfi_startproc
    wrgsbase rdi
    only_the_host
    mov     r14d, 1
    jmp     ringfence_mpk_resume
    .cfi_endproc
    .size   ringfence_mpk_abandon, . - ringfence_mpk_abandon

// void open(void): gives a host thread the rights to all domains' memory. A jump here from inside ends at the check: gs is zero outside.
    .globl  ringfence_mpk_open
    .hidden ringfence_mpk_open
    .type   ringfence_mpk_open, @function
ringfence_mpk_open:
    .cfi_startproc
    xor     ecx, ecx
    rdpkru
    and     eax, [rip + {OPEN}]
    wrpkru
    rdgsbase rax
    test    rax, rax
    jnz     88f
    // A thread that is inside does not come back from this.
    mov     eax, {GETPID}
    syscall
    xor     eax, eax
    ret
88:
    ud2
    .cfi_endproc
    .size   ringfence_mpk_open, . - ringfence_mpk_open

// void trap(reason, first, second): ends the crossing of the domain it is called in; an illegal instruction anywhere else.
    .globl  ringfence_mpk_trap
    .hidden ringfence_mpk_trap
    .type   ringfence_mpk_trap, @function
ringfence_mpk_trap:
    .cfi_startproc
    ud2
    .cfi_endproc
    .size   ringfence_mpk_trap, . - ringfence_mpk_trap

// Where a handler returns to that was not started on one of our stacks.
    .globl  ringfence_mpk_restore
    .hidden ringfence_mpk_restore
    .type   ringfence_mpk_restore, @function
ringfence_mpk_restore:
    .cfi_startproc
    .cfi_undefined rip
    mov     eax, 15
    syscall
    .cfi_endproc
    .size   ringfence_mpk_restore, . - ringfence_mpk_restore
