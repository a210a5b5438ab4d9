/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libFuzzer's way into the wheel's model: eight bytes an operation. */
#include "wheel_model.h"

#include <stddef.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct wheel_model model;
	uint64_t op = 0;

	if (size >= sizeof(op))
		memcpy(&op, data, sizeof(op));
	wheel_model_init(&model, op >> (op & 63));
	for (; size >= sizeof(op); data += sizeof(op), size -= sizeof(op)) {
		memcpy(&op, data, sizeof(op));
		wheel_model_step(&model, op);
	}
	return 0;
}
