/* The sessions of the fixture's mounts: their records, and what the client does when one has ended. */
#include "fs/fs_internal.h"
#include "kv/layout.h"
#include "tests/lib/fs_fixture.h"

void fsx_session_key(struct buf *key, uint64_t session)
{
	kv_meta_key(key, KV_KEY_SESSION);
	buf_add_be64(key, session);
}

uint64_t fsx_first_session(struct fsx *x)
{
	static uint64_t sessions;
	struct buf key = BUF_INIT;

	fsx_session_key(&key, ++sessions);
	x->version++;
	fsx_put(x, buf_slice(&key), slice_str("session"));
	buf_release(&key);
	return sessions;
}

void fsx_end_session(struct fsx_mount *m)
{
	struct buf key = BUF_INIT;

	fsx_session_key(&key, m->b.session);
	fsx_delete(m->x, buf_slice(&key));
	buf_release(&key);
	m->closed = true;
}

void fsx_next_session(struct fsx_mount *m)
{
	uint64_t was = m->b.session;

	if (!m->closed)
		fsx_end_session(m);
	m->closed = false;
	m->b.session = fsx_first_session(m->x);
	fs__session_changed(m->fs, was, m->b.session, 0);
}
