/* The end, from a fresh mount: all that is there; fsck, repairs of what killed mounts left, fsck. */
#include <inttypes.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "kv/kv.h"
#include "net/loop.h"
#include "kv/client_internal.h"
#include "tests/sim/sim_fs_internal.h"

#define RETRY_NS   (100 * NS_PER_MS)
#define ORPHANS_NS (5 * NS_PER_S)   /* between looks whether dead sessions are gone */
#define BURIED_NS  (400 * NS_PER_S) /* then they must be */

struct fsim_tree fsim_tree;

/* ---- fsck ---- */

/* All that fsck may have to say is that a mount died with work to do. */
static uint64_t object_of(const char *line)
{
	uint64_t object;
	int n = 0;

	if (sscanf(line, "%" SCNu64 " waits to be removed since its mount died%n", &object, &n) < 1 ||
	    n == 0)
		sim_violation("fsck: %s", line);
	return object;
}

/* Locks that a killed mount had, which nobody has met since. */
static bool is_lock(const char *line)
{
	int n = 0;

	sscanf(line, "inode %*u has %*u locks of mounts that ended%n", &n);
	fsim_tree.locks_left += n > 0;
	return n > 0;
}

/* Keys of the other load (sim_load.c) are of no file system's. */
static bool is_foreign(const char *line)
{
	static const char text[] = "a key of no kind, key ";
	size_t n = strlen(text);

	return strncmp(line, text, n) == 0 && strlen(line) >= n + 22 &&
	       strncmp(line + n + 20, "5a", 2) == 0;
}

static void first_report(void *ctx, const char *line)
{
	(void)ctx;
	sim_note("fsck: %s", line);
	if (is_foreign(line) || is_lock(line))
		return;
	if (fsim_tree.left_count == fsim_tree.left_cap) {
		fsim_tree.left_cap = fsim_tree.left_cap * 2 + 8;
		fsim_tree.left = mem_must_realloc(fsim_tree.left,
						  fsim_tree.left_cap * sizeof(*fsim_tree.left));
	}
	fsim_tree.left[fsim_tree.left_count++] = object_of(line);
}

static void repair_report(void *ctx, const char *line)
{
	(void)ctx;
	sim_note("fsck: %s", line);
}

/* Others may have been left meanwhile, by a mount whose session has just ended. */
static void last_report(void *ctx, const char *line)
{
	uint64_t object = is_foreign(line) ? 0 : object_of(line);

	(void)ctx;
	for (uint32_t i = 0; i < fsim_tree.left_count; i++)
		if (fsim_tree.left[i] == object)
			sim_violation("fsck after repairs: %s", line);
}

static struct fs_fsck_result check(struct fs *fs, bool repair,
				   void (*report)(void *ctx, const char *line))
{
	struct fs_fsck_options o = {.repair = repair, .report = report};
	struct fs_fsck_result r = {0};
	struct msg m = {""};
	int err;

	while ((err = fs_fsck(fs, &o, &r, &m)) != 0) {
		if (!fsim__is_outage(err))
			sim_violation("fsck: %s: %s", err_text(err), m.text);
		fiber_sleep(RETRY_NS);
	}
	return r;
}

/* Sessions of mounts that were killed end one after another; what they left can be removed then. */
static void check_all(struct fs *fs)
{
	uint64_t until = sim_now() + BURIED_NS;
	struct fs_fsck_result r;
	uint32_t told;

	for (;;) {
		told = fsim_tree.left_count;
		fsim_tree.locks_left = 0;
		r = check(fs, false, first_report);
		if (r.orphans == 0 && fsim_tree.left_count == told && !fsim_tree.locks_left)
			break;
		if (fsim_tree.left_count > told || fsim_tree.locks_left) {
			check(fs, true, repair_report);
			check(fs, false, last_report);
		} else if (sim_now() > until) {
			sim_violation("%" PRIu64 " orphans of mounts that are gone", r.orphans);
		} else {
			fiber_sleep(ORPHANS_NS);
		}
	}
	sim_trace("fsck: %u left by mounts that died", fsim_tree.left_count);
}

/* ---- the tree ---- */

static struct fsim_seen *seen_add(uint64_t ino)
{
	struct fsim_seen *s;

	if (fsim_tree.count == fsim_tree.cap) {
		fsim_tree.cap = fsim_tree.cap * 2 + 64;
		fsim_tree.seen = mem_must_realloc(fsim_tree.seen,
						  fsim_tree.cap * sizeof(*fsim_tree.seen));
	}
	s = &fsim_tree.seen[fsim_tree.count++];
	*s = (struct fsim_seen){.ino = ino};
	return s;
}

static bool is_seen(uint64_t ino)
{
	for (uint32_t i = 0; i < fsim_tree.count; i++)
		if (fsim_tree.seen[i].ino == ino)
			return true;
	return false;
}

static bool add_entry(void *ctx, const struct fs_dirent *d)
{
	uint64_t *entries = ctx;

	for (unsigned n = 0; d->cookie >= 3 && n < NAME_COUNT; n++)
		if (slice_eq(d->name, fsim__name(n)))
			entries[n] = d->ino;
	return true;
}

static int take_file(struct fs *fs, uint64_t ino, struct buf *b)
{
	struct fs_file *f;
	int err = fs_file_open(fs, ino, FS_O_READ, &f);

	if (err)
		return err;
	err = fs_read(f, 0, FSIM_READ_MAX, b);
	fs_file_close(f);
	return err;
}

static void ok(int err, const char *what, uint64_t ino)
{
	if (err)
		sim_violation("the last tree: %s of inode %" PRIx64 ": %s", what, ino, err_text(err));
}

static struct slice taken(struct buf *b)
{
	struct slice s = slice_of(mem_must_dup(b->data, b->len), b->len);

	buf_reset(b);
	return s;
}

static void look_at(struct fs *fs, struct fsim_seen *s)
{
	struct buf b = BUF_INIT;
	int err;

	ok(fs_stat(fs, s->ino, &s->attr), "attributes", s->ino);
	if (S_ISREG(s->attr.mode))
		ok(take_file(fs, s->ino, &b), "contents", s->ino);
	if (S_ISLNK(s->attr.mode))
		ok(fs_readlink(fs, s->ino, &b), "target", s->ino);
	if (S_ISDIR(s->attr.mode))
		ok(fs_readdir(fs, s->ino, 0, false, add_entry, s->entries), "entries", s->ino);
	s->data = taken(&b);
	for (unsigned x = 0; x < FSIM_XATTRS; x++) {
		err = fs_getxattr(fs, s->ino, fsim__xattr_name(x), &b);
		if (err == ERR_NO_DATA)
			continue;
		ok(err, "attribute", s->ino);
		s->xattr_there[x] = true;
		s->xattr[x] = taken(&b);
	}
	buf_release(&b);
}

static void look_at_all(struct fs *fs)
{
	seen_add(FS_ROOT_INO);
	for (uint32_t i = 0; i < fsim_tree.count; i++) {
		uint64_t entries[NAME_COUNT];

		look_at(fs, &fsim_tree.seen[i]);
		memcpy(entries, fsim_tree.seen[i].entries, sizeof(entries));
		for (unsigned n = 0; n < NAME_COUNT; n++)
			if (entries[n] && !is_seen(entries[n]))
				seen_add(entries[n]);
	}
}

/* What a dead mount has under way may be carried out until its id is closed. */
static void close_all_others(struct kv_client *c)
{
	uint32_t *groups = mem_must_alloc(sizeof(*groups) * GROUPS_MAX);
	uint32_t n = kv__list_groups(c, NULL, groups);

	for (uint64_t id = 1; id < kv_client_id(c); id++)
		while (kv__session_end(c, id, groups, n, UINT64_MAX) != 0)
			fiber_sleep(RETRY_NS);
	mem_free(groups);
}

void fsim__inspect(struct sim_client_env *e)
{
	static struct fsim_mount m;
	struct fs *fs;

	while (fsim__open(&m, e, &fs) != 0)
		fiber_sleep(RETRY_NS);
	close_all_others(m.kv);
	look_at_all(fs);
	check_all(fs);
	ok(fsim__files_read(fs), "the logs", 0);
	fs_close(fs);
	kv_client_close(m.kv);
}
