/* What a checker says about a history. */
#ifndef PAXFS_TESTS_CHECK_VERDICT_H
#define PAXFS_TESTS_CHECK_VERDICT_H

#include <stddef.h>

#define VERDICT_TEXT_SIZE 8192 /* bytes, NUL included; longer texts are cut */

enum verdict_code {
	VERDICT_OK,
	VERDICT_WRONG,	/* no correct store answers like this */
	VERDICT_GAVE_UP, /* neither shown: out of steps or memory */
	VERDICT_UNFIT,	/* the history breaks a rule for histories: a bug of the test */
};

struct verdict {
	enum verdict_code code;
	const char *name; /* static: "ok", "not linearizable", "G-single", "lost append", ... */
	char text[VERDICT_TEXT_SIZE]; /* what is wrong, several lines; empty when OK */
	size_t len;
	size_t checked; /* operations that were judged */
};

/* For checkers. verdict_add appends to the text and cuts at its size. */
void verdict_init(struct verdict *v);
void verdict_set(struct verdict *v, enum verdict_code code, const char *name);
void verdict_add(struct verdict *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
