#include "base/check.h"

#include "base/logger.h"

_Noreturn void check_failed(const char *file, int line, const char *func, const char *what)
{
	logger_die("%s:%d: %s: check failed: %s", file, line, func, what);
}
