#include "tests/lib/forked.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/check.h"

int forked(void (*body)(void *ctx), void *ctx, char *text, size_t size)
{
	int fds[2], status = 0;
	size_t len = 0;
	ssize_t n;
	pid_t pid;

	fflush(NULL);
	CHECK_INT_EQ(pipe(fds), 0);
	pid = fork();
	CHECK_TRUE(pid >= 0);
	if (pid == 0) {
		(void)dup2(fds[1], STDERR_FILENO);
		close(fds[0]);
		close(fds[1]);
		body(ctx);
		_exit(0);
	}
	close(fds[1]);
	while ((n = read(fds[0], text + len, size - 1 - len)) > 0)
		len = len + (size_t)n < size - 1 ? len + (size_t)n : size / 2;
	text[len] = '\0';
	close(fds[0]);
	CHECK_INT_EQ(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}
