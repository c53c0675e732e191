/* Calls about ranges of files: fallocate, lseek for data and holes, copies, opens that truncate. */
#include "base/err.h"
#include "tests/sim/sim_fs_internal.h"

#define BLOCKS 4u /* files are so long, about */

/* On a block's border, near one, or anywhere. */
static uint64_t some_offset(void)
{
	uint64_t border = sim_below(BLOCKS) * BLOCK_SIZE;

	switch (sim_below(4)) {
	case 0:
		return border + sim_below(20);
	case 1:
		return border + BLOCK_SIZE - 1 - sim_below(20);
	case 2:
		return sim_below(300);
	default:
		return border;
	}
}

static uint64_t some_length(void)
{
	return sim_chance(500000) ? 1 + sim_below(300)
				  : sim_between(1, 2) * BLOCK_SIZE - 10 + sim_below(20);
}

static void call_fallocate(struct fsim_worker *w)
{
	static const unsigned modes[] = {0, FS_FALLOC_KEEP_SIZE,
					 FS_FALLOC_KEEP_SIZE | FS_FALLOC_PUNCH_HOLE,
					 FS_FALLOC_KEEP_SIZE | FS_FALLOC_PUNCH_HOLE,
					 FS_FALLOC_ZERO_RANGE,
					 FS_FALLOC_KEEP_SIZE | FS_FALLOC_ZERO_RANGE};
	struct fsim_handle *h = fsim__some_handle(w, true);
	struct fsim_call *c;

	if (!h)
		return;
	c = fsim__call_with(w, h, CALL_FALLOCATE);
	c->stepwise = true;
	c->flags = modes[sim_below(6)];
	c->offset = some_offset();
	c->len = some_length();
	fsim__run(w, c);
	fsim__end(w, c, fs_fallocate(h->file, c->flags, c->offset, c->len, NULL));
}

static void call_seek(struct fsim_worker *w)
{
	struct fsim_call *c = fsim__call_of(w, CALL_SEEK);

	c->ino = fsim__any_file(w);
	c->flags = sim_chance(500000);
	c->offset = some_offset();
	fsim__run(w, c);
	fsim__end(w, c, fs_seek(w->m->fs, c->ino, c->offset, c->flags, &c->end));
}

static void call_copy(struct fsim_worker *w)
{
	struct fsim_handle *from = fsim__some_handle(w, true), *to = fsim__some_handle(w, false);
	struct fsim_call *c;

	if (!from || !to)
		return;
	c = fsim__call_with(w, to, CALL_COPY);
	c->stepwise = true;
	c->ino2 = from->ino;
	c->offset2 = some_offset();
	c->offset = sim_chance(500000) ? some_offset()
				       : c->offset2 % BLOCK_SIZE + sim_below(BLOCKS) * BLOCK_SIZE;
	c->len = some_length();
	fsim__run(w, c);
	fsim__end(w, c,
		  fs_copy_range(from->file, c->offset2, to->file, c->offset, c->len, NULL, &c->end));
}

static void call_open_trunc(struct fsim_worker *w)
{
	struct fsim_handle *h = fsim__free_handle(w);
	struct fsim_call *c = fsim__call_of(w, CALL_OPEN_TRUNC);
	struct fs_file *f;
	int err;

	c->ino = fsim__any_file(w);
	fsim__run(w, c);
	err = fs_file_open(w->m->fs, c->ino, FS_O_READ | FS_O_WRITE | FS_O_TRUNC, &f);
	fsim__end(w, c, err);
	if (!err)
		*h = (struct fsim_handle){f, c->ino, sim_now(), false};
}

void fsim__data_call(struct fsim_worker *w)
{
	switch (sim_below(8)) {
	case 0:
		call_open_trunc(w);
		break;
	case 1:
	case 2:
		call_seek(w);
		break;
	case 3:
	case 4:
		call_copy(w);
		break;
	default:
		call_fallocate(w);
	}
}
