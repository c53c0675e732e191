/* Load for the tests that kill nodes, with its own checks. Reads commands from standard input, one a
 * line, answers each with one line.
 *
 *   fp_load ENDPOINTS [calm]   -> "ready"; `calm`: counters only, none of the rest
 *
 *   check      all stop between two operations; every counter must be what was acknowledged, in all
 *              groups the same; the two swapped files are whole; no lock, no prepared transaction stays;
 *              replicas are equal; then the load goes on -> "ok ..." or "BAD ..."
 *   mark       forgets the longest stall
 *   after      forgets how often each counter was added to
 *   stall      -> longest stall in ms since `mark` (also of an operation under way), and how often
 *              the slowest counter was added to since `after`
 *   leaders    -> GROUP:NODE ...
 *   aim N C|P  transactions are coordinated by a group that node N leads, or by one that it does not
 *   give G     the leader of group G hands over; `give *`: of every group
 *   floor      sessions are opened that last, and tell the floor of client ids
 *   quit
 */#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/system/fp_load.h"

/* ---- other commands ---- */

static void do_stall(struct load *l)
{
	uint64_t t = load_now(l), longest = l->stall_ns;
	const struct counter *all[] = {l->pairs, l->singles};
	const uint32_t counts[] = {PAIRS, SINGLES};
	uint64_t rounds = UINT64_MAX;

	for (uint32_t k = 0; k < 2; k++)
		for (uint32_t i = 0; i < counts[k]; i++) {
			uint64_t from = all[k][i].begun_ns;

			rounds = all[k][i].rounds < rounds ? all[k][i].rounds : rounds;
			if (from && from < l->marked_ns)
				from = l->marked_ns;
			if (from && t - from > longest)
				longest = t - from;
		}
	printf("%llu %llu\n", (unsigned long long)(longest / NS_PER_MS), (unsigned long long)rounds);
}

static void do_after(struct load *l)
{
	l->after_ns = load_now(l);
	for (uint32_t i = 0; i < PAIRS; i++)
		l->pairs[i].rounds = 0;
	for (uint32_t i = 0; i < SINGLES; i++)
		l->singles[i].rounds = 0;
	printf("after\n");
}

/* The node that leads @group by its own word; 0: none does. */
static uint32_t leader_of(struct load *l, uint32_t group)
{
	const struct kv_layout *map = kv_client_layout(l->client);
	uint32_t leader = 0;
	uint64_t ballot = 0;

	for (uint32_t i = 0; i < map->node_count; i++) {
		struct kv_node_status st;
		struct buf reply = BUF_INIT;
		int err = kv_client_admin(l->s->transport, l->env, map->nodes[i].address, KV_STATUS,
					  (struct slice){0}, CALL_NS / 2, &reply);

		if (!err)
			err = kv_node_status_decode(buf_slice(&reply), &st);
		buf_release(&reply);
		if (err)
			continue;
		for (uint32_t k = 0; k < st.group_count; k++)
			if (st.groups[k].group == group && st.groups[k].serving &&
			    st.groups[k].ballot > ballot) {
				leader = map->nodes[i].id;
				ballot = st.groups[k].ballot;
			}
		kv_node_status_release(&st);
	}
	return leader;
}

static void do_leaders(struct load *l)
{
	const struct kv_layout *map = kv_client_layout(l->client);

	for (uint32_t i = 0; i < map->group_count; i++)
		printf("%u:%u ", map->groups[i].id, leader_of(l, map->groups[i].id));
	printf("\n");
}

static void do_give(struct load *l, const char *which)
{
	const struct kv_layout *map = kv_client_layout(l->client);

	for (uint32_t i = 0; i < map->group_count; i++) {
		uint32_t id = map->groups[i].id, leader;
		struct buf q = BUF_INIT, reply = BUF_INIT;

		if (which[0] != '*' && (uint32_t)atoi(which) != id)
			continue;
		leader = leader_of(l, id);
		kv_group_request_encode(&q, id, (struct slice){0});
		if (leader)
			(void)kv_client_admin(l->s->transport, l->env, load_address_of(l, leader),
					      KV_HAND_OVER, buf_slice(&q), CALL_NS, &reply);
		buf_release(&q);
		buf_release(&reply);
	}
	printf("given\n");
}

/* -> "aimed", or "cannot" when the leaders are not so. */
static void do_aim(struct load *l, const char *args)
{
	uint32_t node = 0;
	char role = 0;
	bool lead, other = false;

	if (sscanf(args, "%u %c", &node, &role) != 2)
		node = 0;
	for (uint32_t i = 0; i < l->group_count; i++) {
		lead = leader_of(l, l->groups[i]) == node;
		if (lead == (role == 'C'))
			l->home = i;
		else
			other = true;
	}
	lead = leader_of(l, l->groups[l->home]) == node;
	printf("%s\n", other && lead == (role == 'C') ? "aimed" : "cannot");
}
static void command(struct load *l, const char *line)
{
	if (strcmp(line, "check") == 0) {
		load_check(l);
	} else if (strcmp(line, "mark") == 0) {
		l->stall_ns = l->ops = 0;
		l->marked_ns = load_now(l);
		printf("marked\n");
	} else if (strcmp(line, "after") == 0) {
		do_after(l);
	} else if (strcmp(line, "stall") == 0) {
		do_stall(l);
	} else if (strcmp(line, "leaders") == 0) {
		do_leaders(l);
	} else if (strncmp(line, "aim ", 4) == 0) {
		do_aim(l, line + 4);
	} else if (strncmp(line, "give ", 5) == 0) {
		do_give(l, line + 5);
	} else if (strcmp(line, "floor") == 0) {
		for (uint32_t i = 0; i < 6; i++)
			load_spawn(l, load_floor_main, l);
		printf("floor\n");
	} else {
		load_end(l);
		l->stop = true;
		printf("bye\n");
	}
	fflush(stdout);
}
/* The next whole line of standard input; false at its end. */
static bool next_line(struct load *l, char *line, size_t size)
{
	size_t len = 0;

	while (len + 1 < size) {
		struct pollfd p = {.fd = 0, .events = POLLIN};

		if (poll(&p, 1, 0) == 0) {
			(void)fiber_sleep(2 * NS_PER_MS);
			continue;
		}
		if (read(0, line + len, 1) != 1)
			return false;
		if (line[len] == '\n')
			break;
		len++;
	}
	line[len] = '\0';
	(void)l;
	return true;
}

static int run(struct cli_session *s, void *ctx)
{
	struct load *l = ctx;
	char line[64];
	int err;

	l->s = s;
	l->env = loop_env(s->loop);
	err = load_prepare(l);
	if (err)
		return cli_error(CLI_FAILED, "load: %s", err_text(err));
	load_start(l);
	puts("ready");
	fflush(stdout);
	while (!l->stop && next_line(l, line, sizeof(line)))
		command(l, line);
	_exit(l->bad[0] != 0); /* operations may be under way in a store that is down */
}

int main(int argc, char **argv)
{
	static struct load l;
	struct cli_client_options o;

	if (argc < 2) {
		fputs("usage: fp_load ENDPOINTS [calm]\n", stderr);
		return 2;
	}
	cli_client_options_init(&o);
	o.endpoints = mem_must_strdup(argv[1]);
	l.calm = argc > 2;
	return cli_run(&o, CLI_NO_CLIENT, run, &l);
}
