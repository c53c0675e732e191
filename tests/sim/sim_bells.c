#include "tests/sim/sim_bells.h"

#include "base/bytes.h"
#include "base/check.h"
#include "base/err.h"
#include "base/fiber.h"
#include "kv/kv.h"
#include "tests/sim/sim.h"

#define WAIT_MAX_NS (20 * NS_PER_S)
#define LATE_NS	    (1 * NS_PER_S) /* for a cluster and a network without faults */
#define LISTENERS   2u /* in each client */
#define PAUSE_NS    (50 * NS_PER_MS)
#define KEY_KIND    'Z'

struct bell {
	uint64_t acked; /* the highest stamp of a ring that was acknowledged */
	uint64_t acked_ns;
	uint64_t count;
};

struct sim_bell_stats sim_bell_stats;
static struct bell bells[SIM_BELLS_MAX];

static struct slice key_of(uint32_t bell, uint8_t out[TXN_KEY_HEAD])
{
	uint64_t place = (bell * 104729ull + 5) % 0x8000;

	be16_put(out, (uint16_t)place);
	be64_put(out + 2, place << 48 | 0xbe11ull << 16 | (bell + 1));
	out[10] = KEY_KIND;
	return slice_of(out, TXN_KEY_HEAD);
}

static int ring(struct sim_bell_client *c, uint32_t bell)
{
	struct bell *b = &bells[bell];
	uint8_t key[TXN_KEY_HEAD], value[8];
	struct txn_mini m;
	struct txn_result r;
	int err;

	txn_mini_init(&m);
	txn_result_init(&r);
	le64_put(value, ++b->count);
	txn_put(&m, key_of(bell, key), slice_of(value, 8));
	err = txn_exec(kv_client_executor(c->kv), &m, &r);
	sim_note("bell %u: rung: %s", bell, err_text(err));
	if (!err && r.stamp > b->acked) {
		b->acked = r.stamp;
		b->acked_ns = sim_now();
	}
	sim_bell_stats.rings += err == 0;
	txn_result_release(&r);
	txn_mini_release(&m);
	return err;
}

void sim_bell_ring(struct sim_bell_client *c)
{
	if (c->bells)
		(void)ring(c, (uint32_t)sim_below(c->bells));
}

void sim_bell_ring_last(struct sim_bell_client *c)
{
	for (uint32_t i = 0; i < c->bells; i++)
		while (ring(c, i) != 0)
			(void)fiber_sleep(PAUSE_NS);
	c->rung = true;
}

struct listener {
	const struct sim_bell_client *c;
	uint32_t bell;
	uint64_t version; /* as heard last */
};

/* In the end a minority of the nodes is frozen, in any case. */
static bool no_faults(const struct listener *l)
{
	if (*l->c->stop)
		return false;
	for (unsigned i = 0; i < SIM_FAULT_COUNT; i++)
		if (sim_fault_count(i))
			return false;
	return true;
}

static void judge_news(const struct listener *l, uint64_t now, uint64_t acked)
{
	if (now == l->version)
		sim_violation("bell %u: a watch returned the version that it was given", l->bell);
	if (now < l->version)
		sim_violation("bell %u: a watch went back from version %llu to %llu", l->bell,
			      (unsigned long long)l->version, (unsigned long long)now);
	if (now < acked)
		sim_violation("bell %u: a watch saw version %llu, and a write of %llu was "
			      "acknowledged before it began",
			      l->bell, (unsigned long long)now, (unsigned long long)acked);
}

/* It ran out: was there nothing to tell? Without faults, what was acknowledged a while ago is heard. */
static void judge_silence(const struct listener *l, uint64_t begin_ns, uint64_t wait_ns)
{
	const struct bell *b = &bells[l->bell];

	if (sim_now() - begin_ns < wait_ns / 2) /* the client's clock is another */
		sim_violation("bell %u: a watch gave up early", l->bell);
	if (b->acked > l->version && sim_now() - b->acked_ns > LATE_NS && no_faults(l))
		sim_violation("bell %u: nobody told of a write for %.3f s", l->bell,
			      (double)(sim_now() - b->acked_ns) / NS_PER_S);
}

static void listen_once(struct listener *l)
{
	const struct bell *b = &bells[l->bell];
	uint64_t begin = sim_now(), acked = b->acked, now = 0;
	uint64_t wait = sim_below(WAIT_MAX_NS);
	uint8_t key[TXN_KEY_HEAD];
	int err = kv_client_watch(l->c->kv, key_of(l->bell, key), l->version, wait, &now);
	uint64_t v[3] = {l->bell, now, (uint64_t)-err};

	sim_note("bell %u: %s, version %llu", l->bell, err_text(err), (unsigned long long)now);
	sim_hash(v, sizeof(v));
	if (err == ERR_TIMEOUT) {
		sim_bell_stats.timeouts++;
		judge_silence(l, begin, wait);
	} else if (err) {
		sim_violation("bell %u: a watch ended with %s", l->bell, err_text(err));
	} else {
		sim_bell_stats.heard++;
		judge_news(l, now, acked);
		if (begin > b->acked_ns && acked > l->version && sim_now() - begin > LATE_NS &&
		    no_faults(l))
			sim_violation("bell %u: a watch looked for %.3f s", l->bell,
				      (double)(sim_now() - begin) / NS_PER_S);
		if (acked < b->acked && now >= b->acked && sim_now() - b->acked_ns > LATE_NS &&
		    no_faults(l))
			sim_violation("bell %u: told of a write after %.3f s", l->bell,
				      (double)(sim_now() - b->acked_ns) / NS_PER_S);
		l->version = now;
	}
}

static bool is_over(const struct listener *l)
{
	return *l->c->stop && l->c->rung && l->version >= bells[l->bell].acked;
}

static void listen_fiber(void *arg)
{
	struct sim_bell_client *c = arg;
	struct listener l = {.c = c, .bell = (uint32_t)sim_below(c->bells)};

	while (!is_over(&l)) {
		listen_once(&l);
		if (!*c->stop && sim_chance(200000))
			l = (struct listener){.c = c, .bell = (uint32_t)sim_below(c->bells)};
		if (!*c->stop && sim_chance(300000))
			(void)fiber_sleep(sim_below(PAUSE_NS));
	}
	c->ended(c->ctx);
}

uint32_t sim_bell_listen(struct sim_bell_client *c, struct fiber_sched *fibers)
{
	uint32_t n = c->bells ? LISTENERS : 0;

	for (uint32_t i = 0; i < n; i++)
		CHECK(fiber_start(fibers, listen_fiber, c) == 0);
	return n;
}
