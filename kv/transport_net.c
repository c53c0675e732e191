/* The client's transport over TCP: one connection per node address, made on demand, kept. */
#include <uthash.h>

#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "kv/transport.h"
#include "net/net.h"

struct transport_peer {
	char *address; /* owned; the hash key */
	struct net_peer *peer;
	UT_hash_handle hh;
};

struct transport_net {
	struct kv_transport base;
	struct loop *loop;
	struct transport_peer *peers;
};

static void ignore_frame(void *ctx, struct net_conn *c, const struct net_frame *f)
{
	(void)ctx;
	(void)c;
	(void)f; /* servers send nothing unasked yet; replies are matched by net_call */
}

static int peer_of(struct transport_net *t, const char *address, struct net_peer **out)
{
	static const struct net_handler handler = {.on_frame = ignore_frame};
	struct transport_peer *p = NULL;
	int err;

	HASH_FIND_STR(t->peers, address, p);
	if (!p) {
		p = mem_must_alloc(sizeof(*p));
		err = net_peer_new(t->loop, address, &handler, &p->peer);
		if (err) {
			mem_free(p);
			return err;
		}
		p->address = mem_must_strdup(address);
		HASH_ADD_KEYPTR(hh, t->peers, p->address, strlen(p->address), p);
	}
	*out = p->peer;
	return 0;
}

static int transport_net_call(struct kv_transport *base, const char *address, uint8_t type,
			      const struct slice *parts, unsigned part_count, uint64_t deadline_ns,
			      struct buf *reply)
{
	struct transport_net *t = container_of(base, struct transport_net, base);
	struct net_peer *peer;
	int err = peer_of(t, address, &peer);

	if (err)
		return err;
	return net_call(peer, type, parts, part_count, deadline_ns, reply);
}

int kv_transport_net_new(struct loop *l, struct kv_transport **out)
{
	struct transport_net *t = mem_must_alloc(sizeof(*t));

	t->base.call = transport_net_call;
	t->loop = l;
	*out = &t->base;
	return 0;
}

void kv_transport_net_free(struct kv_transport *base)
{
	struct transport_net *t;
	struct transport_peer *p, *next;

	if (!base)
		return;
	t = container_of(base, struct transport_net, base);
	HASH_ITER(hh, t->peers, p, next) {
		HASH_DEL(t->peers, p);
		net_peer_free(p->peer);
		mem_free(p->address);
		mem_free(p);
	}
	mem_free(t);
}
