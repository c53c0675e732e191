/* A message for people, in a fixed buffer, wrapped on the way up:
 * "open log: segment 3: bad CRC". */
#ifndef PAXFS_BASE_MSG_H
#define PAXFS_BASE_MSG_H

#include <stddef.h>

#define MSG_SIZE 512 /* bytes, NUL included; longer texts are cut */

struct msg {
	char text[MSG_SIZE];
};

/* Replaces the text; @m may be NULL (then nothing happens). Returns @code, so that a caller can
 * write `return msg_set(m, ERR_IO, ...)`. */
int msg_set(struct msg *m, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the present text. Returns @code. @m may be NULL. */
int msg_wrap(struct msg *m, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
