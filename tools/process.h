/* Child processes of a local store: started detached, remembered in pid files, ended by pid only if
 * the pid still is the same process. */
#ifndef PAXFS_TOOLS_PROCESS_H
#define PAXFS_TOOLS_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/msg.h"

/* Starts this very program with @argv (argv[0] is replaced, "--ready-fd N" appended) in a session of
 * its own, output to @log_path, and waits until it writes a line to its ready descriptor. The line
 * goes to @line (may be NULL). Writes @pid_path ("pid starttime\n"). ERR_TIMEOUT, ERR_IO; the message
 * has the last line of the log when the child ended early. */
int process_start(char *const *argv, const char *log_path, const char *pid_path,
		  uint64_t timeout_ns, char line[256], struct msg *m);

/* The pid in @pid_path if that process still runs, else 0. */
pid_t process_running(const char *pid_path);

enum process_end {
	PROCESS_ENDED,	/* by SIGTERM; or there was none */
	PROCESS_KILLED, /* did not, in time */
	PROCESS_STAYS,	/* not even by SIGKILL: the kernel holds it. Its file stays, too */
};
/* SIGTERM, then SIGKILL after @timeout_ns; waits until it is gone; removes the file. @unblock (may be
 * NULL) is called after half of that time: what the process waits for may be in the caller's hand. */
enum process_end process_stop(const char *pid_path, uint64_t timeout_ns,
			      void (*unblock)(const void *ctx), const void *ctx);

#endif
