/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns counting on the CPU that a thread is on, without a locked instruction: by a restartable
 * sequence, which the kernel makes the thread leave if it is moved, preempted, or gets a signal
 * before its last instruction.  glibc registers each thread; where it has not (an old kernel, a
 * checker), or on other processors, nothing is counted, and the caller does it in another way.
 *
 * ThreadSanitizer sees no such counting, so there is none for it.
 */
#ifndef WQI_RSEQ_H
#define WQI_RSEQ_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/rseq.h>

#include "atomic.h"

#if defined(__SANITIZE_THREAD__)
#define WQI_NO_RSEQ 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WQI_NO_RSEQ 1
#endif
#endif

#if defined(__x86_64__) && defined(RSEQ_SIG) && !defined(WQI_NO_RSEQ)

static inline bool wqi_rseq_is_registered(void)
{
	return __rseq_size != 0;
}

/*
 * Add 1 to *@counter, which only threads on @cpu write, and so.  False: the caller is not there, or
 * was disturbed; nothing was added.  @counter is not ordered against what is around it but by the
 * compiler: the reader has all threads pass a barrier.
 */
static inline bool wqi_rseq_count(uint64_t *counter, unsigned cpu)
{
	struct rseq *area = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
	bool done = false;

	__asm__ goto(".pushsection __rseq_cs, \"aw\"\n\t"
		     ".balign 32\n"
		     "3:\n\t"
		     ".long 0, 0\n\t"
		     ".quad 1f, 2f - 1f, 4f\n\t"
		     ".popsection\n\t"
		     "leaq 3b(%%rip), %%rax\n\t"
		     "movq %%rax, %[sequence]\n"
		     "1:\n\t"
		     "cmpl %[cpu], %[now]\n\t"
		     "jnz 4f\n\t"
		     "addq $1, %[counter]\n"
		     "2:\n\t"
		     ".pushsection .text.wqi_rseq, \"ax\"\n\t"
		     ".byte 0x0f, 0xb9, 0x3d\n\t" /* so that what follows is no code */
		     ".long %c[signature]\n"
		     "4:\n\t"
		     "jmp %l[out]\n\t"
		     ".popsection"
		     :
		     : [sequence] "m"(area->rseq_cs), [now] "m"(area->cpu_id), [cpu] "r"(cpu),
		       [counter] "m"(*counter), [signature] "i"(RSEQ_SIG)
		     : "rax", "memory", "cc"
		     : out);
	done = true;
out:
	/* The kernel is not to look there once the library is unloaded. */
	*(volatile uint64_t *)&area->rseq_cs = 0;
	return done;
}

#else

static inline bool wqi_rseq_is_registered(void)
{
	return false;
}

static inline bool wqi_rseq_count(uint64_t *counter, unsigned cpu)
{
	(void)counter;
	(void)cpu;
	return false;
}

#endif

#endif /* WQI_RSEQ_H */
