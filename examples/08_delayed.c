/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One save for many keystrokes: each puts the save off until a minute after it, and the
 * editor's losing the focus brings it forward.
 */
#include <wq/wq.h>

#include <semaphore.h>
#include <stdio.h>

#define MS	   UINT64_C(1000000)
#define IDLE_DELAY (60000 * MS)
#define SOON	   (10 * MS)

struct document {
	struct wq_delayed_work save;
	struct wq *wq;
	char text[64]; /* not touched by keystrokes while it is saved: the example waits */
	size_t length;
	unsigned armed, put_off; /* keystrokes that found the save idle, and armed */
	sem_t saved;
};

static void save_fn(struct wq_work *work, void *ctx)
{
	struct document *document = ctx;

	(void)work;
	printf("saved: \"%.*s\"\n", (int)document->length, document->text);
	sem_post(&document->saved);
}

static bool keystroke(struct document *document, char key)
{
	int ret;

	document->text[document->length++] = key;
	/* Whether it is idle or armed, afterwards one save is to come, a minute from now. */
	ret = wq_mod_delayed(document->wq, &document->save, IDLE_DELAY);
	if (ret == 1)
		document->put_off++;
	else if (!ret)
		document->armed++;
	return ret >= 0;
}

static bool type(struct document *document, const char *keys)
{
	bool ok = true;

	document->armed = document->put_off = 0;
	while (*keys && ok)
		ok = keystroke(document, *keys++);
	printf("typed: the save was armed %u time and put off %u times\n", document->armed,
	       document->put_off);
	return ok;
}

static bool edit(struct document *document)
{
	if (!type(document, "workqueues"))
		return false;
	/* The user goes to another window: save soon, and don't wait for the minute. */
	if (wq_mod_delayed(document->wq, &document->save, SOON) != 1)
		return false;
	while (sem_wait(&document->saved))
		;

	if (!type(document, " for POSIX"))
		return false;
	/* The window is closed: save now, and wait for it. */
	printf("closing, flush answers %d\n", wq_delayed_work_flush(&document->save));
	printf("nothing is left to cancel: %d\n", wq_delayed_work_cancel_sync(&document->save));
	return true;
}

int main(void)
{
	struct document document = {.wq = wq_alloc("editor", WQ_ORDERED, 0)};
	bool ok;

	if (!document.wq) {
		perror("08_delayed: wq_alloc");
		return 1;
	}
	sem_init(&document.saved, 0, 0);
	wq_delayed_work_init(&document.save, save_fn, &document);
	ok = edit(&document);
	if (!ok)
		fprintf(stderr, "08_delayed: the save could not be armed\n");
	/* With an item armed the queue would not go: -EBUSY. */
	wq_delayed_work_cancel_sync(&document.save);
	return wq_destroy(document.wq) || !ok ? 1 : 0;
}
