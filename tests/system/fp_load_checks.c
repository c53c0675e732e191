/* What fp_load checks between two operations: counters, files, locks, replicas. */
#include "tests/system/fp_load.h"

#include <stdio.h>

/* ---- checks ---- */

static void check_counter(struct load *l, enum what what, const struct counter *c, uint64_t low,
			  uint64_t high)
{
	uint64_t first = 0;

	for (uint32_t g = 0; g < l->group_count; g++) {
		uint64_t v = 0;
		int err = load_get(l, what, g, what == KEY_RIVAL ? 0 : c->index, &v);

		if (err)
			load_bad(l, "read back, group %u: %s", l->groups[g], err_text(err));
		else if (v < low || v > high)
			load_bad(l, "kind %d counter %u in group %u: %llu, not %llu to %llu",
				 (int)what, c->index, l->groups[g], (unsigned long long)v,
				 (unsigned long long)low, (unsigned long long)high);
		if (g == 0)
			first = v;
		else if (v != first)
			load_bad(l, "kind %d counter %u: %llu in group %u, %llu in group %u",
				 (int)what, c->index, (unsigned long long)first, l->groups[0],
				 (unsigned long long)v, l->groups[g]);
	}
}

static void check_counters(struct load *l)
{
	uint64_t acked = 0, unknown = 0;

	for (uint32_t i = 0; i < PAIRS; i++)
		check_counter(l, KEY_PAIR, &l->pairs[i], l->pairs[i].acked[0], l->pairs[i].acked[0]);
	for (uint32_t i = 0; i < RIVALS; i++) {
		acked += l->rivals[i].acked[0];
		unknown += l->rivals[i].unknown;
	}
	if (!l->calm)
		check_counter(l, KEY_RIVAL, &l->rivals[0], acked, acked + unknown);
	for (uint32_t i = 0; i < SINGLES; i++)
		for (uint32_t g = 0; g < l->group_count; g++) {
			uint64_t v = 0;
			int err = load_get(l, KEY_SINGLE, g, i, &v);

			if ((err && err != ERR_NOT_FOUND) || v != l->singles[i].acked[g])
				load_bad(l, "single %u in group %u: %llu, acknowledged %llu (%s)",
					 i, l->groups[g], (unsigned long long)v,
					 (unsigned long long)l->singles[i].acked[g],
				    err_text(err));
		}
}

const char *load_address_of(struct load *l, uint32_t node)
{
	return kv_layout_node(kv_client_layout(l->client), node)->address;
}

/* "" when nothing is locked or prepared anywhere. */
static void look_for_locks(struct load *l, char *why, size_t size)
{
	const struct kv_layout *map = kv_client_layout(l->client);

	why[0] = '\0';
	for (uint32_t i = 0; i < map->node_count; i++) {
		struct kv_node_status st;
		struct buf reply = BUF_INIT;
		uint32_t id = map->nodes[i].id;
		int err = kv_client_admin(l->s->transport, l->env, map->nodes[i].address, KV_STATUS,
					  (struct slice){0}, CALL_NS, &reply);

		if (!err)
			err = kv_node_status_decode(buf_slice(&reply), &st);
		buf_release(&reply);
		if (err) {
			snprintf(why, size, "status of node %u: %s", id, err_text(err));
			continue;
		}
		for (uint32_t k = 0; k < st.group_count; k++)
			if (st.groups[k].locks || st.groups[k].prepared || st.groups[k].waiting)
				snprintf(why, size,
					 "node %u, group %u: %llu locks, %llu prepared, %llu wait",
					 id, st.groups[k].group, (unsigned long long)st.groups[k].locks,
					 (unsigned long long)st.groups[k].prepared,
					 (unsigned long long)st.groups[k].waiting);
		kv_node_status_release(&st);
	}
}

static int checksum(struct load *l, uint32_t node, uint32_t group, uint64_t *slot, uint64_t *crc)
{
	struct buf q = BUF_INIT, reply = BUF_INIT;
	struct dec d;
	int err;

	kv_group_request_encode(&q, group, (struct slice){0});
	err = kv_client_admin(l->s->transport, l->env, load_address_of(l, node), KV_CHECKSUM,
			      buf_slice(&q), CALL_NS, &reply);
	if (!err) {
		dec_init(&d, buf_slice(&reply));
		*slot = dec_u64(&d);
		*crc = dec_u64(&d);
		err = dec_end(&d);
	}
	buf_release(&q);
	buf_release(&reply);
	return err;
}

/* "" when all replicas of all groups are at the same slot and equal. Unequal ones at the same slot are
 * bad at once: that never passes. */
static void compare_replicas(struct load *l, char *why, size_t size)
{
	const struct kv_layout *map = kv_client_layout(l->client);

	why[0] = '\0';
	for (uint32_t i = 0; i < map->group_count; i++) {
		const struct kv_layout_group *g = &map->groups[i];
		uint64_t slot[8] = {0}, crc[8] = {0};

		for (uint32_t k = 0; k < g->member_count; k++) {
			int err = checksum(l, g->members[k], g->id, &slot[k], &crc[k]);

			if (err)
				snprintf(why, size, "checksum of group %u at node %u: %s", g->id,
					 g->members[k], err_text(err));
			for (uint32_t j = 0; !err && j < k; j++) {
				if (slot[j] == slot[k] && crc[j] != crc[k])
					load_bad(l, "group %u differs at nodes %u, %u, slot %llu",
						 g->id, g->members[j], g->members[k],
						 (unsigned long long)slot[k]);
				if (slot[j] != slot[k])
					snprintf(why, size, "group %u is at slot %llu and %llu",
						 g->id, (unsigned long long)slot[j],
						 (unsigned long long)slot[k]);
			}
		}
	}
}

static void settle(struct load *l, void (*look)(struct load *l, char *why, size_t size))
{
	uint64_t limit = load_now(l) + SETTLE_NS;
	char why[160];

	for (;;) {
		look(l, why, sizeof(why));
		if (!why[0])
			return;
		if (load_now(l) >= limit) {
			load_bad(l, "%s", why);
			return;
		}
		(void)fiber_sleep(SETTLE_STEP);
	}
}

static void look_at_busy(struct load *l, char *why, size_t size)
{
	why[0] = '\0';
	if (l->busy)
		snprintf(why, size, "%u operations do not end", l->busy);
}

void load_check(struct load *l)
{
	uint64_t t0 = load_now(l);

	l->paused = true;
	settle(l, look_at_busy);
	if (!l->bad[0])
		check_counters(l);
	if (!l->bad[0] && !l->calm)
		load_check_files(l);
	if (!l->bad[0])
		settle(l, look_for_locks);
	if (!l->bad[0])
		settle(l, compare_replicas);
	l->paused = false;
	if (l->bad[0])
		printf("BAD %s\n", l->bad);
	else
		printf("ok ops %llu settle_ms %llu\n", (unsigned long long)l->ops,
		       (unsigned long long)((load_now(l) - t0) / NS_PER_MS));
}

void load_end(struct load *l)
{
	l->paused = true;
	settle(l, look_at_busy);
	kv_client_close(l->client);
}
