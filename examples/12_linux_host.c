/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The machine around 12_linux_driver.c: registers in memory, a signal for an interrupt, and
 * a program that uses the device.
 */
#include "12_linux_host.h"

#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>

static struct thermo_regs regs = {.unit = 0, .temperature = 20000};
static struct thermo *thermo; /* set before the interrupt is on */
static sem_t events[HOST_NR_EVENTS];
static unsigned long counts[HOST_NR_EVENTS]; /* atomic */

void host_note(enum host_event event)
{
	__atomic_fetch_add(&counts[event], 1, __ATOMIC_SEQ_CST);
	sem_post(&events[event]);
}

static void host_wait(enum host_event event)
{
	while (sem_wait(&events[event]))
		;
}

static void interrupt(int signo)
{
	if (thermo_interrupt(signo, thermo) != IRQ_HANDLED)
		abort();
}

static bool interrupts_set(void (*handler)(int signo))
{
	struct sigaction action = {.sa_handler = handler};

	return !sigemptyset(&action.sa_mask) && !sigaction(SIGUSR1, &action, NULL);
}

/* The poller has read it since. */
static int temperature_set(int millidegrees)
{
	writel((u32)millidegrees, &regs.temperature);
	while (thermo_read(thermo) != millidegrees)
		host_wait(HOST_POLLED);
	return thermo_read(thermo);
}

static bool use(void)
{
	u32 code;

	printf("temperature: %d\n", temperature_set(21500));
	for (code = 1; code <= 3; code++)
		if (thermo_send(thermo, code))
			return false;
	thermo_sync(thermo);
	printf("last command in the register: %u\n", readl(&regs.command));
	for (code = 1; code <= 2; code++) {
		writel(code, &regs.error);
		raise(SIGUSR1);
		host_wait(HOST_RESET);
	}
	printf("temperature: %d\n", temperature_set(23000));
	return true;
}

int main(void)
{
	unsigned i;
	bool ok;

	for (i = 0; i < HOST_NR_EVENTS; i++)
		sem_init(&events[i], 0, 0);
	thermo = thermo_probe(&regs);
	if (!thermo || !interrupts_set(interrupt)) {
		perror("12_linux_driver");
		return 1;
	}
	ok = use();
	interrupts_set(SIG_IGN);
	thermo_remove(thermo);
	printf("removed; readings that were not freed: %lu\n",
	       counts[HOST_POLLED] - counts[HOST_FREED]);
	return ok ? 0 : 1;
}
