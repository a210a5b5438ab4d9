/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns having hwloc read this machine, or one that is described.  Only topology.c uses
 * it: nothing of hwloc's is kept for longer than it takes to look at it.
 */
#ifndef WQI_MACHINE_H
#define WQI_MACHINE_H

#include <hwloc.h>

#define WQI_MACHINE_BYTES 4096 /* of a description, with its end */

/*
 * As wqi_topology_read(), whose answers it gives; -EIO too where hwloc can't read this
 * machine.  CPUs that the process may not use are included.  Changes errno.
 */
int wqi_machine_load(const char *description, hwloc_topology_t *hw);

/* NULL is nothing to be done. */
void wqi_machine_unload(hwloc_topology_t *hw);

/* In the child of a fork(), before anything is read.  Under G. */
void wqi_machine_reset(void);

#endif /* WQI_MACHINE_H */
