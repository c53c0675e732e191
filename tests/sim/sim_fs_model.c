/* A file system as POSIX describes it, replaying what the store committed, in the order of its stamps.
 * It keeps every value that anything ever had, with the span of time in which it may have begun. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "tests/sim/sim_fs_contents.h"

#define ROOT FS_ROOT_INO

static struct fsim_object *objects;
static struct fsim_inode *inodes;

const char *fsim__text(const struct fsim_call *c)
{
	static const char *const kinds[] = {
		"mknod",       "create",   "mkdir",    "symlink",  "link",
		"unlink",      "rmdir",    "rename",   "chmod",    "utimes",
		"truncate",    "write",    "append",   "open and truncate",
		"fallocate",   "copy",     "setxattr", "removexattr",
		"read",        "stat",     "seek",     "lookup",
		"readdir",     "readlink", "getxattr", "listxattr",
	};
	static char text[512];
	struct slice a = c->name < NAME_COUNT ? fsim__name(c->name) : slice_str("-");
	struct slice b = c->name2 < NAME_COUNT ? fsim__name(c->name2) : slice_str("-");

	snprintf(text, sizeof(text),
		 "call %u (mount %u, %.6f to %.6f): %s dir %llx name %.*s dir2 %llx name2 %.*s ino %llx "
		 "flags %x x %u mode %o offset %llu len %llu ino2 %llx offset2 %llu: %s; "
		 "stamp %llu made %llx; attr: ino %llx "
		 "mode %o nlink %u size %llu parent %llx; out %zu end %llu",
		 c->id, c->mount, (double)c->invoke_ns / NS_PER_S,
		 c->return_ns == FSIM_NEVER ? -1 : (double)c->return_ns / NS_PER_S, kinds[c->kind],
		 (unsigned long long)c->dir, (int)a.len, (const char *)a.p,
		 (unsigned long long)c->dir2, (int)b.len, (const char *)b.p,
		 (unsigned long long)c->ino, c->flags, c->xattr, c->mode,
		 (unsigned long long)c->offset, (unsigned long long)(c->len ? c->len : c->data.len),
		 (unsigned long long)c->ino2, (unsigned long long)c->offset2,
		 c->return_ns == FSIM_NEVER ? "(no return)" : err_name(c->err),
		 (unsigned long long)c->stamp, (unsigned long long)c->made,
		 (unsigned long long)c->attr.ino, c->attr.mode, c->attr.nlink,
		 (unsigned long long)c->attr.size, (unsigned long long)c->attr.parent, c->out.len,
		 (unsigned long long)c->end);
	return text;
}

_Noreturn void fsim__wrong(const struct fsim_call *c, const char *why)
{
	sim_violation("file system: %s\nby the model: %s", fsim__text(c), why);
}

void fsim__must(const struct fsim_call *c, bool holds, const char *why)
{
	if (!holds)
		fsim__wrong(c, why);
}

/* ---- objects ---- */

struct fsim_object *fsim__object(enum fsim_what what, uint64_t ino, uint32_t n)
{
	struct fsim_key k;
	struct fsim_object *o;

	memset(&k, 0, sizeof(k));
	k.ino = ino;
	k.what = what;
	k.n = n;
	HASH_FIND(hh, objects, &k, sizeof(k), o);
	if (o)
		return o;
	o = mem_must_alloc(sizeof(*o));
	o->key = k;
	o->cap = 2;
	o->v = mem_must_alloc(o->cap * sizeof(*o->v));
	o->count = 1; /* not there */
	HASH_ADD(hh, objects, key, sizeof(o->key), o);
	return o;
}

const struct fsim_version *fsim__now(enum fsim_what what, uint64_t ino, uint32_t n)
{
	const struct fsim_object *o = fsim__object(what, ino, n);

	return &o->v[o->count - 1];
}

static uint64_t value(enum fsim_what what, uint64_t ino, uint32_t n)
{
	return fsim__now(what, ino, n)->value;
}

struct fsim_version *fsim__set(const struct fsim_call *c, enum fsim_what what, uint64_t ino, uint32_t n,
			       uint64_t v, struct slice data)
{
	struct fsim_object *o = fsim__object(what, ino, n);

	if (o->count == o->cap) {
		o->cap *= 2;
		o->v = mem_must_realloc(o->v, o->cap * sizeof(*o->v));
	}
	o->v[o->count] = (struct fsim_version){
		.lo_ns = c->exec_ns, .hi_ns = c->exec_end_ns, .value = v, .data = data, .by = c};
	return &o->v[o->count++];
}

static void put(const struct fsim_call *c, enum fsim_what what, uint64_t ino, uint32_t n, uint64_t v)
{
	fsim__set(c, what, ino, n, v, (struct slice){0});
}

struct fsim_inode *fsim__inode(uint64_t ino)
{
	struct fsim_inode *i;

	HASH_FIND(hh, inodes, &ino, sizeof(ino), i);
	return i;
}

static struct fsim_inode *inode_add(uint64_t ino, uint32_t type)
{
	struct fsim_inode *i = mem_must_alloc(sizeof(*i));

	i->ino = ino;
	i->type = type;
	HASH_ADD(hh, inodes, ino, sizeof(i->ino), i);
	return i;
}

uint64_t fsim__model_each(void (*fn)(const struct fsim_inode *i))
{
	struct fsim_inode *i, *next;
	uint64_t n = 0;

	HASH_ITER(hh, inodes, i, next)
	{
		fn(i);
		n++;
	}
	return n;
}

static bool is_dir(uint64_t ino)
{
	const struct fsim_inode *i = fsim__inode(ino);

	return i && i->type == S_IFDIR;
}

static void add_links(const struct fsim_call *c, uint64_t ino, int by)
{
	struct fsim_inode *i = fsim__inode(ino);

	if (i->delta_count == i->delta_cap) {
		i->delta_cap = i->delta_cap * 2 + 4;
		i->deltas = mem_must_realloc(i->deltas, i->delta_cap * sizeof(*i->deltas));
	}
	i->deltas[i->delta_count++] =
		(struct fsim_delta){.lo_ns = c->exec_ns, .hi_ns = c->exec_end_ns, .by = by};
	i->nlink += by;
	if (i->nlink > 0)
		return;
	put(c, OBJ_LIFE, ino, 0, 0);
	i->zeroed = c;
}

static void set_name(const struct fsim_call *c, uint64_t dir, enum fsim_name n, uint64_t ino)
{
	struct fsim_inode *d = fsim__inode(dir);
	bool was = value(OBJ_NAME, dir, n) != 0;

	d->entries += (ino != 0) - was;
	put(c, OBJ_NAME, dir, n, ino);
}

static enum fsim_what mtime_of(uint64_t ino)
{
	return is_dir(ino) ? OBJ_DIR_MTIME : OBJ_MTIME;
}

static void set_mtime(const struct fsim_call *c, uint64_t ino, uint64_t ns)
{
	put(c, mtime_of(ino), ino, 0, fsim__inode(ino)->apart ? 0 : ns);
}

/* A change of the contents: now. Whatever it was, for utimes says nothing that is soon to come. */
static void touch(const struct fsim_call *c, uint64_t ino)
{
	set_mtime(c, ino, c->stamp);
}

/* ---- calls ---- */

static bool attr_is_of_now(const struct fs_attr *a, uint64_t ino)
{
	const struct fsim_inode *i = fsim__inode(ino);
	uint64_t mtime = value(mtime_of(ino), ino, 0);

	return (a->mode & 07777) == value(OBJ_MODE, ino, 0) && a->nlink == i->nlink &&
	       a->size == value(OBJ_DATA, ino, 0) && (!mtime || (uint64_t)a->mtime_ns == mtime);
}

/* They are those of the change; who changes what is there may be told of a later state. */
static void check_attr(struct fsim_call *c, uint64_t ino)
{
	const struct fsim_inode *i = fsim__inode(ino);

	if (c->return_ns == FSIM_NEVER || c->err)
		return;
	fsim__must(c, c->has_attr, "no attributes came back");
	fsim__must(c, c->attr.ino == ino, "another inode came back");
	fsim__must(c, (c->attr.mode & S_IFMT) == i->type, "another type");
	c->attr_later = !attr_is_of_now(&c->attr, ino);
	fsim__must(c, !c->attr_later || c->kind == CALL_CHMOD || c->kind == CALL_UTIMES ||
			      c->kind == CALL_TRUNCATE,
		   "other permissions, links, size, or another time of change");
}

static void can_make(const struct fsim_call *c)
{
	fsim__must(c, is_dir(c->dir), "that is no directory");
	fsim__must(c, value(OBJ_LIFE, c->dir, 0), "the directory was removed");
	fsim__must(c, !value(OBJ_NAME, c->dir, c->name), "the name exists");
}

/* The mode of what is made, and the lists that it inherits. */
static uint32_t inherit(const struct fsim_call *c)
{
	const struct fsim_version *v = fsim__now(OBJ_XATTR, c->dir, FSIM_X_DEFAULT);
	struct slice list = v->data;
	uint32_t mode;

	if (c->kind == CALL_SYMLINK)
		return 0777;
	if (!v->value)
		return c->mode;
	mode = fsim__list_mode(list) & c->mode;
	if (c->kind == CALL_MKDIR)
		fsim__set(c, OBJ_XATTR, c->made, FSIM_X_DEFAULT, 1, list);
	if (fsim__list_is_full(list))
		fsim__set(c, OBJ_XATTR, c->made, FSIM_X_ACCESS, 1, fsim__list_with(list, mode));
	return mode;
}

static void do_make(struct fsim_call *c)
{
	bool dir = c->kind == CALL_MKDIR, link = c->kind == CALL_SYMLINK;
	struct fsim_inode *i;

	can_make(c);
	fsim__must(c, c->made && !fsim__inode(c->made), "the inode number was used before");
	i = inode_add(c->made, dir ? S_IFDIR : link ? S_IFLNK : S_IFREG);
	i->apart = c->name == NAME_REG || c->name == NAME_LOG;
	put(c, OBJ_LIFE, c->made, 0, 1);
	add_links(c, c->made, dir ? 2 : 1);
	put(c, OBJ_MODE, c->made, 0, inherit(c));
	put(c, OBJ_DATA, c->made, 0, link ? c->data.len : 0);
	i->target = c->data;
	if (dir) {
		put(c, OBJ_PARENT, c->made, 0, c->dir);
		add_links(c, c->dir, 1);
	}
	set_name(c, c->dir, c->name, c->made);
	touch(c, c->dir);
	touch(c, c->made);
	put(c, OBJ_ATIME, c->made, 0, c->stamp);
	check_attr(c, c->made);
}

static void do_link(struct fsim_call *c)
{
	const struct fsim_inode *i = fsim__inode(c->ino);

	can_make(c);
	fsim__must(c, i && i->type != S_IFDIR, "a directory, or nothing");
	fsim__must(c, i->nlink > 0, "the inode has no names any more");
	add_links(c, c->ino, 1);
	set_name(c, c->dir, c->name, c->ino);
	touch(c, c->dir);
	check_attr(c, c->ino);
}

/* Its last name but one, or the last, goes. */
static void lose_name(const struct fsim_call *c, uint64_t parent, uint64_t ino)
{
	if (!is_dir(ino)) {
		add_links(c, ino, -1);
		return;
	}
	fsim__must(c, fsim__inode(ino)->entries == 0, "the directory is not empty");
	add_links(c, ino, -(int)fsim__inode(ino)->nlink);
	add_links(c, parent, -1);
}

static void do_remove(struct fsim_call *c)
{
	uint64_t ino = value(OBJ_NAME, c->dir, c->name);

	fsim__must(c, ino, "there is no such name");
	fsim__must(c, is_dir(ino) == (c->kind == CALL_RMDIR), "a directory or not");
	set_name(c, c->dir, c->name, 0);
	touch(c, c->dir);
	lose_name(c, c->dir, ino);
}

/* Would @moved lie in itself below @dir? */
static bool lies_in(uint64_t moved, uint64_t dir)
{
	for (unsigned depth = 0; dir != ROOT; depth++) {
		if (dir == moved || depth > 10000)
			return true;
		dir = value(OBJ_PARENT, dir, 0);
	}
	return moved == ROOT;
}

static void move_dir(const struct fsim_call *c, uint64_t ino, uint64_t from, uint64_t to)
{
	if (!is_dir(ino) || from == to)
		return;
	fsim__must(c, !lies_in(ino, to), "the directory would lie in itself");
	put(c, OBJ_PARENT, ino, 0, to);
	add_links(c, from, -1);
	add_links(c, to, 1);
}

static void leave_whiteout(const struct fsim_call *c)
{
	fsim__must(c, c->made && !fsim__inode(c->made), "the inode number was used before");
	inode_add(c->made, S_IFCHR);
	put(c, OBJ_LIFE, c->made, 0, 1);
	add_links(c, c->made, 1);
	put(c, OBJ_MODE, c->made, 0, 0);
	touch(c, c->made);
	put(c, OBJ_ATIME, c->made, 0, c->stamp);
	set_name(c, c->dir, c->name, c->made);
}

static void do_rename(struct fsim_call *c)
{
	uint64_t s = value(OBJ_NAME, c->dir, c->name), t = value(OBJ_NAME, c->dir2, c->name2);
	bool exchange = c->flags & FS_RENAME_EXCHANGE;

	fsim__must(c, s, "there is no such name");
	fsim__must(c, s != t, "both names are the same inode: nothing is to be done");
	fsim__must(c, value(OBJ_LIFE, c->dir2, 0), "the new directory was removed");
	fsim__must(c, !t || !(c->flags & FS_RENAME_NOREPLACE), "the new name exists");
	fsim__must(c, t || !exchange, "there is nothing to exchange it for");
	touch(c, c->dir);
	touch(c, c->dir2);
	if (t && !exchange)
		fsim__must(c, is_dir(s) == is_dir(t), "one is a directory, the other is not");
	if (exchange) {
		if (is_dir(s) && is_dir(t) && c->dir != c->dir2)
			fsim__must(c, !lies_in(s, c->dir2) && !lies_in(t, c->dir),
			     "a directory would lie in itself");
		move_dir(c, s, c->dir, c->dir2);
		move_dir(c, t, c->dir2, c->dir);
		set_name(c, c->dir, c->name, t);
		set_name(c, c->dir2, c->name2, s);
		return;
	}
	if (t)
		lose_name(c, c->dir2, t);
	move_dir(c, s, c->dir, c->dir2);
	set_name(c, c->dir, c->name, 0);
	set_name(c, c->dir2, c->name2, s);
	if (c->flags & FSIM_WHITEOUT)
		leave_whiteout(c);
}

static void do_chmod(struct fsim_call *c)
{
	const struct fsim_version *list = fsim__now(OBJ_XATTR, c->ino, FSIM_X_ACCESS);

	fsim__must(c, fsim__inode(c->ino), "there never was such an inode");
	put(c, OBJ_MODE, c->ino, 0, c->mode);
	if (list->value)
		fsim__set(c, OBJ_XATTR, c->ino, FSIM_X_ACCESS, 1, fsim__list_with(list->data, c->mode));
	check_attr(c, c->ino);
}

static void do_utimes(struct fsim_call *c)
{
	fsim__must(c, fsim__inode(c->ino), "there never was such an inode");
	set_mtime(c, c->ino, c->offset);
	put(c, OBJ_ATIME, c->ino, 0, c->offset);
	check_attr(c, c->ino);
}

void fsim__changed(const struct fsim_call *c, uint64_t ino)
{
	touch(c, ino);
	if (value(OBJ_XATTR, ino, FSIM_X_CAPABILITY))
		put(c, OBJ_XATTR, ino, FSIM_X_CAPABILITY, 0);
}

static void do_data(struct fsim_call *c)
{
	fsim__do_data(c);
	if (c->kind == CALL_TRUNCATE)
		check_attr(c, c->ino);
}

/* A list that says no more than the mode is not kept; to remove none is no error. */
static void do_list(const struct fsim_call *c)
{
	const struct fsim_inode *i = fsim__inode(c->ino);
	bool access = c->xattr == FSIM_X_ACCESS, sets = c->kind == CALL_SETXATTR;

	fsim__must(c, i && i->type != S_IFLNK, "that has no lists");
	fsim__must(c, i->type == S_IFDIR || access || !sets, "that is no directory");
	if (sets && access)
		put(c, OBJ_MODE, c->ino, 0, fsim__list_mode(c->data));
	if (sets && !(access && !fsim__list_is_full(c->data)))
		fsim__set(c, OBJ_XATTR, c->ino, c->xattr, 1, c->data);
	else
		put(c, OBJ_XATTR, c->ino, c->xattr, 0);
}

static void do_xattr(struct fsim_call *c)
{
	bool there = value(OBJ_XATTR, c->ino, c->xattr);

	fsim__must(c, fsim__inode(c->ino), "there never was such an inode");
	if (fsim__is_list(c->xattr)) {
		do_list(c);
		return;
	}
	if (c->kind == CALL_REMOVEXATTR) {
		fsim__must(c, there, "there is no such attribute");
		put(c, OBJ_XATTR, c->ino, c->xattr, 0);
		return;
	}
	fsim__must(c, !there || !(c->flags & FS_XATTR_CREATE), "the attribute exists");
	fsim__must(c, there || !(c->flags & FS_XATTR_REPLACE), "there is no such attribute");
	fsim__set(c, OBJ_XATTR, c->ino, c->xattr, 1, c->data);
}

static void (*const apply[])(struct fsim_call *c) = {
	[CALL_MKNOD] = do_make,	    [CALL_CREATE] = do_make,	   [CALL_MKDIR] = do_make,
	[CALL_SYMLINK] = do_make,   [CALL_LINK] = do_link,	   [CALL_UNLINK] = do_remove,
	[CALL_RMDIR] = do_remove,   [CALL_RENAME] = do_rename,	   [CALL_CHMOD] = do_chmod,
	[CALL_UTIMES] = do_utimes,
	[CALL_TRUNCATE] = do_data,  [CALL_WRITE] = do_data,	   [CALL_APPEND] = do_data,
	[CALL_OPEN_TRUNC] = do_data, [CALL_FALLOCATE] = do_data, [CALL_COPY] = do_data,
	[CALL_SETXATTR] = do_xattr, [CALL_REMOVEXATTR] = do_xattr,
};

/* ---- all of them ---- */

static int by_stamp(const void *a, const void *b)
{
	const struct fsim_call *x = *(struct fsim_call *const *)a, *y = *(struct fsim_call *const *)b;

	if (x->stamp != y->stamp)
		return x->stamp < y->stamp ? -1 : 1;
	return x->id < y->id ? -1 : 1;
}

/* What is in the way of each other has stamps in the order of time; and from now on lo_ns and hi_ns are
 * bounds that take the neighbours into account. */
static void settle(struct fsim_object *o)
{
	if (o->key.what == OBJ_DIR_MTIME)
		return;
	for (uint32_t i = 1; i < o->count; i++)
		if (o->v[i].lo_ns < o->v[i - 1].lo_ns)
			o->v[i].lo_ns = o->v[i - 1].lo_ns;
	for (uint32_t i = o->count - 1; i > 1; i--)
		if (o->v[i - 1].hi_ns > o->v[i].hi_ns)
			o->v[i - 1].hi_ns = o->v[i].hi_ns;
	for (uint32_t i = 1; i < o->count; i++)
		if (o->v[i].lo_ns > o->v[i].hi_ns)
			fsim__wrong(o->v[i].by, "it came after a later one had returned, or before an "
					  "earlier one began, by their stamps");
}

static void add_root(void)
{
	static const struct fsim_call first;

	inode_add(ROOT, S_IFDIR);
	put(&first, OBJ_LIFE, ROOT, 0, 1);
	add_links(&first, ROOT, 2);
	put(&first, OBJ_MODE, ROOT, 0, 0755);
	put(&first, OBJ_PARENT, ROOT, 0, ROOT);
}

void fsim__replay(void)
{
	struct fsim_call **list = mem_must_alloc((fsim_call_count + 1) * sizeof(*list));
	struct fsim_object *o, *next;
	size_t n = 0;

	for (uint32_t i = 0; i < fsim_call_count; i++) {
		struct fsim_call *c = fsim_calls[i];

		if (!c->stamp)
			continue;
		fsim__must(c, c->kind <= CALL_LAST_CHANGE, "a call that reads has written");
		fsim__must(c, c->commits == 1, "one call was committed more than once");
		list[n++] = c;
	}
	qsort(list, n, sizeof(*list), by_stamp);
	add_root();
	for (size_t i = 0; i < n; i++)
		apply[list[i]->kind](list[i]);
	mem_free(list);
	HASH_ITER(hh, objects, o, next)
		settle(o);
}
