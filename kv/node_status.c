/* KV_STATUS: figures of the loop at once, those of the apply thread by one job per group; when that
 * thread does not answer in time, its last figures are given. */
#include <stdio.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "kv/node_internal.h"

#define KV_VERSION "0.1.0"

struct status_wait {
	TAILQ_ENTRY(status_wait) link;
	struct kv_node *node;
	struct kv_caller caller;
	struct env_timer timer;
	uint32_t jobs; /* that will still come back */
	bool answered;
};

static uint64_t rss_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	unsigned long size, resident = 0;

	if (!f)
		return 0;
	if (fscanf(f, "%lu %lu", &size, &resident) != 2)
		resident = 0;
	fclose(f);
	return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* ---- why a group lags or does not serve ---- */

static uint32_t members_up(const struct node_group *g)
{
	uint32_t up = 0;

	for (uint32_t i = 0; i < g->layout->member_count; i++) {
		uint32_t id = g->layout->members[i];
		struct node_peer *p = kv__peer(g->node, id);

		up += id == g->node->cfg.id || (p && p->up);
	}
	return up;
}

static void make_note(const struct node_group *g, const struct paxos_status *s,
		      uint64_t oldest_write_ns, char *out, size_t size)
{
	uint64_t lag = s->commit > s->applied ? s->commit - s->applied : 0;
	const char *why;

	out[0] = '\0';
	if (kv_replica_refused(g->replica, &why)) {
		snprintf(out, size, "does not serve: %s", why);
		return;
	}
	kv__fetch_note(g, lag, out, size);
	if (out[0])
		return;
	if (oldest_write_ns > KV_STALL_NS)
		snprintf(out, size, "the disk stalls: a log write is %llu ms old",
			 (unsigned long long)(oldest_write_ns / NS_PER_MS));
	else if (s->leader == 0)
		snprintf(out, size, "no leader known; %u of %u members reachable", members_up(g),
			 g->layout->member_count);
	else if (s->role == PAXOS_LEADER && !s->serving)
		snprintf(out, size, "elected, takes over at slot %llu",
			 (unsigned long long)s->last);
	else if (lag > 1000)
		snprintf(out, size, "behind by %llu slots", (unsigned long long)lag);
}

static void fill_group(const struct node_group *g, uint64_t oldest_write_ns,
		       struct kv_group_status *out)
{
	const struct tsm_stats *t = &g->stats.tsm;
	struct paxos_status s;

	kv_replica_status(g->replica, env_mono_ns(g->node->env), &s);
	*out = (struct kv_group_status){.group = g->id,
					.leader = s.leader,
					.role = (uint8_t)s.role,
					.serving = kv_replica_serving(g->replica),
					.ballot = s.ballot,
					.commit = s.commit,
					.applied = s.applied,
					.last = s.last,
					.log_start = s.log_start,
					.epoch = s.epoch,
					.keys = g->stats.keys,
					.bytes = g->stats.bytes,
					.prepared = t->prepared,
					.waiting = t->waiting + t->reads_waiting,
					.locks = t->locks,
					.commands = t->commands,
					.conflicts = t->conflicts,
					.deadlocks = t->deadlocks,
					.member_count = s.member_count};
	for (uint32_t i = 0; i < s.member_count; i++) {
		out->members[i] = s.members[i].node;
		out->member_accepted[i] = s.members[i].accepted;
		out->member_silent_ns[i] = s.members[i].silent_ns;
	}
	make_note(g, &s, oldest_write_ns, out->note, sizeof(out->note));
}

static void fill_node(struct kv_node *n, const struct wal_stats *w, struct kv_node_status *out)
{
	struct engine_stats e;
	struct net_stats net;

	engine_stats_get(n->engine, &e);
	net_stats_get(&net);
	*out = (struct kv_node_status){.node = n->cfg.id,
				       .version = KV_VERSION,
				       .pid = (uint64_t)getpid(),
				       .uptime_ns = env_mono_ns(n->env) - n->started_ns,
				       .rss_bytes = rss_bytes(),
				       .wal_bytes = w->bytes_live,
				       .engine_disk_bytes = e.disk_bytes,
				       .engine_memory_bytes = e.memory_bytes,
				       .sync_ns_last = w->sync_ns_last,
				       .sync_ns_max = w->sync_ns_max,
				       .frames_in = net.frames_in,
				       .frames_out = net.frames_out,
				       .bytes_in = net.bytes_in,
				       .bytes_out = net.bytes_out,
				       .bad_frames = net.bad_frames,
				       .group_count = n->group_count};
	kv__node_disk(n->dir.path, out);
	snprintf(out->address, sizeof(out->address), "%s", n->address);
}

static void answer(struct status_wait *w)
{
	struct kv_node *n = w->node;
	struct kv_node_status s;
	struct wal_stats ws;
	struct buf b = BUF_INIT;

	w->answered = true;
	env_timer_cancel(n->env, &w->timer);
	wal_stats_get(n->wal, &ws);
	fill_node(n, &ws, &s);
	s.groups = mem_must_alloc(sizeof(*s.groups) * (n->group_count + 1));
	for (uint32_t i = 0; i < n->group_count; i++)
		fill_group(n->list[i], ws.oldest_write_ns, &s.groups[i]);
	kv_node_status_encode(&b, &s);
	kv__answer(n, &w->caller, buf_ok(&b) ? 0 : ERR_NOMEM, 0, buf_slice(&b));
	kv_node_status_release(&s);
	buf_release(&b);
}

static void end_if_over(struct status_wait *w)
{
	if (w->jobs > 0 || !w->answered)
		return;
	TAILQ_REMOVE(&w->node->status_waits, w, link);
	w->node->status_count--;
	mem_free(w);
}

static void on_timer(struct env_timer *t)
{
	struct status_wait *w = container_of(t, struct status_wait, timer);

	answer(w);
	end_if_over(w);
}

static void job_done(struct kv_job *job)
{
	struct status_wait *w = job->ctx;
	struct node_group *g = kv_replica_user(job->owner);

	if (!job->err)
		g->stats = job->stats;
	w->jobs--;
	if (w->jobs == 0 && !w->answered)
		answer(w);
	end_if_over(w);
}

static void ask_group(struct status_wait *w, struct node_group *g, uint64_t now_ns)
{
	struct kv_job *job = kv_job_new(KV_JOB_STATS, g->apply);

	job->owner = g->replica;
	job->flag = g->estimated_ns == 0 || now_ns - g->estimated_ns > KV_ESTIMATE_NS;
	if (job->flag)
		g->estimated_ns = now_ns;
	job->done = job_done;
	job->ctx = w;
	w->jobs++;
	kv__node_schedule(w->node, job);
}

void kv__status_request(struct kv_node *n, const struct kv_caller *c)
{
	struct status_wait *w;
	uint64_t now = env_mono_ns(n->env);

	if (n->status_count >= KV_STATUS_WAITS_MAX) {
		kv__answer(n, c, ERR_BUSY, 0, (struct slice){0});
		return;
	}
	w = mem_must_alloc(sizeof(*w));
	n->status_count++;
	w->node = n;
	w->caller = *c;
	w->timer.fire = on_timer;
	TAILQ_INSERT_TAIL(&n->status_waits, w, link);
	for (uint32_t i = 0; i < n->group_count; i++)
		ask_group(w, n->list[i], now);
	if (w->jobs == 0) {
		answer(w);
		end_if_over(w);
		return;
	}
	env_timer_set(n->env, &w->timer, now + KV_STATUS_WAIT_NS);
}

/* The apply thread has given back all jobs: nobody is left but for those not answered. */
void kv__status_free(struct kv_node *n)
{
	struct status_wait *w;

	while ((w = TAILQ_FIRST(&n->status_waits)) != NULL) {
		env_timer_cancel(n->env, &w->timer);
		TAILQ_REMOVE(&n->status_waits, w, link);
		mem_free(w);
	}
}
