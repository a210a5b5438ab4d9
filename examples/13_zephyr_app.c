/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An application as it is written for Zephyr: a sensor that is sampled by an item that schedules
 * itself, a button whose interrupt (here a signal) submits, and is debounced by rescheduling, a
 * work queue of its own, work that a signal object triggers, and an orderly end.
 */
#include <wq/compat/zephyr.h>

#include <semaphore.h>
#include <signal.h>
#include <stdio.h>

#define NR_SAMPLES     3
#define SAMPLE_PERIOD  K_MSEC(10)
#define DEBOUNCE       K_MSEC(30)
#define APP_STACK_SIZE 1024
#define APP_PRIORITY   K_PRIO_PREEMPT(5)

static K_THREAD_STACK_DEFINE(app_stack, APP_STACK_SIZE);
static struct k_work_q app_queue;

static sem_t reported, pressed; /* what main() waits for */

/* --- the sensor --- */

struct sensor {
	struct k_work_delayable sample;
	struct k_poll_signal ready;
	int value;
	unsigned int nr_samples;
};

static void sensor_sample(struct k_work *work)
{
	struct k_work_delayable *dwork = k_work_delayable_from_work(work);
	struct sensor *sensor = CONTAINER_OF(dwork, struct sensor, sample);

	sensor->value += 7;
	printf("sample %u: %d\n", ++sensor->nr_samples, sensor->value);
	if (sensor->nr_samples < NR_SAMPLES)
		k_work_schedule_for_queue(&app_queue, dwork, SAMPLE_PERIOD);
	else
		k_poll_signal_raise(&sensor->ready, sensor->value);
}

static struct sensor sensor = {
	.sample = Z_WORK_DELAYABLE_INITIALIZER(sensor_sample),
	.ready = K_POLL_SIGNAL_INITIALIZER(sensor.ready),
};

/* --- what is to happen when enough was sampled --- */

static struct k_poll_event report_event =
	K_POLL_EVENT_INITIALIZER(K_POLL_TYPE_SIGNAL, K_POLL_MODE_NOTIFY_ONLY, &sensor.ready);

static void report_ready(struct k_work *work)
{
	struct k_work_poll *report = CONTAINER_OF(work, struct k_work_poll, work);
	unsigned int signaled;
	int value;

	k_poll_signal_check(&sensor.ready, &signaled, &value);
	printf("report: result %d, value %d\n", report->poll_result, value);
	sem_post(&reported);
}

/* --- the button --- */

static unsigned int nr_interrupts; /* the handler's */

static void button_settled(struct k_work *work)
{
	(void)work;
	printf("button: pressed once\n");
	sem_post(&pressed);
}

static K_WORK_DELAYABLE_DEFINE(button_debounce, button_settled);

static void button_interrupt(struct k_work *work)
{
	(void)work;
	printf("button: the first interrupt is noted\n");
}

static K_WORK_DEFINE(button_work, button_interrupt);

/* On Zephyr the callback of a pin, in an interrupt. */
static void button_isr(int signo)
{
	(void)signo;
	if (!nr_interrupts++)
		k_work_submit(&button_work);
	/* Contacts bounce: what counts is the last. */
	k_work_reschedule(&button_debounce, DEBOUNCE);
}

static void button_press(void)
{
	int i;

	for (i = 0; i < 5; i++)
		raise(SIGUSR1);
}

/* --- */

static void app_start(void)
{
	static const struct k_work_queue_config config = {.name = "app"};

	/* So that the interrupt need not start the system's queue. */
	k_work_queue_thread_get(&k_sys_work_q);
	k_work_queue_start(&app_queue, app_stack, K_THREAD_STACK_SIZEOF(app_stack), APP_PRIORITY,
			   &config);
	signal(SIGUSR1, button_isr);
}

static void app_wait(sem_t *sem)
{
	while (sem_wait(sem))
		;
}

static void app_end(void)
{
	struct k_work_sync sync;

	k_work_schedule_for_queue(&app_queue, &sensor.sample, K_HOURS(1));
	printf("sampling was scheduled: %d\n", k_work_cancel_delayable_sync(&sensor.sample, &sync));
	printf("drained: %d\n", k_work_queue_drain(&app_queue, true));
	printf("plugged, it refuses: %d\n",
	       k_work_schedule_for_queue(&app_queue, &sensor.sample, K_NO_WAIT) == -EBUSY);
	printf("stopped: %d\n", k_work_queue_stop(&app_queue, K_FOREVER));
}

int main(void)
{
	static struct k_work_poll report;
	struct k_work_sync sync;

	sem_init(&reported, 0, 0);
	sem_init(&pressed, 0, 0);
	app_start();
	k_work_poll_init(&report, report_ready);
	k_work_poll_submit_to_queue(&app_queue, &report, &report_event, 1, K_FOREVER);
	k_work_schedule_for_queue(&app_queue, &sensor.sample, SAMPLE_PERIOD);
	app_wait(&reported);

	button_press();
	k_work_flush(&button_work, &sync);
	app_wait(&pressed);
	printf("%u interrupts\n", nr_interrupts);
	app_end();
	return 0;
}
