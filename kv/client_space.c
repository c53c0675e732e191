/* How much room the cluster has: of the disks that its nodes' data lies on, by what the nodes say. */
#include "base/err.h"
#include "base/mem.h"
#include "kv/client_internal.h"

struct disk {
	bool known;
	uint64_t id, total, free;
};

struct space_call {
	struct kv_client *c;
	struct kv_layout_node *nodes; /* a copy: the layout may change while we wait */
	struct disk *disks;	      /* one a node */
};

static int ask_node(void *ctx, uint32_t i)
{
	struct space_call *s = ctx;
	struct kv_node_status status;
	struct buf reply = BUF_INIT;
	int err = kv_client_admin(s->c->cfg.transport, s->c->cfg.env, s->nodes[i].address, KV_STATUS,
				  (struct slice){0}, SPACE_NS, &reply);

	if (!err)
		err = kv_node_status_decode(buf_slice(&reply), &status);
	buf_release(&reply);
	if (err == ERR_INTERRUPTED)
		return err;
	if (err)
		return 0; /* a node that is down: what the others have is told */
	s->disks[i] = (struct disk){.known = true,
				    .id = status.disk_id,
				    .total = status.disk_total,
				    .free = status.disk_free};
	kv_node_status_release(&status);
	return 0;
}

/* Nodes on one disk share it. */
static bool counted(const struct disk *disks, uint32_t i)
{
	for (uint32_t j = 0; j < i; j++)
		if (disks[j].known && disks[j].id == disks[i].id)
			return true;
	return false;
}

/* Every byte is stored by all members of a group; data groups have equally many. */
static uint64_t replicas(const struct kv_layout *l)
{
	uint64_t n = 1;

	for (uint32_t i = 0; i < l->group_count; i++)
		n = l->groups[i].member_count > n ? l->groups[i].member_count : n;
	return n;
}

int kv_client_space(struct kv_client *c, struct kv_space *out)
{
	uint32_t n = c->layout.node_count;
	struct space_call s = {.c = c};
	struct kv_space sum = {0};
	int err;

	s.nodes = mem_must_alloc(sizeof(*s.nodes) * (n + 1));
	s.disks = mem_must_alloc(sizeof(*s.disks) * (n + 1));
	memcpy(s.nodes, c->layout.nodes, sizeof(*s.nodes) * n);
	err = kv__fan_out(c, n, ask_node, &s);
	for (uint32_t i = 0; i < n; i++) {
		if (!s.disks[i].known || counted(s.disks, i))
			continue;
		sum.total += s.disks[i].total;
		sum.free += s.disks[i].free;
		sum.disks++;
	}
	mem_free(s.nodes);
	mem_free(s.disks);
	if (err)
		return err;
	if (sum.disks == 0)
		return ERR_UNREACHABLE;
	sum.total /= replicas(&c->layout);
	sum.free /= replicas(&c->layout);
	*out = sum;
	return 0;
}
