/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A line server without a thread for each connection: a connection is an item that runs
 * when something has come, answers each line in capitals, and waits again.  So does the
 * listening socket.  The program is its own client.
 */
#include <wq/wq.h>

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define NR_CLIENTS 3
#define NR_LINES   4

static struct wq *wq;
static unsigned nr_served; /* atomic */

/* --- the server --- */

struct connection {
	struct wq_trigger_work item;
	struct wq_event event;
	char line[128];
	size_t length;
};

static void connection_end(struct connection *connection)
{
	close(connection->event.fd);
	free(connection); /* the library does not touch an item that runs */
}

/* A server that may write more than the socket's buffer holds waits for EPOLLOUT, too. */
static bool connection_answer(struct connection *connection)
{
	size_t i;

	for (i = 0; i < connection->length; i++)
		connection->line[i] = (char)toupper((unsigned char)connection->line[i]);
	return write(connection->event.fd, connection->line, connection->length) ==
	       (ssize_t)connection->length;
}

/* Until nothing more is there.  False: it is over. */
static bool connection_read(struct connection *connection)
{
	char *end = connection->line + sizeof(connection->line);
	ssize_t got;

	for (;;) {
		char *to = connection->line + connection->length;

		if (to == end)
			return false; /* too long a line */
		got = read(connection->event.fd, to, 1);
		if (got < 0)
			return errno == EAGAIN || errno == EINTR;
		if (!got)
			return false;
		connection->length++;
		if (*to != '\n')
			continue;
		if (!connection_answer(connection))
			return false;
		connection->length = 0;
	}
}

static void connection_fn(struct wq_work *work, void *ctx)
{
	struct connection *connection = ctx;

	(void)work;
	if (connection->item.result == -ETIMEDOUT || !connection_read(connection) ||
	    wq_queue_trigger(wq, &connection->item, &connection->event, 1, UINT64_C(60000000000)) !=
		    1) {
		__atomic_fetch_add(&nr_served, 1, __ATOMIC_RELAXED);
		connection_end(connection);
	}
}

static void connection_begin(int fd)
{
	struct connection *connection = calloc(1, sizeof(*connection));

	if (!connection) {
		close(fd);
		return;
	}
	connection->event.fd = fd;
	connection->event.events = EPOLLIN;
	wq_trigger_work_init(&connection->item, connection_fn, connection);
	if (wq_queue_trigger(wq, &connection->item, &connection->event, 1, UINT64_C(60000000000)) !=
	    1)
		connection_end(connection);
}

struct listener {
	struct wq_trigger_work item;
	struct wq_event event;
};

static void listener_fn(struct wq_work *work, void *ctx)
{
	struct listener *listener = ctx;
	int fd;

	(void)work;
	while ((fd = accept4(listener->event.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
		connection_begin(fd);
	wq_queue_trigger(wq, &listener->item, &listener->event, 1, WQ_FOREVER);
}

/* On any free port of the loopback interface, which is put into @address. */
static bool listener_begin(struct listener *listener, struct sockaddr_in *address)
{
	socklen_t length = sizeof(*address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	*address = (struct sockaddr_in){.sin_family = AF_INET,
					.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (fd < 0 || bind(fd, (struct sockaddr *)address, length) || listen(fd, 16) ||
	    getsockname(fd, (struct sockaddr *)address, &length))
		return false;
	listener->event = (struct wq_event){.fd = fd, .events = EPOLLIN};
	wq_trigger_work_init(&listener->item, listener_fn, listener);
	return wq_queue_trigger(wq, &listener->item, &listener->event, 1, WQ_FOREVER) == 1;
}

/* --- its clients --- */

struct client {
	pthread_t thread;
	const struct sockaddr_in *address;
	int number, nr_right;
};

static void *client_main(void *arg)
{
	struct client *client = arg;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), i;
	char line[64], want[64], got[64];
	FILE *file;

	if (fd < 0 ||
	    connect(fd, (const struct sockaddr *)client->address, sizeof(struct sockaddr_in)))
		return NULL;
	file = fdopen(fd, "r");
	for (i = 0; file && i < NR_LINES; i++) {
		snprintf(line, sizeof(line), "client %d, line %d\n", client->number, i);
		snprintf(want, sizeof(want), "CLIENT %d, LINE %d\n", client->number, i);
		if (write(fd, line, strlen(line)) < 0 || !fgets(got, sizeof(got), file))
			break;
		client->nr_right += !strcmp(got, want);
	}
	if (file)
		fclose(file);
	return NULL;
}

int main(void)
{
	struct client clients[NR_CLIENTS];
	struct sockaddr_in address;
	struct listener listener;
	int i, ret;

	wq = wq_alloc("server", 0, 0);
	if (!wq || !listener_begin(&listener, &address)) {
		perror("09_trigger");
		return 1;
	}
	for (i = 0; i < NR_CLIENTS; i++) {
		clients[i] = (struct client){.address = &address, .number = i};
		if (pthread_create(&clients[i].thread, NULL, client_main, &clients[i]))
			return 1;
	}
	for (i = 0; i < NR_CLIENTS; i++) {
		pthread_join(clients[i].thread, NULL);
		printf("client %d: %d of %d answers are right\n", i, clients[i].nr_right, NR_LINES);
	}
	/* Cancelled before its descriptor is closed; it can't arm itself again either. */
	wq_trigger_work_disable_sync(&listener.item);
	close(listener.event.fd);
	/* The connections end as they read the end; until then the queue can't be destroyed. */
	while ((ret = wq_destroy(wq)) == -EBUSY)
		sched_yield();
	printf("%u connections served\n", nr_served);
	return ret ? 1 : 0;
}
