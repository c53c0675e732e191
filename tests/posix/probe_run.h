/* What the main program and the helpers of cases share. */
#ifndef PAXFS_TESTS_POSIX_PROBE_RUN_H
#define PAXFS_TESTS_POSIX_PROBE_RUN_H

extern char probe_there[]; /* the case's directory as seen through the checking mount */

#endif
