#include "tests/sim/sim_evict.h"

#include "base/err.h"
#include "kv/kv.h"
#include "net/loop.h"
#include "tests/sim/sim_cluster.h"

#define RETRY_NS (50 * NS_PER_MS)
#define TRIES	 200u

static struct sim_machine machine;
static struct sim_client_env env;
static uint64_t session;
static void (*done)(uint64_t session, bool closed);
static bool closed, busy;

static int close_session(struct kv_client *c)
{
	int err = kv_client_evict(c, session);

	return err == ERR_NOT_FOUND ? 0 : err;
}

static int open_client(struct sim_client_env *e, struct kv_client **c)
{
	struct kv_client_config cfg = {.endpoints = sim_cluster.endpoints,
				       .transport = e->transport,
				       .env = loop_env(e->loop),
				       .fibers = loop_fibers(e->loop),
				       .timeout_ns = 5 * NS_PER_S,
				       .connect_timeout_ns = 5 * NS_PER_S,
				       .name = "evictor"};
	struct msg m = {""};

	return kv_client_open(&cfg, c, &m);
}

static void evict_fn(struct sim_client_env *e)
{
	struct kv_client *c = NULL;

	for (unsigned i = 0; i < TRIES && !closed; i++) {
		if (!c && open_client(e, &c) != 0)
			c = NULL;
		if (c && close_session(c) == 0)
			closed = true;
		else
			fiber_sleep(RETRY_NS);
	}
	if (c)
		kv_client_close(c);
}

static void on_exit_(struct sim_proc *p, const char *why)
{
	(void)p;
	(void)why;
	busy = false;
	done(session, closed);
}

bool sim_evict_busy(void)
{
	return busy;
}

void sim_evict(uint64_t id, void (*fn)(uint64_t session, bool closed))
{
	struct sim_proc *p;

	session = id;
	done = fn;
	closed = false;
	busy = true;
	env = (struct sim_client_env){.fn = evict_fn};
	sim_fault_note(SIM_FAULT_EVICTION);
	sim_machine_init(&machine, SIM_MACHINES_MAX - 2, NULL);
	p = sim_proc_start("evictor", &machine, sim_client_main, &env);
	p->on_exit = on_exit_;
}
