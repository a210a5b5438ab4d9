/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A driver as it would be in the Linux kernel, for a thermometer that does not exist.  All
 * that differs are the lines that include; 12_linux_host.c is the machine around it.
 *
 * - A poller that arms itself reads the temperature.  Each reading replaces the last, which
 *   an rcu_work frees when nobody can be looking at it any more.
 * - The interrupt only queues the item that handles the error.
 * - Commands go through an ordered queue, one at a time, and free themselves.
 * - Removing the device leaves nothing behind.
 */
#include <urcu-bp.h>	     /* <linux/rcupdate.h> */
#include <wq/compat/linux.h> /* <linux/workqueue.h> */
#include "12_linux_host.h"   /* <linux/slab.h>, <linux/interrupt.h>, <linux/io.h> */

#define POLL_DELAY msecs_to_jiffies(2)

struct reading {
	int millidegrees;
	struct rcu_work rwork;
};

struct thermo {
	struct thermo_regs *regs;
	struct workqueue_struct *wq;	   /* what must not wait for others' items */
	struct workqueue_struct *commands; /* ordered */
	struct delayed_work poll;
	struct work_struct error_work;
	struct reading __rcu *reading;
};

struct thermo_command {
	struct work_struct work;
	struct thermo *thermo;
	u32 code;
};

/* --- the poller --- */

static void reading_free_workfn(struct work_struct *work)
{
	struct rcu_work *rwork = to_rcu_work(work);

	kfree(container_of(rwork, struct reading, rwork));
	host_note(HOST_FREED);
}

static void reading_replace(struct thermo *thermo, struct reading *reading)
{
	struct reading *old = rcu_replace_pointer(thermo->reading, reading, true);

	if (!old)
		return;
	INIT_RCU_WORK(&old->rwork, reading_free_workfn);
	queue_rcu_work(thermo->wq, &old->rwork);
}

static void thermo_poll_workfn(struct work_struct *work)
{
	struct thermo *thermo = container_of(to_delayed_work(work), struct thermo, poll);
	struct reading *reading = kzalloc(sizeof(*reading), GFP_KERNEL);

	if (reading) {
		reading->millidegrees = (int)readl(&thermo->regs->temperature);
		reading_replace(thermo, reading);
		host_note(HOST_POLLED);
	}
	queue_delayed_work(thermo->wq, &thermo->poll, POLL_DELAY);
}

int thermo_read(struct thermo *thermo)
{
	struct reading *reading;
	int millidegrees = 0;

	rcu_read_lock();
	reading = rcu_dereference(thermo->reading);
	if (reading)
		millidegrees = reading->millidegrees;
	rcu_read_unlock();
	return millidegrees;
}

/* --- errors --- */

static void thermo_error_workfn(struct work_struct *work)
{
	struct thermo *thermo = from_work(thermo, work, error_work);
	u32 error = readl(&thermo->regs->error);

	set_worker_desc("thermo error %u", error);
	pr_info("thermo: error %u, device reset\n", error);
	writel(0, &thermo->regs->error);
	/* What was read before the reset means nothing: read anew, at once. */
	mod_delayed_work(thermo->wq, &thermo->poll, 0);
	host_note(HOST_RESET);
}

irqreturn_t thermo_interrupt(int irq, void *dev)
{
	struct thermo *thermo = dev;

	if (!readl(&thermo->regs->error))
		return IRQ_NONE;
	queue_work(thermo->wq, &thermo->error_work);
	return IRQ_HANDLED;
}

/* --- commands --- */

static void thermo_command_workfn(struct work_struct *work)
{
	struct thermo_command *command = from_work(command, work, work);

	writel(command->code, &command->thermo->regs->command);
	pr_info("thermo: command %u\n", command->code);
	kfree(command);
}

int thermo_send(struct thermo *thermo, u32 code)
{
	struct thermo_command *command = kzalloc(sizeof(*command), GFP_KERNEL);

	if (!command)
		return -ENOMEM;
	command->thermo = thermo;
	command->code = code;
	INIT_WORK(&command->work, thermo_command_workfn);
	queue_work(thermo->commands, &command->work);
	return 0;
}

/* Until all that was sent before has been done. */
void thermo_sync(struct thermo *thermo)
{
	flush_workqueue(thermo->commands);
}

/* --- coming and going --- */

struct thermo *thermo_probe(struct thermo_regs *regs)
{
	struct thermo *thermo = kzalloc(sizeof(*thermo), GFP_KERNEL);

	if (!thermo)
		return NULL;
	thermo->regs = regs;
	thermo->wq = alloc_workqueue("thermo%u", WQ_UNBOUND | WQ_MEM_RECLAIM, 0, regs->unit);
	thermo->commands = alloc_ordered_workqueue("thermo%u-cmd", WQ_MEM_RECLAIM, regs->unit);
	if (!thermo->wq || !thermo->commands)
		goto fail;
	INIT_DELAYED_WORK(&thermo->poll, thermo_poll_workfn);
	INIT_WORK(&thermo->error_work, thermo_error_workfn);
	queue_delayed_work(thermo->wq, &thermo->poll, 0);
	return thermo;
fail:
	if (thermo->commands)
		destroy_workqueue(thermo->commands);
	if (thermo->wq)
		destroy_workqueue(thermo->wq);
	kfree(thermo);
	return NULL;
}

/* The interrupt is off; whoever reads has been told. */
void thermo_remove(struct thermo *thermo)
{
	/* It queues the poller, so it goes first. */
	cancel_work_sync(&thermo->error_work);
	/* The poller queues itself: plain cancel_delayed_work() could come too early. */
	cancel_delayed_work_sync(&thermo->poll);
	destroy_workqueue(thermo->commands);
	reading_replace(thermo, NULL);
	rcu_barrier();
	destroy_workqueue(thermo->wq);
	kfree(thermo);
}
