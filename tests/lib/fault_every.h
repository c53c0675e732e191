/* A scenario again and again: with its 1st allocation failing, with its 2nd, ... until it ends
 * without one having failed. After each run as many blocks must be allocated as before it.
 *
 *     static void encodes(struct fault *f)
 *     {
 *             ...                          what must not fail
 *             fault_arm(f);
 *             err = encode(...);           allocations (mem_try_*) in here count
 *             fault_disarm(f);
 *             if (fault_hit(f, err))       it failed: what must hold now?
 *                     err = encode(...);   it must work when there is memory again
 *             ...                          is the result right?
 *     }
 *     fault_every("encodes", encodes, NULL);
 *
 * What has no way to report a lack of memory ends the process: fault_every_forked() allows that.
 *
 * Arming and disarming may be repeated; the count goes on. FAULT_NTH=n in the environment runs the n-th
 * alone. A failed check leaves the test; fault_teardown() then says which allocation it was.
 */
#ifndef PAXFS_TESTS_LIB_FAULT_EVERY_H
#define PAXFS_TESTS_LIB_FAULT_EVERY_H

#include <stdbool.h>

#define FAULT_RUNS_MAX 20000ul /* more are a scenario that does not get on */

struct fault {
	const char *name;
	void *ctx;
	unsigned long nth;  /* of the allocations while armed, from 1 */
	unsigned long left; /* until it is that one's turn */
	bool armed, fired;
};

typedef void fault_fn(struct fault *f);

/* Both do nothing without a @f: where the same code also runs outside of a scenario. */
void fault_arm(struct fault *f);    /* nor when it has fired */
void fault_disarm(struct fault *f); /* may be called twice */

/* For tests linked with --wrap=NAME: what they call by that name runs armed. @fault is a struct fault *
 * of the file. A call without a result, and one with. */
#define FAULT_WRAP(fault, name, parameters, arguments)                                             \
	void __real_##name parameters;                                                             \
	void __wrap_##name parameters;                                                             \
	void __wrap_##name parameters                                                              \
	{                                                                                          \
		fault_arm(fault);                                                                  \
		__real_##name arguments;                                                           \
		fault_disarm(fault);                                                               \
	}

#define FAULT_WRAP_RESULT(fault, type, name, parameters, arguments)                                \
	type __real_##name parameters;                                                             \
	type __wrap_##name parameters;                                                             \
	type __wrap_##name parameters                                                              \
	{                                                                                          \
		type result;                                                                       \
                                                                                                   \
		fault_arm(fault);                                                                  \
		result = __real_##name arguments;                                                  \
		fault_disarm(fault);                                                               \
		return result;                                                                     \
	}

bool fault_has_fired(const struct fault *f); /* also while armed */

/* @err is ERR_NOMEM: true, and it must have fired. Else @err must be 0, fired (it went on without the
 * memory) or not. Disarms. */
bool fault_hit(struct fault *f, int err);

/* How many allocations were made to fail; at least one, else the test fails. Prints it. */
unsigned long fault_every(const char *name, fault_fn *fn, void *ctx);

/* Only every @step-th one, for long scenarios. */
unsigned long fault_every_nth(const char *name, fault_fn *fn, void *ctx, unsigned long step);

/* Each run is a process of its own, which may also end itself: by abort(), with @why (NULL: "out of
 * memory") in what it wrote to stderr. Checks in it do not end the scenario, as on a fiber. */
unsigned long fault_every_forked(const char *name, fault_fn *fn, void *ctx, const char *why);

void fault_teardown(void);

#endif
