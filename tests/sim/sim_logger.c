/* base/logger.h and base/check.h in the simulator: lines go to the trace; a process dies where the
 * real one would; a check that fails ends the run. */
#include <stdarg.h>
#include <stdio.h>

#include "base/check.h"
#include "base/logger.h"
#include "tests/sim/sim_internal.h"

#define LINE_MAX_ 200

static void line(const char *fmt, va_list ap)
{
	char text[LINE_MAX_];

	vsnprintf(text, sizeof(text), fmt, ap);
	sim_trace("log: %s", text);
}

void logger_write(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	if (level < LOG_INFO_)
		return;
	va_start(ap, fmt);
	line(fmt, ap);
	va_end(ap);
}

void logger_write_limited(struct logger_limit *l, unsigned per_s, enum log_level level,
			  const char *fmt, ...)
{
	va_list ap;

	(void)l;
	(void)per_s;
	if (level < LOG_INFO_)
		return;
	va_start(ap, fmt);
	line(fmt, ap);
	va_end(ap);
}

/* Operating errors that a process is meant not to survive; anything else that dies is a bug. */
void logger_die(const char *fmt, ...)
{
	char text[LINE_MAX_];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (!sim_self() || sim_fault_count(SIM_FAULT_SYNC_FAIL) == 0)
		sim_violation("died: %s", text);
	sim_trace("died: %s", text);
	sim_proc_die(text);
}

void check_failed(const char *file, int line_number, const char *func, const char *what)
{
	sim_violation("%s:%d: %s: check failed: %s", file, line_number, func, what);
}
