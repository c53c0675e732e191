#include "kv/datadir_identity.h"

#include "base/codec.h"
#include "base/err.h"
#include "base/limits.h"

int datadir__identity_read(struct datadir *d, uint32_t node, struct msg *m)
{
	struct buf b = BUF_INIT;
	struct dec dec;
	int err = datadir_read(d, "node", &b, m);

	if (!err) {
		dec_init(&dec, buf_slice(&b));
		d->node = (uint32_t)dec_u64_max(&dec, NODES_MAX - 1);
		d->birth = dec_u64(&dec);
		d->created_ns = dec_u64(&dec);
		if (dec_end(&dec) != 0 || d->node == 0)
			err = msg_set(m, ERR_CORRUPT, "%s/node: malformed", d->path);
		else if (node && node != d->node)
			err = msg_set(m, ERR_IDENTITY,
				      "%s is the data directory of node %u, not of node %u",
				      d->path, d->node, node);
	}
	buf_release(&b);
	return err;
}

int datadir__identity_write(struct datadir *d, uint32_t node, uint64_t birth, uint64_t wall_ns,
			    struct msg *m)
{
	struct buf b = BUF_INIT;
	int err;

	if (node == 0)
		return msg_set(m, ERR_INVAL, "%s is empty: a new node needs an id", d->path);
	d->node = node;
	d->birth = birth ? birth : 1; /* 0 stands for "unknown" */
	d->created_ns = wall_ns;
	d->created = true;
	enc_u64(&b, d->node);
	enc_u64(&b, d->birth);
	enc_u64(&b, d->created_ns);
	if (buf_ok(&b))
		err = datadir_write(d, "node", buf_slice(&b), m);
	else
		err = msg_set(m, ERR_NOMEM, "write %s/node: out of memory", d->path);
	buf_release(&b);
	return err;
}
