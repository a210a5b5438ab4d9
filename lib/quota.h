/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns the question how many CPUs' worth of time the process's cgroup may use. */
#ifndef WQI_QUOTA_H
#define WQI_QUOTA_H

/*
 * CPUs, rounded up, that the quota of the process's cgroup and of those above it
 * allows (v1 and v2); 0: no quota, or unknown.  @root is put before all paths, ""
 * but in tests.  errno is kept.
 */
unsigned wqi_quota_cpus(const char *root);

#endif /* WQI_QUOTA_H */
