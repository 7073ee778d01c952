// int org.nnlite.benchmark.Affinity.set(long mask): binds the calling thread to the cores of a mask.
// The system call alone (sched_setaffinity(2)); returns 0, or a negative error number. Needs no library.
    .text
    .globl  Java_org_nnlite_benchmark_Affinity_set
    .type   Java_org_nnlite_benchmark_Affinity_set, %function
Java_org_nnlite_benchmark_Affinity_set:     // x0: JNIEnv, x1: class, x2: mask
    hint    #34                             // bti c: a target of indirect calls
    sub     sp, sp, #16
    str     x2, [sp]
    mov     x0, #0                          // this thread
    mov     x1, #8                          // bytes of the mask
    mov     x2, sp
    mov     x8, #122                        // __NR_sched_setaffinity
    svc     #0
    add     sp, sp, #16
    ret
    .size   Java_org_nnlite_benchmark_Affinity_set, .-Java_org_nnlite_benchmark_Affinity_set
    .section .note.GNU-stack, "", %progbits
