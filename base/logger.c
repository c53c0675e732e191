#include "base/logger.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"

#define LINE_SIZE 2048 /* bytes of one log line, "\n" included; longer texts are cut */
#define TAG_SIZE  64

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char cut_mark[] = "...";

static atomic_int level_min = LOG_INFO_;

/* Guards the tag, the descriptor and every logger_limit. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char tag_text[TAG_SIZE];
static int out_fd = STDERR_FILENO;

int logger_level_parse(const char *s, enum log_level *out)
{
	for (int i = LOG_DEBUG_; i <= LOG_ERROR_; i++) {
		if (strcmp(s, level_names[i]) == 0) {
			*out = (enum log_level)i;
			return 0;
		}
	}
	return ERR_INVAL;
}

void logger_set_level(enum log_level min)
{
	atomic_store_explicit(&level_min, (int)min, memory_order_relaxed);
}

static bool level_on(enum log_level level)
{
	return (int)level >= atomic_load_explicit(&level_min, memory_order_relaxed);
}

void logger_set_tag(const char *tag)
{
	pthread_mutex_lock(&lock);
	(void)snprintf(tag_text, sizeof(tag_text), "%s", tag != NULL ? tag : "");
	pthread_mutex_unlock(&lock);
}

int logger_open(const char *path, struct msg *m)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	int old;

	if (fd < 0) {
		int errnum = errno;

		return msg_set(m, err_from_errno(errnum), "open log file %s: %s", path,
			       strerror(errnum));
	}
	pthread_mutex_lock(&lock);
	old = out_fd;
	out_fd = fd;
	pthread_mutex_unlock(&lock);
	if (old != STDERR_FILENO)
		close(old);
	return 0;
}

struct line {
	char text[LINE_SIZE];
	size_t len; /* < LINE_SIZE: room for the "\n" is kept */
};

__attribute__((format(printf, 2, 0))) static void line_vadd(struct line *l, const char *fmt,
							     va_list ap)
{
	size_t room = sizeof(l->text) - l->len; /* the NUL's place becomes the "\n"'s */
	int n = vsnprintf(l->text + l->len, room, fmt, ap);

	if (n < 0)
		return;
	if ((size_t)n < room) {
		l->len += (size_t)n;
		return;
	}
	l->len = sizeof(l->text) - 1;
	memcpy(l->text + l->len - strlen(cut_mark), cut_mark, strlen(cut_mark));
}

__attribute__((format(printf, 2, 3))) static void line_add(struct line *l, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	line_vadd(l, fmt, ap);
	va_end(ap);
}

static void line_begin(struct line *l, enum log_level level)
{
	struct timespec now;
	struct tm tm;

	l->len = 0;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	line_add(l, "%04d-%02d-%02dT%02d:%02d:%02d.%06ldZ %-5s ", tm.tm_year + 1900, tm.tm_mon + 1,
		 tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, now.tv_nsec / 1000,
		 level_names[level]);
	if (tag_text[0] != '\0')
		line_add(l, "%s ", tag_text);
}

/* One event is one line, whatever a path or a peer's message contains. A log that cannot be
 * written must not stop the program, so the result of write() is ignored. */
static void line_end(struct line *l)
{
	for (size_t i = 0; i < l->len; i++) {
		if ((unsigned char)l->text[i] < ' ' || l->text[i] == 0x7f)
			l->text[i] = ' ';
	}
	l->text[l->len] = '\n';
	if (write(out_fd, l->text, l->len + 1) < 0)
		return;
}

__attribute__((format(printf, 2, 0))) static void write_locked(enum log_level level,
								const char *fmt, va_list ap,
								unsigned long dropped)
{
	struct line l;

	line_begin(&l, level);
	line_vadd(&l, fmt, ap);
	if (dropped > 0)
		line_add(&l, " (%lu more like this were dropped)", dropped);
	line_end(&l);
}

void logger_write(enum log_level level, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	if (!level_on(level))
		return;
	va_start(ap, fmt);
	pthread_mutex_lock(&lock);
	write_locked(level, fmt, ap, 0);
	pthread_mutex_unlock(&lock);
	va_end(ap);
	errno = saved;
}

/* Whether the call site may write now. *dropped: how many were not written before. */
static bool limit_pass(struct logger_limit *l, unsigned per_s, unsigned long *dropped)
{
	struct timespec now;
	unsigned long long s;

	clock_gettime(CLOCK_MONOTONIC, &now);
	s = (unsigned long long)now.tv_sec + 1; /* 0 is "never used" */
	if (l->window_s != s) {
		l->window_s = s;
		l->count = 0;
	}
	if (l->count >= per_s) {
		l->dropped++;
		return false;
	}
	l->count++;
	*dropped = l->dropped;
	l->dropped = 0;
	return true;
}

void logger_write_limited(struct logger_limit *l, unsigned per_s, enum log_level level,
			  const char *fmt, ...)
{
	unsigned long dropped = 0;
	int saved = errno;
	va_list ap;

	if (!level_on(level))
		return;
	va_start(ap, fmt);
	pthread_mutex_lock(&lock);
	if (limit_pass(l, per_s, &dropped))
		write_locked(level, fmt, ap, dropped);
	pthread_mutex_unlock(&lock);
	va_end(ap);
	errno = saved;
}

_Noreturn void logger_die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	pthread_mutex_lock(&lock);
	write_locked(LOG_ERROR_, fmt, ap, 0);
	pthread_mutex_unlock(&lock);
	va_end(ap);
	abort();
}
