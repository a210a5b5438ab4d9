/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owns the names of libudev that hwloc refers to, for programs that are linked statically
 * where there is no static libudev.  Finds no device.
 *
 * hwloc asks libudev about disks only, and the library never lets it look for those.  A
 * linker takes this file out of libwq.a only if the names are still missing when it comes
 * to the end of what libwq.pc lists.  In the shared library nobody sees them.
 */
#include <stddef.h>

struct udev;
struct udev_device;

struct udev *udev_new(void);
struct udev *udev_unref(struct udev *udev);
struct udev_device *udev_device_new_from_subsystem_sysname(struct udev *udev, const char *subsystem,
							   const char *sysname);
const char *udev_device_get_property_value(struct udev_device *device, const char *key);
struct udev_device *udev_device_unref(struct udev_device *device);

/* hwloc understands that as "no libudev here". */
struct udev *udev_new(void)
{
	return NULL;
}

struct udev *udev_unref(struct udev *udev)
{
	return NULL;
}

struct udev_device *udev_device_new_from_subsystem_sysname(struct udev *udev, const char *subsystem,
							   const char *sysname)
{
	return NULL;
}

const char *udev_device_get_property_value(struct udev_device *device, const char *key)
{
	return NULL;
}

struct udev_device *udev_device_unref(struct udev_device *device)
{
	return NULL;
}
