/* The program's log: one line an event, to stderr or a file, rate limited.
 *
 *     2026-11-21T06:30:00.123456Z warn  node=2 group=3: leader 1 silent for 120 ms, suspecting it
 *
 * Only programs and drivers log (tools/, the kv/ node, mount/); library code returns errors. Safe
 * from any thread.
 */
#ifndef PAXFS_BASE_LOGGER_H
#define PAXFS_BASE_LOGGER_H

#include "base/msg.h"

enum log_level { LOG_DEBUG_, LOG_INFO_, LOG_WARN_, LOG_ERROR_ };

int logger_level_parse(const char *s, enum log_level *out); /* debug info warn error; ERR_INVAL */
void logger_set_level(enum log_level min);
void logger_set_tag(const char *tag); /* e.g. "node=2"; copied; NULL for none */
int logger_open(const char *path, struct msg *m); /* append to a file instead of stderr; reopens */

void logger_write(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* At most @per_s lines a second for this call site; says how many it dropped when it resumes. */
struct logger_limit {
	unsigned long long window_s;
	unsigned count;
	unsigned long dropped;
};
void logger_write_limited(struct logger_limit *l, unsigned per_s, enum log_level level,
			  const char *fmt, ...) __attribute__((format(printf, 4, 5)));

#define log_debug(...) logger_write(LOG_DEBUG_, __VA_ARGS__)
#define log_info(...)  logger_write(LOG_INFO_, __VA_ARGS__)
#define log_warn(...)  logger_write(LOG_WARN_, __VA_ARGS__)
#define log_error(...) logger_write(LOG_ERROR_, __VA_ARGS__)

/* One log line, then abort(): for states that must not be (disk write failed, divergence). */
_Noreturn void logger_die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
