# int org.nnlite.benchmark.Affinity.set(long mask): binds the calling thread to the cores of a mask.
# The system call alone (sched_setaffinity(2)); returns 0, or a negative error number. Needs no library.
    .text
    .globl  Java_org_nnlite_benchmark_Affinity_set
    .type   Java_org_nnlite_benchmark_Affinity_set, @function
Java_org_nnlite_benchmark_Affinity_set:     # rdi: JNIEnv, rsi: class, rdx: mask
    push    %rdx
    xor     %edi, %edi                      # this thread
    mov     $8, %esi                        # bytes of the mask
    mov     %rsp, %rdx
    mov     $203, %eax                      # __NR_sched_setaffinity
    syscall
    pop     %rdx
    ret
    .size   Java_org_nnlite_benchmark_Affinity_set, .-Java_org_nnlite_benchmark_Affinity_set
    .section .note.GNU-stack, "", @progbits
