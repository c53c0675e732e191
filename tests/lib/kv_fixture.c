#include "tests/lib/kv_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/logger.h"
#include "base/mem.h"
#include "tests/lib/check.h"

#ifdef __SANITIZE_ADDRESS__
int __lsan_do_recoverable_leak_check(void);
#endif

#define ATTEMPT_NS (500 * NS_PER_MS)
#define PAUSE_NS   (5 * NS_PER_MS)

/* ---- a node's process ---- */

struct child {
	struct loop *loop;
	struct kv_node *node;
};

static void on_stopped(void *ctx)
{
	struct child *c = ctx;

	loop_stop(c->loop);
}

static void on_term(void *ctx, int signum)
{
	struct child *c = ctx;

	(void)signum;
	kv_node_stop(c->node, 500 * NS_PER_MS, on_stopped, c);
}

static void tell(int fd, int code, const char *text)
{
	char line[MSG_SIZE + 32];
	int n = snprintf(line, sizeof(line), "%d %s\n", code, text);

	if (write(fd, line, (size_t)n) != n)
		_exit(3);
	close(fd);
}

static int child_main(const struct kv_node_config *cfg, int fd)
{
	struct child c = {0};
	struct loop_signal *term = NULL;
	struct msg m = {""};
	int err;

	if (loop_new(&c.loop, &m) != 0)
		return 2;
	err = loop_signal_new(c.loop, SIGTERM, on_term, &c, &term);
	if (!err)
		err = kv_node_start(cfg, c.loop, &c.node, &m);
	tell(fd, err, err ? m.text : kv_node_address(c.node));
	if (!err)
		loop_run(c.loop);
	kv_node_free(c.node);
	loop_signal_free(term);
	loop_free(c.loop);
#ifdef __SANITIZE_ADDRESS__
	if (__lsan_do_recoverable_leak_check() != 0)
		return 4;
#endif
	return 0;
}

/* What a child is told: its configuration and where to log, as words. A child is this program again, run
 * afresh: a forked libuv has descriptors and threads of its parent's. */
#define CHILD_VARIABLE "PAXFS_KVF_NODE"
#define CHILD_FD       3

static const char *word(const char *s)
{
	return s ? s : "-";
}

static _Noreturn void child_process(const struct kv_node_config *cfg, int pipe_fd,
				    const char *log_path)
{
	char text[2048];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(text, sizeof(text), "%u %s %s %s %s %s %llu %llu %d %llu %llu %u", cfg->id,
		 log_path, cfg->listen, word(cfg->advertise), cfg->dir, word(cfg->join),
		 (unsigned long long)cfg->memory_bytes, (unsigned long long)cfg->log_bytes,
		 cfg->leases, (unsigned long long)cfg->flush_bytes,
		 (unsigned long long)cfg->retain_bytes, cfg->segment_bytes);
	if (setenv(CHILD_VARIABLE, text, 1) != 0 || dup2(pipe_fd, CHILD_FD) != CHILD_FD ||
	    fcntl(CHILD_FD, F_SETFD, 0) != 0 || close_range(CHILD_FD + 1, ~0u, 0) != 0)
		_exit(3);
	execl("/proc/self/exe", "kvf-node", (char *)NULL);
	_exit(3);
}

static const char *unword(const char *s)
{
	return strcmp(s, "-") != 0 ? s : NULL;
}

/* Before main(): is this a child? */
__attribute__((constructor)) static void run_as_child(void)
{
	const char *text = getenv(CHILD_VARIABLE);
	struct kv_node_config cfg;
	char listen[256], advertise[256], dir[256], join[512], log_path[256], tag[32];
	unsigned long long memory, log, flush, retain;
	int leases;

	if (!text)
		return;
	kv_node_config_default(&cfg);
	if (sscanf(text, "%u %255s %255s %255s %255s %511s %llu %llu %d %llu %llu %u", &cfg.id,
		   log_path, listen, advertise, dir, join, &memory, &log, &leases, &flush, &retain,
		   &cfg.segment_bytes) != 12)
		_exit(3);
	cfg.listen = listen;
	cfg.advertise = unword(advertise);
	cfg.dir = dir;
	cfg.join = unword(join);
	cfg.memory_bytes = memory;
	cfg.log_bytes = log;
	cfg.leases = leases != 0;
	cfg.flush_bytes = flush;
	cfg.retain_bytes = retain;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(tag, sizeof(tag), "node=%u", cfg.id);
	logger_set_tag(tag);
	if (!freopen(log_path, "a", stderr) || logger_open(log_path, NULL) != 0)
		_exit(3);
	_exit(child_main(&cfg, CHILD_FD));
}

/* "code text" from the child; ERR_CLOSED when it died without a word. */
static int read_verdict(int fd, char *text, size_t size)
{
	char line[MSG_SIZE + 32];
	size_t len = 0;
	char *space;

	for (;;) {
		ssize_t n = read(fd, line + len, sizeof(line) - 1 - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	line[len] = '\0';
	line[strcspn(line, "\n")] = '\0';
	space = strchr(line, ' ');
	if (!space)
		return ERR_CLOSED;
	snprintf(text, size, "%s", space + 1);
	return atoi(line);
}

int kvf_start(struct kvf *f, uint32_t id)
{
	struct kvf_node *n = &f->nodes[id];
	struct kv_node_config cfg = f->cfg;
	char log_path[160];
	int fds[2], err;

	cfg.id = id;
	cfg.dir = n->dir;
	cfg.listen = n->address[0] ? n->address : "127.0.0.1:0";
	snprintf(log_path, sizeof(log_path), "%s.log", n->dir);
	if (pipe(fds) != 0)
		abort();
	fflush(NULL);
	n->pid = fork();
	if (n->pid == 0)
		child_process(&cfg, fds[1], log_path);
	close(fds[1]);
	err = read_verdict(fds[0], f->error.text, sizeof(f->error.text));
	close(fds[0]);
	if (err) {
		waitpid(n->pid, NULL, 0);
		n->pid = 0;
		return err;
	}
	snprintf(n->address, sizeof(n->address), "%.63s", f->error.text);
	return 0;
}

void kvf_signal(struct kvf *f, uint32_t id, int signum)
{
	if (f->nodes[id].pid)
		kill(f->nodes[id].pid, signum);
}

void kvf_kill(struct kvf *f, uint32_t id)
{
	struct kvf_node *n = &f->nodes[id];

	if (!n->pid)
		return;
	kill(n->pid, SIGKILL);
	waitpid(n->pid, NULL, 0);
	n->pid = 0;
}

int kvf_stop(struct kvf *f, uint32_t id)
{
	struct kvf_node *n = &f->nodes[id];
	int status = -1;

	kill(n->pid, SIGTERM);
	waitpid(n->pid, &status, 0);
	n->pid = 0;
	return status;
}

/* All signals first: as a power cut of the whole room. */
void kvf_kill_all(struct kvf *f)
{
	for (uint32_t id = 1; id <= f->count; id++)
		kvf_signal(f, id, SIGKILL);
	for (uint32_t id = 1; id <= f->count; id++)
		kvf_kill(f, id);
}

void kvf_start_all(struct kvf *f)
{
	for (uint32_t id = 1; id <= f->count; id++) {
		int err = f->nodes[id].pid ? 0 : kvf_start(f, id);

		if (err)
			check_fail(CHECK_AT("kvf_start"), "node %u: %s: %s", id, err_name(err),
				   f->error.text);
	}
}

/* ---- the cluster ---- */

static void run_tool(const char *tool, const char *flag, const char *a, const char *b)
{
	pid_t pid = fork();

	if (pid == 0) {
		execlp(tool, tool, flag, a, b, (char *)NULL);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
}

void kvf_remove(const char *path)
{
	run_tool("rm", "-rf", path, NULL);
}

void kvf_copy(const char *from, const char *to)
{
	run_tool("cp", "-r", from, to);
}

void kvf_open(struct kvf *f, unsigned nodes, const struct kv_node_config *cfg)
{
	memset(f, 0, sizeof(*f));
	snprintf(f->root, sizeof(f->root), "/tmp/paxfs-kv-XXXXXX");
	if (!mkdtemp(f->root) || nodes > KVF_NODES_MAX)
		abort();
	kv_node_config_default(&f->cfg);
	if (cfg)
		f->cfg = *cfg;
	if (!f->cfg.segment_bytes)
		f->cfg.segment_bytes = 1024 * 1024; /* written at start: small is quick */
	f->count = nodes;
	for (uint32_t id = 1; id <= nodes; id++) {
		f->nodes[id].id = id;
		snprintf(f->nodes[id].dir, sizeof(f->nodes[id].dir), "%s/n%u", f->root, id);
	}
	kvf_start_all(f);
	if (loop_new(&f->loop, NULL) != 0 || kv_transport_net_new(f->loop, &f->transport) != 0)
		abort();
}

static void show_logs(struct kvf *f)
{
	for (uint32_t id = 1; id <= f->count; id++) {
		char path[160];

		snprintf(path, sizeof(path), "%s.log", f->nodes[id].dir);
		run_tool("tail", "-n40", path, NULL);
	}
}

void kvf_close(struct kvf *f)
{
	static unsigned shown;

	kvf_kill_all(f);
	kv_transport_net_free(f->transport);
	loop_free(f->loop);
	if (f->has_layout)
		kv_layout_release(&f->layout);
	if (check_failures() > shown) {
		shown = check_failures();
		show_logs(f);
	}
	kvf_remove(f->root);
}

static void story_main(void *arg)
{
	struct kvf *f = arg;

	f->story(f);
	loop_stop(f->loop);
}

void kvf_run(struct kvf *f, void (*story)(struct kvf *f))
{
	f->story = story;
	if (fiber_start(loop_fibers(f->loop), story_main, f) != 0)
		abort();
	loop_run(f->loop);
}

/* ---- calls ---- */

static uint64_t now_ns(struct kvf *f)
{
	return env_mono_ns(loop_env(f->loop));
}

int kvf_call(struct kvf *f, uint32_t id, uint8_t type, struct slice body, uint64_t timeout_ns,
	     struct buf *reply, uint32_t *leader)
{
	struct buf raw = BUF_INIT;
	struct kv_envelope e = {0};
	int err = f->transport->call(f->transport, f->nodes[id].address, type, &body, 1,
				     now_ns(f) + timeout_ns, &raw);

	if (!err)
		err = kv_envelope_decode(buf_slice(&raw), &e);
	if (!err) {
		err = e.err;
		if (leader)
			*leader = e.leader;
		if (reply && buf_set(reply, e.body) != 0)
			abort();
	}
	buf_release(&raw);
	return err;
}

/* Retried over the group's members until one accepts it. */
static int call_leader(struct kvf *f, uint32_t group, uint8_t type, struct slice body,
		       struct buf *reply)
{
	uint64_t deadline = now_ns(f) + KVF_DEADLINE_NS;
	uint32_t next = f->leader[group] ? f->leader[group] : 1;

	for (;;) {
		uint32_t hint = 0, id = next;
		int err = f->nodes[id].pid
				  ? kvf_call(f, id, type, body, ATTEMPT_NS, reply, &hint)
				  : ERR_UNREACHABLE;

		if (err == 0) {
			f->leader[group] = id;
			return 0;
		}
		if (err != ERR_NOT_LEADER && err != ERR_BUSY && err != ERR_TIMEOUT &&
		    err != ERR_CLOSED && err != ERR_UNREACHABLE && err != ERR_NOT_READY &&
		    err != ERR_AMNESIA)
			return err;
		if (now_ns(f) > deadline)
			return ERR_TIMEOUT;
		if (err == ERR_NOT_LEADER && hint && hint != id && hint <= f->count) {
			next = hint;
			continue;
		}
		next = id % f->count + 1;
		fiber_sleep(PAUSE_NS);
	}
}

int kvf_init(struct kvf *f, uint32_t groups, uint32_t replicas)
{
	static const uint8_t cluster[KV_CLUSTER_ID_SIZE] = "kv-fixture";
	struct kv_layout_node nodes[KVF_NODES_MAX];
	struct buf body = BUF_INIT;
	struct msg m;
	int err;

	for (uint32_t i = 0; i < f->count; i++) {
		nodes[i] = (struct kv_layout_node){.id = i + 1};
		snprintf(nodes[i].address, sizeof(nodes[i].address), "%s", f->nodes[i + 1].address);
	}
	err = kv_layout_make(&f->layout, cluster, nodes, f->count, groups, replicas, &m);
	f->has_layout = err == 0;
	if (!err)
		kv_layout_encode(&body, &f->layout);
	for (uint32_t id = 1; !err && id <= f->count; id++)
		err = kvf_call(f, id, KV_INIT, buf_slice(&body), KVF_DEADLINE_NS, NULL, NULL);
	buf_release(&body);
	return err;
}

int kvf_open_client(struct kvf *f)
{
	struct buf reply = BUF_INIT;
	struct dec d;
	int err = call_leader(f, 0, KV_OPEN, (struct slice){0}, &reply);

	if (!err) {
		dec_init(&d, buf_slice(&reply));
		f->client = dec_u64(&d);
		f->sequence = 0;
		err = dec_end(&d);
	}
	buf_release(&reply);
	return err;
}

static int route(void *ctx, struct slice key, struct slice to, uint32_t *group)
{
	struct kvf *f = ctx;
	struct slice end;

	if (to.len)
		return kv_layout_range_group(&f->layout, key, to, group, &end);
	*group = kv_layout_group_of(&f->layout, key);
	return 0;
}

/* The group of the first mutation coordinates: its part goes first. */
static void home_first(struct kvf *f, struct slice home, struct txn_part *parts, uint32_t n)
{
	uint32_t group = kv_layout_group_of(&f->layout, home);

	for (uint32_t i = 1; i < n; i++) {
		if (parts[i].group == group) {
			struct txn_part p = parts[0];

			parts[0] = parts[i];
			parts[i] = p;
		}
	}
}

static int send_parts(struct kvf *f, uint8_t type, uint32_t group, struct slice bytes,
		      struct txn_result *r)
{
	struct buf body = BUF_INIT, reply = BUF_INIT;
	int err;

	kv_group_request_encode(&body, group, bytes);
	err = call_leader(f, group, type, buf_slice(&body), &reply);
	if (!err)
		err = txn_result_merge(r, buf_slice(&reply));
	buf_release(&body);
	buf_release(&reply);
	return err ? err : r->status;
}

int kvf_exec(struct kvf *f, const struct txn_mini *m, struct txn_result *r)
{
	struct txn_part *parts = mem_must_alloc(sizeof(*parts) * TXN_GROUPS_MAX);
	struct buf request = BUF_INIT;
	struct tsm_request q = {.client = f->client, .parts = parts};
	int err = f->client ? 0 : kvf_open_client(f);

	if (!err)
		err = txn_split(m, route, f, parts, &q.part_count);
	if (!err) {
		q.client = f->client;
		q.sequence = ++f->sequence;
		q.mark = q.sequence - 1;
		q.age = env_wall_ns(loop_env(f->loop));
		q.home = m->muts[0].key;
		home_first(f, q.home, parts, q.part_count);
		tsm_request_encode(&q, &request);
		txn_result_prepare(r, m);
		err = send_parts(f, KV_EXEC, parts[0].group, buf_slice(&request), r);
		txn_parts_release(parts, q.part_count);
	}
	buf_release(&request);
	mem_free(parts);
	return err;
}

void kvf_part(struct kvf *f, const struct txn_mini *m, struct buf *out)
{
	struct txn_part *parts = mem_must_alloc(sizeof(*parts) * TXN_GROUPS_MAX);
	uint32_t n = 0;

	if (txn_split(m, route, f, parts, &n) != 0 || n != 1)
		abort();
	buf_move(out, &parts[0].body);
	txn_parts_release(parts, n);
	mem_free(parts);
}

static struct slice first_key(const struct txn_mini *m)
{
	return m->read_count ? m->reads[0].key : m->conds[0].key;
}

int kvf_read(struct kvf *f, const struct txn_mini *m, struct txn_result *r)
{
	struct buf part = BUF_INIT;
	int err;

	kvf_part(f, m, &part);
	txn_result_prepare(r, m);
	err = send_parts(f, KV_READ, kv_layout_group_of(&f->layout, first_key(m)),
			 buf_slice(&part), r);
	buf_release(&part);
	return err;
}

int kvf_put(struct kvf *f, struct slice key, struct slice value)
{
	struct txn_mini m;
	struct txn_result r;
	int err;

	txn_mini_init(&m);
	txn_result_init(&r);
	txn_put(&m, key, value);
	err = kvf_exec(f, &m, &r);
	txn_result_release(&r);
	txn_mini_release(&m);
	return err;
}

int kvf_get(struct kvf *f, struct slice key, struct buf *value)
{
	struct txn_mini m;
	struct txn_result r;
	int err;

	txn_mini_init(&m);
	txn_result_init(&r);
	txn_get(&m, key);
	err = kvf_read(f, &m, &r);
	if (!err)
		err = r.reads[0].value.status;
	if (!err)
		err = buf_set(value, r.reads[0].value.value);
	txn_result_release(&r);
	txn_mini_release(&m);
	return err;
}

struct slice kvf_key(const struct kvf *f, uint32_t group, const char *name, uint8_t out[64])
{
	size_t len = strlen(name);
	uint16_t place = 0x8000;

	for (uint32_t i = 0; group && i < f->layout.shard_count; i++)
		if (f->layout.shards[i].group == group) {
			place = f->layout.shards[i].from_len ? be16_get(f->layout.shards[i].from)
							     : 0;
			break;
		}
	if (len > 53)
		abort();
	be16_put(out, place);
	be64_put(out + 2, (uint64_t)place << 48 | 5);
	out[10] = 'T';
	memcpy(out + 11, name, len);
	return slice_of(out, 11 + len);
}

/* ---- looking in ---- */

int kvf_status(struct kvf *f, uint32_t id, struct kv_node_status *out)
{
	struct buf reply = BUF_INIT;
	int err = kvf_call(f, id, KV_STATUS, (struct slice){0}, 2 * NS_PER_S, &reply, NULL);

	if (!err)
		err = kv_node_status_decode(buf_slice(&reply), out);
	buf_release(&reply);
	return err;
}

const struct kv_group_status *kvf_group(const struct kv_node_status *s, uint32_t group)
{
	for (uint32_t i = 0; i < s->group_count; i++)
		if (s->groups[i].group == group)
			return &s->groups[i];
	return NULL;
}

bool kvf_wait(struct kvf *f, bool (*cond)(struct kvf *f, void *ctx), void *ctx)
{
	uint64_t deadline = now_ns(f) + KVF_DEADLINE_NS;

	while (!cond(f, ctx)) {
		if (now_ns(f) > deadline)
			return false;
		fiber_sleep(PAUSE_NS);
	}
	return true;
}

struct leader_query {
	uint32_t group, leader;
};

static bool find_leader(struct kvf *f, void *ctx)
{
	struct leader_query *q = ctx;

	for (uint32_t id = 1; id <= f->count; id++) {
		const struct kv_group_status *g;
		struct kv_node_status s;

		if (!f->nodes[id].pid || kvf_status(f, id, &s) != 0)
			continue;
		g = kvf_group(&s, q->group);
		if (g && g->serving)
			q->leader = id;
		kv_node_status_release(&s);
		if (q->leader)
			return true;
	}
	return false;
}

uint32_t kvf_leader(struct kvf *f, uint32_t group)
{
	struct leader_query q = {.group = group};

	(void)kvf_wait(f, find_leader, &q);
	return q.leader;
}

static bool is_member(struct kvf *f, uint32_t group, uint32_t id)
{
	const struct kv_layout_group *g = kv_layout_group(&f->layout, group);

	for (uint32_t i = 0; i < g->member_count; i++)
		if (g->members[i] == id)
			return true;
	return false;
}

static int checksum(struct kvf *f, uint32_t id, uint32_t group, uint64_t *slot, uint64_t *crc)
{
	struct buf body = BUF_INIT, reply = BUF_INIT;
	struct dec d;
	int err;

	kv_group_request_encode(&body, group, (struct slice){0});
	err = kvf_call(f, id, KV_CHECKSUM, buf_slice(&body), 5 * NS_PER_S, &reply, NULL);
	if (!err) {
		dec_init(&d, buf_slice(&reply));
		*slot = dec_u64(&d);
		*crc = dec_u64(&d);
		err = dec_end(&d);
	}
	buf_release(&body);
	buf_release(&reply);
	return err;
}

static bool all_equal(struct kvf *f, void *ctx)
{
	uint32_t group = *(uint32_t *)ctx;
	uint64_t slot = 0, crc = 0;
	bool first = true;

	for (uint32_t id = 1; id <= f->count; id++) {
		uint64_t s, c;

		if (!f->nodes[id].pid || !is_member(f, group, id))
			continue;
		if (checksum(f, id, group, &s, &c) != 0)
			return false;
		if (!first && (s != slot || c != crc))
			return false;
		slot = s;
		crc = c;
		first = false;
	}
	return !first;
}

bool kvf_wait_equal(struct kvf *f, uint32_t group)
{
	return kvf_wait(f, all_equal, &group);
}
