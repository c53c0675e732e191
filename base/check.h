/* Invariant checks that stay on in release builds: CHECK(cond) logs file, line and the text of the
 * condition and aborts. For states that only a bug can produce; operating errors are never checked
 * this way. (Named apart from assert(3), which NDEBUG turns off.) */
#ifndef PAXFS_BASE_CHECK_H
#define PAXFS_BASE_CHECK_H

_Noreturn void check_failed(const char *file, int line, const char *func, const char *what);

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (__builtin_expect(!(cond), 0))                                                  \
			check_failed(__FILE__, __LINE__, __func__, #cond);                         \
	} while (0)

#endif
