/* Who writes, and what that does to set-id bits.
 *
 * For buffered writes the kernel takes the bits off by itself, by the mode that it last saw, and never
 * set-group-id without group execution; for direct ones and for O_TRUNC it leaves it to us. So every
 * write of somebody who may not keep them asks for it, and the transaction looks at the true mode.
 */
#include <linux/fuse.h>

#include "mount/mount_internal.h"

#define GROUPS_LOOKED_AT 256

/* Direct writes say so, by the capabilities of the caller. libfuse does not hand that on: it is in the
 * request as it came. */
static bool asked_to_kill(const struct mount_request *r)
{
	const struct fuse_in_header *h = r->buf.mem;
	const struct fuse_write_in *w = (const void *)(h + 1);

	return r->buf.size >= sizeof(*h) + sizeof(*w) && h->opcode == FUSE_WRITE &&
	       w->write_flags & FUSE_WRITE_KILL_SUIDGID;
}

static bool in_group(void *ctx, uint32_t gid)
{
	struct mount_caller *c = ctx;
	gid_t list[GROUPS_LOOKED_AT];
	int n;

	if (fuse_req_ctx(c->req)->gid == gid)
		return true;
	n = fuse_req_getgroups(c->req, GROUPS_LOOKED_AT, list);
	for (int i = 0; i < n && i < GROUPS_LOOKED_AT; i++)
		if (list[i] == gid)
			return true;
	return false;
}

const struct fs_writer *mount__writer(struct mount_caller *c, fuse_req_t req,
				      const struct fuse_file_info *fi)
{
	const struct mount *mt = fuse_req_userdata(req);

	if (fi && fi->writepage)
		return NULL; /* nobody's: what is mapped was let through when it was opened */
	if (fuse_req_ctx(req)->uid == 0 && !asked_to_kill(mt->current))
		return NULL;
	*c = (struct mount_caller){.req = req, .writer = {.in_group = in_group, .ctx = c}};
	return &c->writer;
}
