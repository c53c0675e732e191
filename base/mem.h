/* Memory. Two kinds of request:
 *
 *  - mem_must_*(): small, bounded objects of the program's own making. There is no way to go on
 *    without them in a replicated state machine (a replica that skips a step diverges), so failure
 *    ends the process with one log line. It restarts from its log.
 *  - mem_try_*(): anything whose size comes from outside (a frame, a file, an option). NULL on
 *    failure; the caller answers ERR_NOMEM.
 */
#ifndef PAXFS_BASE_MEM_H
#define PAXFS_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>

void *mem_must_alloc(size_t size); /* zeroed */
void *mem_must_realloc(void *p, size_t size);
void *mem_must_dup(const void *p, size_t size); /* size 0 gives a non-NULL pointer */
char *mem_must_strdup(const char *s);
char *mem_must_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void *mem_try_alloc(size_t size); /* not zeroed */
void *mem_try_realloc(void *p, size_t size);
void mem_free(void *p); /* takes NULL */

/* Test hooks. The n-th mem_try_* from now fails (1 = the next); 0 turns it off. */
void mem_fail_nth(unsigned long n);
unsigned long mem_fail_left(void);   /* what remains of that n; 0: it has failed, or is off */
void mem_fail_must_too(bool yes);    /* mem_must_* counts as well, and dies when it is its turn */
void mem_fail_pause(bool yes);	     /* this thread's requests neither count nor fail; nests */
void mem_count_live(bool yes);	     /* from now on; starts at 0 */
long mem_live(void);		     /* blocks allocated less blocks freed since */

#endif
