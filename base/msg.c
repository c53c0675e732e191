#include "base/msg.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Formats into a second buffer first: the arguments may point into m->text. */
static void msg_format(struct msg *m, const char *fmt, va_list ap)
{
	char text[MSG_SIZE];

	if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
		text[0] = '\0';
	memcpy(m->text, text, strlen(text) + 1);
}

int msg_set(struct msg *m, int code, const char *fmt, ...)
{
	va_list ap;

	if (m == NULL)
		return code;
	va_start(ap, fmt);
	msg_format(m, fmt, ap);
	va_end(ap);
	return code;
}

/* Appends to m->text what fits. */
static void msg_append(struct msg *m, const char *text)
{
	size_t used = strlen(m->text);
	size_t room = sizeof(m->text) - 1 - used;
	size_t len = strlen(text);

	if (len > room)
		len = room;
	memcpy(m->text + used, text, len);
	m->text[used + len] = '\0';
}

int msg_wrap(struct msg *m, int code, const char *fmt, ...)
{
	struct msg inner;
	va_list ap;

	if (m == NULL)
		return code;
	inner = *m;
	va_start(ap, fmt);
	msg_format(m, fmt, ap);
	va_end(ap);
	if (inner.text[0] != '\0') {
		msg_append(m, ": ");
		msg_append(m, inner.text);
	}
	return code;
}
