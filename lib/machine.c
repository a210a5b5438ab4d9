/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the calls that make hwloc read a machine, and what keeps hwloc quiet and harmless.
 * Does not look at what it has read.
 *
 * Of hwloc's back ends the one that asks the processor itself is left out: it binds the
 * calling thread to each CPU in turn.
 */
#include "machine.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <wq/types.h>

#include "atomic.h"

#define MACHINE_FLAGS                                                                              \
	(HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED | HWLOC_TOPOLOGY_FLAG_NO_DISTANCES |               \
	 HWLOC_TOPOLOGY_FLAG_NO_MEMATTRS | HWLOC_TOPOLOGY_FLAG_NO_CPUKINDS)

static uint32_t machine_readers; /* A, seq_cst: threads inside hwloc's loading */
static bool machine_no_hwloc;	 /* A, relaxed: a child can't use it any more */

static int machine_error(void)
{
	return errno == ENOMEM ? -ENOMEM : -EINVAL;
}

static int machine_begin(hwloc_topology_t *hw)
{
	static const hwloc_obj_type_t types[] = {HWLOC_OBJ_PACKAGE, HWLOC_OBJ_CORE};
	unsigned i;

	*hw = NULL;
	errno = 0;
	if (hwloc_topology_init(hw)) {
		*hw = NULL;
		return machine_error();
	}
	/* Groups stay: without them hwloc has no place for the memory of some of its nodes. */
	hwloc_topology_set_all_types_filter(*hw, HWLOC_TYPE_FILTER_KEEP_NONE);
	hwloc_topology_set_type_filter(*hw, HWLOC_OBJ_GROUP, HWLOC_TYPE_FILTER_KEEP_STRUCTURE);
	hwloc_topology_set_cache_types_filter(*hw, HWLOC_TYPE_FILTER_KEEP_ALL);
	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		hwloc_topology_set_type_filter(*hw, types[i], HWLOC_TYPE_FILTER_KEEP_ALL);
	hwloc_topology_set_components(*hw, HWLOC_TOPOLOGY_COMPONENTS_FLAG_BLACKLIST, "x86");
	if (hwloc_topology_set_flags(*hw, MACHINE_FLAGS))
		return machine_error();
	return 0;
}

void wqi_machine_unload(hwloc_topology_t *hw)
{
	if (!*hw)
		return;
	wqi_add(&machine_readers, 1);
	hwloc_topology_destroy(*hw);
	wqi_sub(&machine_readers, 1);
	*hw = NULL;
}

/* hwloc would look for these too, and complain on standard error where it finds none. */
static bool machine_sysfs_is_there(void)
{
	static const char *const files[] = {
		"/sys/devices/system/cpu/cpu0/topology/package_cpus",
		"/sys/devices/system/cpu/cpu0/topology/core_siblings",
		"/sys/bus/cpu/devices/cpu0/topology/package_cpus",
		"/sys/bus/cpu/devices/cpu0/topology/core_siblings",
	};
	unsigned i;

	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (!access(files[i], R_OK))
			return true;
	return false;
}

/*
 * Variables of hwloc's own may have put another machine in this one's place.  What they
 * say is not believed, but where the user assures hwloc that it is this one.
 */
static int machine_load_this(hwloc_topology_t *hw)
{
	int err;

	if (!machine_sysfs_is_there())
		return -EIO;
	err = machine_begin(hw);
	if (!err && hwloc_topology_load(*hw))
		err = machine_error();
	if (!err && !hwloc_topology_is_thissystem(*hw))
		err = -EIO;
	return err;
}

/* The product of its counts: hwloc would take minutes for some millions of CPUs. */
static bool machine_is_too_large(const char *at)
{
	unsigned long total = 1, n;
	bool counts = true;
	unsigned depth = 0;
	char *rest;

	while (*at) {
		if (!depth && counts && isdigit((unsigned char)*at)) {
			n = strtoul(at, &rest, 10);
			if (n > WQ_MAX_CPUS || (total *= n) > WQ_MAX_CPUS)
				return true;
			at = rest;
			counts = false;
			continue;
		}
		if (*at == '(' || *at == '[')
			depth++;
		else if ((*at == ')' || *at == ']') && depth)
			depth--;
		counts = *at == ':' || isspace((unsigned char)*at);
		at++;
	}
	return false;
}

static int machine_load_synthetic(hwloc_topology_t *hw, const char *description)
{
	int err;

	if (machine_is_too_large(description))
		return -EINVAL;
	err = machine_begin(hw);
	if (!err && (hwloc_topology_set_synthetic(*hw, description) || hwloc_topology_load(*hw)))
		err = machine_error();
	return err;
}

static int machine_load_xml(hwloc_topology_t *hw, const char *path)
{
	struct stat st;
	int err;

	if (stat(path, &st) || !S_ISREG(st.st_mode) || access(path, R_OK))
		return -EINVAL;
	err = machine_begin(hw);
	if (!err && (hwloc_topology_set_xml(*hw, path) || hwloc_topology_load(*hw)))
		err = machine_error();
	return err;
}

static int machine_load(hwloc_topology_t *hw, const char *description)
{
	int err;

	if (wqi_load_relaxed(&machine_no_hwloc))
		return -EIO;
	if (!description)
		return machine_load_this(hw);
	if (!*description || strlen(description) >= WQI_MACHINE_BYTES)
		return -EINVAL;
	err = machine_load_synthetic(hw, description);
	if (err == -EINVAL) {
		wqi_machine_unload(hw);
		err = machine_load_xml(hw, description);
	}
	return err;
}

int wqi_machine_load(const char *description, hwloc_topology_t *hw)
{
	int err;

	*hw = NULL;
	wqi_add(&machine_readers, 1);
	err = machine_load(hw, description);
	if (err)
		wqi_machine_unload(hw);
	wqi_sub(&machine_readers, 1);
	return err;
}

/* A thread that was inside hwloc, and is not there, may have left its lock locked. */
void wqi_machine_reset(void)
{
	if (wqi_load_relaxed(&machine_readers))
		wqi_store_relaxed(&machine_no_hwloc, true);
	wqi_store_relaxed(&machine_readers, 0u);
}
