/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns reading the settings: the program's, from wq_configure(), and the
 * environment's, which go before them.
 */
#include "config.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cpu.h"
#include "fork.h"
#include "quota.h"
#include "runtime.h"
#include "topology.h"

#include <wq/runtime.h>

#define CONFIG_LIST_BYTES 4096
#define CONFIG_NS_PER_MS  UINT64_C(1000000)
#define CONFIG_NS_PER_US  1000u

/* What holds before the first start: idle_timeout_ns is for white-box tests too. */
struct wqi_config wqi_config = {.idle_timeout_ns = 300000 * CONFIG_NS_PER_MS, .spin_max_ns = 50000};

static struct wq_config config_program = WQ_CONFIG_INIT; /* G; strings are kept below */
static char config_unbound[CONFIG_LIST_BYTES];		 /* G: "" for none */
static char config_topology[CONFIG_LIST_BYTES];		 /* G: the same */
static char config_pretends[CONFIG_LIST_BYTES];		 /* G: what holds since the start */

enum config_kind { CONFIG_UNSIGNED, CONFIG_SIZE, CONFIG_BOOL };

static const struct config_variable {
	const char *name;
	size_t offset;
	enum config_kind kind;
	uint64_t max;
} config_variables[] = {
	{"WQ_MAX_THREADS", offsetof(struct wq_config, max_threads), CONFIG_UNSIGNED, UINT_MAX},
	{"WQ_IDLE_TIMEOUT_MS", offsetof(struct wq_config, idle_timeout_ms), CONFIG_UNSIGNED,
	 UINT_MAX},
	{"WQ_SPIN_MAX_US", offsetof(struct wq_config, spin_max_us), CONFIG_UNSIGNED,
	 UINT32_MAX / CONFIG_NS_PER_US},
	{"WQ_CPU_INTENSIVE_US", offsetof(struct wq_config, cpu_intensive_us), CONFIG_UNSIGNED,
	 UINT_MAX},
	{"WQ_STACK_BYTES", offsetof(struct wq_config, stack_bytes), CONFIG_SIZE, SIZE_MAX / 2},
	{"WQ_POWER_EFFICIENT", offsetof(struct wq_config, power_efficient), CONFIG_BOOL, 1},
	{"WQ_BLOCK_SIGPROF", offsetof(struct wq_config, block_sigprof), CONFIG_BOOL, 1},
};

static bool config_stack_is_valid(size_t bytes)
{
	long min = sysconf(_SC_THREAD_STACK_MIN);

	return !bytes || (min > 0 && bytes >= (size_t)min && bytes <= SIZE_MAX / 2);
}

/* Digits only: strtoull() takes signs and blanks. */
static bool config_number(const char *text, uint64_t max, uint64_t *n)
{
	char *rest;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*n = strtoull(text, &rest, 10);
	return !*rest && !errno && *n <= max;
}

/* One line, in one write, so that others' output does not come between. */
static void config_complain(const char *name, const char *text, const char *why)
{
	char line[256];
	int len = snprintf(line, sizeof(line), "libwq: %s=\"%.100s\" is ignored: %s\n", name, text,
			   why);

	if (len > 0 && write(STDERR_FILENO, line, (size_t)len) < 0)
		return; /* nobody to tell */
}

static void config_read_variable(const struct config_variable *variable, struct wq_config *config)
{
	const char *text = secure_getenv(variable->name);
	char *field = (char *)config + variable->offset;
	char why[64];
	uint64_t n;

	if (!text)
		return;
	if (!config_number(text, variable->max, &n)) {
		snprintf(why, sizeof(why), "not a number from 0 to %llu",
			 (unsigned long long)variable->max);
		config_complain(variable->name, text, why);
	} else if (variable->kind == CONFIG_SIZE && !config_stack_is_valid((size_t)n)) {
		snprintf(why, sizeof(why), "a stack has at least %ld bytes",
			 sysconf(_SC_THREAD_STACK_MIN));
		config_complain(variable->name, text, why);
	} else if (variable->kind == CONFIG_SIZE) {
		*(size_t *)(void *)field = (size_t)n;
	} else if (variable->kind == CONFIG_BOOL) {
		*(bool *)(void *)field = n;
	} else {
		*(unsigned *)(void *)field = (unsigned)n;
	}
}

const char *wqi_config_topology(void)
{
	wqi_assert_held(&wqi_runtime.lock);

	return *config_pretends ? config_pretends : NULL;
}

/* False: there is none, or none that can be read. */
static bool config_pretend(const char *text)
{
	struct wqi_topology *topology;

	if (!text)
		return false;
	if (wqi_topology_read(text, &topology)) {
		config_complain("WQ_TOPOLOGY", text, "not a topology that hwloc can read");
		return false;
	}
	strcpy(config_pretends, text);
	wqi_cpus_pretend(&topology->cpus, topology->node);
	wqi_topology_keep_locked(topology);
	return true;
}

/* The environment's goes before the program's; either may have become unreadable. */
static void config_load_topology(void)
{
	*config_pretends = '\0';
	wqi_topology_drop_locked();
	if (!config_pretend(secure_getenv("WQ_TOPOLOGY")) &&
	    !config_pretend(*config_topology ? config_topology : NULL))
		wqi_cpus_read();
}

static void config_load_cpus(void)
{
	const char *text = secure_getenv("WQ_UNBOUND_CPUS");

	config_load_topology();
	if (text && !wqi_cpus_limit_unbound(text))
		return;
	if (text)
		config_complain("WQ_UNBOUND_CPUS", text,
				"not a list of CPUs that this process may use");
	/* Checked by wq_configure(); if the process may use none of them now, all are. */
	if (*config_unbound)
		wqi_cpus_limit_unbound(config_unbound);
}

void wqi_config_load(void)
{
	struct wq_config config = config_program;
	int saved = errno, cancel;
	unsigned i;

	wqi_assert_held(&wqi_runtime.lock);

	/* Files are read and complaints written: the caller must not end in there. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	for (i = 0; i < sizeof(config_variables) / sizeof(config_variables[0]); i++)
		config_read_variable(&config_variables[i], &config);
	config_load_cpus();
	wqi_cpus_set_level(wqi_cpus.pretended ? 0 : wqi_quota_cpus(""));
	pthread_setcancelstate(cancel, NULL);
	wqi_config.max_threads = config.max_threads;
	wqi_store_relaxed(&wqi_config.idle_timeout_ns, config.idle_timeout_ms * CONFIG_NS_PER_MS);
	wqi_store_relaxed(&wqi_config.spin_max_ns, config.spin_max_us * CONFIG_NS_PER_US);
	wqi_config.cpu_intensive_ns = (uint64_t)config.cpu_intensive_us * CONFIG_NS_PER_US;
	wqi_config.stack_bytes = config.stack_bytes;
	wqi_config.power_efficient = config.power_efficient;
	wqi_config.block_sigprof = config.block_sigprof;
	errno = saved;
}

/* CPUs that may be used by the time of the start, as far as can be told. */
static int config_usable_cpus(const char *topology, wqi_cpu_mask *usable)
{
	struct wqi_topology *pretended;
	int err;

	memset(usable, 0, sizeof(*usable));
	if (!topology) {
		if (sched_getaffinity(getpid(), sizeof(*usable), usable->set))
			memset(usable, 0xff, sizeof(*usable));
		return 0;
	}
	err = wqi_topology_read(topology, &pretended);
	if (err)
		return err;
	*usable = pretended->cpus;
	wqi_topology_free(pretended);
	return 0;
}

static int config_check_cpus(const char *list, const char *topology)
{
	wqi_cpu_mask mask, usable;
	int err;

	err = config_usable_cpus(topology, &usable);
	if (err || !list)
		return err;
	if (strlen(list) >= sizeof(config_unbound) || !wqi_cpulist_parse(list, &mask))
		return -EINVAL;
	CPU_AND_S(sizeof(mask), mask.set, mask.set, usable.set);
	return CPU_COUNT_S(sizeof(mask), mask.set) ? 0 : -EINVAL;
}

static int config_check(const struct wq_config *config)
{
	if (!config || config->size != sizeof(*config) ||
	    config->spin_max_us > UINT32_MAX / CONFIG_NS_PER_US ||
	    !config_stack_is_valid(config->stack_bytes))
		return -EINVAL;
	return config_check_cpus(config->unbound_cpus, config->topology);
}

int wq_configure(const struct wq_config *config)
{
	int saved = errno, err;

	wqi_fork_enter(false);
	err = config_check(config);
	errno = saved;
	if (err)
		return err;
	wqi_lock(&wqi_runtime.lock);
	if (wqi_runtime.configured) {
		err = -EBUSY;
	} else {
		config_program = *config;
		strcpy(config_unbound, config->unbound_cpus ? config->unbound_cpus : "");
		strcpy(config_topology, config->topology ? config->topology : "");
		config_program.unbound_cpus = config_program.topology = NULL;
	}
	wqi_unlock(&wqi_runtime.lock);
	return err;
}
