/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the start of the library.  There is no end yet: threads live as long as the process. */
#include "runtime.h"

#include "cpu.h"
#include "manager.h"
#include "pool.h"

struct wqi_runtime wqi_runtime;

int wqi_runtime_start_locked(void)
{
	int err;

	wqi_assert_held(&wqi_runtime.lock);

	if (wqi_runtime.started)
		return 0;
	if (!wqi_cpus.nr) {
		err = wqi_cpus_read();
		if (err)
			return err;
	}
	err = wqi_pools_init();
	if (err)
		return err;
	err = wqi_manager_start();
	if (err)
		return err;
	wqi_runtime.started = true;
	return 0;
}

/* G10: everything, but what the thread itself causes and what must not be blocked. */
void wqi_runtime_worker_signals(sigset_t *set)
{
	static const int open[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
	unsigned i;

	sigfillset(set);
	for (i = 0; i < sizeof(open) / sizeof(open[0]); i++)
		sigdelset(set, open[i]);
}
