/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What 12_linux_driver.c needs of the kernel besides workqueues and RCU, under its names, and
 * what driver and machine know of each other.
 */
#ifndef EXAMPLE_LINUX_HOST_H
#define EXAMPLE_LINUX_HOST_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef uint32_t u32;
typedef enum { IRQ_NONE, IRQ_HANDLED } irqreturn_t;

#define __rcu
#define GFP_KERNEL 0

#define kzalloc(bytes, gfp)		calloc(1, (bytes))
#define kfree(p)			free(p)
#define pr_info(...)			printf(__VA_ARGS__)
#define readl(reg)			__atomic_load_n((reg), __ATOMIC_SEQ_CST)
#define writel(value, reg)		__atomic_store_n((reg), (value), __ATOMIC_SEQ_CST)
#define rcu_replace_pointer(p, v, held) rcu_xchg_pointer(&(p), (v))

struct thermo_regs {
	u32 unit, temperature, error, command;
};

struct thermo;

struct thermo *thermo_probe(struct thermo_regs *regs);
void thermo_remove(struct thermo *thermo);
irqreturn_t thermo_interrupt(int irq, void *dev);
int thermo_read(struct thermo *thermo);
int thermo_send(struct thermo *thermo, u32 code);
void thermo_sync(struct thermo *thermo);

/* The driver tells the machine what it has done, so that nobody needs to sleep. */
enum host_event { HOST_POLLED, HOST_RESET, HOST_FREED, HOST_NR_EVENTS };

void host_note(enum host_event event);

#endif /* EXAMPLE_LINUX_HOST_H */
