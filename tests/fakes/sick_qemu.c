/*
 * A QEMU that is sick, for tests: it takes the descriptors of a real one and does with them what the label
 * vtapd.machine=sick-... says. Any other machine is run by the real QEMU, so that one daemon has both.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST (1UL << 30) /* a flood ends by itself */
#define GREETING "{\"QMP\": {\"version\": {\"qemu\": {\"major\": 7, \"minor\": 2, \"micro\": 0}," \
		 "\"package\": \"\"}, \"capabilities\": []}}\r\n"
#define EVENT "{\"event\": \"RTC_CHANGE\", \"data\": {\"offset\": 1}, \"timestamp\": {\"seconds\": 1, \"microseconds\": 2}}\r\n"

static const char *manner = "";

static int is(const char *name)
{
	return strcmp(manner, name) == 0;
}

/* The descriptor of `-chardev socket,id=NAME,fd=N,...`, or of no chardev at all. */
static int listener(int count, char **words, const char *name)
{
	for (int i = 1; i < count; i++) {
		char *at = strstr(words[i], name), *fd = strstr(words[i], ",fd=");
		if (strncmp(words[i], "socket,", 7) == 0 && at && fd)
			return atoi(fd + 4);
	}
	return -1;
}

static int say(int to, const char *text)
{
	return send(to, text, strlen(text), MSG_NOSIGNAL) > 0;
}

static void flood(int to, const char *text)
{
	static char block[1 << 16];
	size_t length = strlen(text), whole = sizeof block / length * length;

	for (size_t i = 0; i < whole; i += length)
		memcpy(block + i, text, length);
	for (size_t sent = 0; sent < MOST; sent += whole)
		for (size_t done = 0; done < whole;) {
			ssize_t now = send(to, block + done, whole - done, MSG_NOSIGNAL);
			if (now <= 0)
				return;
			done += now;
		}
}

/* Answers every command as QEMU does, with its id if it has one; `query-status` is answered by nonsense where the manner is so. */
static void answer(int to)
{
	char asked[4096], said[4200];
	ssize_t got;

	while ((got = recv(to, asked, sizeof asked - 1, 0)) > 0) {
		asked[got] = 0;
		char *id = strstr(asked, "\"id\":");
		char *end = id ? strpbrk(id, ",}") : NULL;
		if (is("sick-turns") && strstr(asked, "query-status")) {
			say(to, "no more of this\r\n");
			return;
		}
		snprintf(said, sizeof said, "{\"return\": {}%s%.*s}\r\n", end ? ", " : "", end ? (int)(end - id) : 0, end ? id : "");
		if (!say(to, said))
			return;
		if (is("sick-events"))
			flood(to, EVENT);
	}
}

static void converse(int to)
{
	if (is("sick-nonsense"))
		say(to, "Login: \xff\xfe\r\n{]\r\n");
	else if (is("sick-half"))
		send(to, GREETING, 40, MSG_NOSIGNAL);
	else if (is("sick-line"))
		flood(to, "x");
	else if (is("sick-events") || is("sick-console") || is("sick-turns"))
		if (say(to, GREETING))
			answer(to);
	if (is("sick-silent") || is("sick-half"))
		pause();
}

static void *print(void *listening)
{
	int to = accept(*(int *)listening, NULL, NULL);

	flood(to, "y");
	close(to);
	return NULL;
}

int main(int count, char **words)
{
	int qmp = listener(count, words, "id=qmp"), console = listener(count, words, "id=console");
	pthread_t printing;

	for (int i = 1; i + 1 < count; i++)
		if (strcmp(words[i], "-machine") == 0)
			manner = words[i + 1];
	if (strncmp(manner, "sick-", 5) != 0) {
		execvp("qemu-system-x86_64", words);
		return 127;
	}
	if (strcmp(words[1], "-S") == 0) /* vtapd asks whether it has this machine */
		return 0;
	if (is("sick-dies")) { /* after its guest has run: an end before that is tried three times only */
		say(accept(console, NULL, NULL), "The guest has run.\n");
		for (int i = 0; i < 300; i++)
			if (write(2, "This QEMU will not do, and says so at length.\n", 46) < 0)
				break;
		return 3;
	}
	if (is("sick-closed")) {
		for (int fd = 0; fd < 1024; fd++)
			close(fd);
		pause();
	}
	if (is("sick-console"))
		pthread_create(&printing, NULL, print, &console);
	for (;;) {
		int to = accept(qmp, NULL, NULL);
		converse(to);
		close(to);
	}
}
