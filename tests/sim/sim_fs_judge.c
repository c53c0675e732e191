/* Results of calls that changed nothing: true at some moment between call and return? And the last
 * tree: the model's? */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "tests/sim/sim_fs_contents.h"
#include "tests/sim/sim_fs_locks.h"

#define SPANS_MAX 64u
#define DEPTH_MAX 500u /* of directories in one another */

struct spans { /* of time, ascending, apart */
	uint32_t count;
	struct {
		uint64_t lo, hi;
	} s[SPANS_MAX];
};

static _Noreturn void wrong(const struct fsim_call *c, const char *why)
{
	sim_violation("file system: %s\nthat was at no moment true: %s", fsim__text(c), why);
}

/* ---- spans ---- */

static struct spans whole(const struct fsim_call *c)
{
	return (struct spans){.count = 1, .s = {{c->invoke_ns, c->return_ns}}};
}

static void span_add(struct spans *s, uint64_t lo, uint64_t hi)
{
	if (lo > hi)
		return;
	if (s->count > 0 && lo <= s->s[s->count - 1].hi) {
		if (hi > s->s[s->count - 1].hi)
			s->s[s->count - 1].hi = hi;
		return;
	}
	CHECK(s->count < SPANS_MAX);
	s->s[s->count].lo = lo;
	s->s[s->count++].hi = hi;
}

static struct spans both(const struct spans *a, const struct spans *b)
{
	struct spans r = {.count = 0};

	for (uint32_t i = 0, k = 0; i < a->count && k < b->count;) {
		uint64_t lo = a->s[i].lo > b->s[k].lo ? a->s[i].lo : b->s[k].lo;
		uint64_t hi = a->s[i].hi < b->s[k].hi ? a->s[i].hi : b->s[k].hi;

		span_add(&r, lo, hi);
		if (a->s[i].hi < b->s[k].hi)
			i++;
		else
			k++;
	}
	return r;
}

/* What is asked of a value. */
struct ask {
	enum {
		IS, /* value == number */
		SET,	/* value != 0 */
		IS_A_DIR, /* value is the number of a directory */
		NO_DIR, /* ... of something else */
		HOLDS, /* bytes from `offset` on are @bytes, to the end */
		HAS, /* ... as many as there are of @bytes */
		ZEROS, /* from `offset` on, `number` bytes, or to the end */
		SECTORS, /* st_blocks is `number` */
		DATA_AT, HOLE_AT, /* from `offset` on; number: UINT64_MAX: nowhere */
		ENDS, /* size <= number */
	} what;
	uint64_t number;
	uint64_t offset;
	struct slice bytes;
};

static bool holds(const struct fsim_version *v, const struct ask *a)
{
	const struct fsim_inode *i;
	uint64_t at = UINT64_MAX;

	switch (a->what) {
	case IS:
		return v->value == a->number;
	case SET:
		return v->value != 0;
	case IS_A_DIR:
	case NO_DIR:
		i = v->value ? fsim__inode(v->value) : NULL;
		return i && (i->type == S_IFDIR) == (a->what == IS_A_DIR);
	case HOLDS:
		if (v->data.len <= a->offset)
			return a->bytes.len == 0;
		return slice_eq(slice_of(v->data.p + a->offset, v->data.len - a->offset), a->bytes);
	case HAS:
		return v->data.len >= a->offset + a->bytes.len &&
		       memcmp(v->data.p + a->offset, a->bytes.p, a->bytes.len) == 0;
	case ZEROS:
		return fsim__zeros(v, a->offset, a->number);
	case SECTORS:
		return fsim__sectors(v) == a->number;
	case DATA_AT:
	case HOLE_AT:
		(void)fsim__sought(v, a->offset, a->what == HOLE_AT, &at);
		return at == a->number;
	case ENDS:
		return v->value <= a->number;
	}
	return false;
}

/* When, during the call, it may have been so. */
static struct spans when(const struct fsim_call *c, const struct fsim_object *o, struct ask a)
{
	struct spans r = {.count = 0}, during = whole(c);

	for (uint32_t i = 0; i < o->count; i++) {
		uint64_t end = i + 1 < o->count ? o->v[i + 1].hi_ns : FSIM_NEVER;

		if (o->v[i].lo_ns <= c->return_ns && end >= c->invoke_ns && holds(&o->v[i], &a))
			span_add(&r, o->v[i].lo_ns, end);
	}
	return both(&r, &during);
}

static void narrow(struct spans *s, const struct fsim_call *c, const struct fsim_object *o,
		   struct ask a)
{
	struct spans w = when(c, o, a);

	*s = both(s, &w);
}

static bool ever(const struct fsim_call *c, enum fsim_what what, uint64_t ino, uint32_t n,
		 struct ask a)
{
	return when(c, fsim__object(what, ino, n), a).count > 0;
}

#define LOOKS 3u /* at a file with holes, then what was seen counts */

/* So many changes came in between that it need not be of one moment. */
static bool restless(const struct fsim_call *c, uint64_t ino)
{
	const struct fsim_object *o = fsim__object(OBJ_DATA, ino, 0);
	unsigned n = 0;

	for (uint32_t i = 1; i < o->count; i++)
		n += o->v[i].lo_ns <= c->return_ns && o->v[i].hi_ns >= c->invoke_ns;
	return n > LOOKS;
}

static bool dead(const struct fsim_call *c, uint64_t ino)
{
	return ever(c, OBJ_LIFE, ino, 0, (struct ask){.what = IS, .number = 0});
}

static bool name_is(const struct fsim_call *c, uint64_t dir, enum fsim_name n, uint64_t ino)
{
	return ever(c, OBJ_NAME, dir, n, (struct ask){.what = IS, .number = ino});
}

static uint32_t type_of(uint64_t ino)
{
	const struct fsim_inode *i = fsim__inode(ino);

	return i ? i->type : 0;
}

/* ---- attributes ---- */

static bool links_possible(const struct fsim_call *c, const struct fsim_inode *i)
{
	int64_t min = 0, max = 0;

	for (uint32_t k = 0; k < i->delta_count; k++) {
		const struct fsim_delta *d = &i->deltas[k];
		bool sure = d->hi_ns < c->invoke_ns, maybe = d->lo_ns <= c->return_ns;

		min += d->by > 0 ? (sure ? d->by : 0) : (maybe ? d->by : 0);
		max += d->by > 0 ? (maybe ? d->by : 0) : (sure ? d->by : 0);
	}
	return (int64_t)c->attr.nlink >= min && (int64_t)c->attr.nlink <= max;
}

/* Of a directory: a time that it was given by some change that had begun. */
static bool dir_time_possible(const struct fsim_call *c, uint64_t ino)
{
	const struct fsim_object *o = fsim__object(OBJ_DIR_MTIME, ino, 0);

	for (uint32_t i = 0; i < o->count; i++)
		if (o->v[i].lo_ns <= c->return_ns && o->v[i].value == (uint64_t)c->attr.mtime_ns)
			return true;
	return ino == FS_ROOT_INO || fsim__inode(ino)->apart;
}

static void judge_attr(const struct fsim_call *c)
{
	const struct fsim_inode *i = fsim__inode(c->attr.ino);
	struct spans s = whole(c);

	if (!i)
		wrong(c, "there never was such an inode");
	if ((c->attr.mode & S_IFMT) != i->type)
		wrong(c, "its type");
	narrow(&s, c, fsim__object(OBJ_MODE, i->ino, 0),
	       (struct ask){.what = IS, .number = c->attr.mode & 07777});
	narrow(&s, c, fsim__object(OBJ_DATA, i->ino, 0),
	       (struct ask){.what = IS, .number = c->attr.size});
	if (i->type == S_IFDIR)
		narrow(&s, c, fsim__object(OBJ_PARENT, i->ino, 0),
		       (struct ask){.what = IS, .number = c->attr.parent});
	else
		narrow(&s, c, fsim__object(OBJ_MTIME, i->ino, 0),
		       (struct ask){.what = IS, .number = (uint64_t)c->attr.mtime_ns});
	if (!s.count)
		wrong(c, "permissions, size, parent and time of change together");
	if (i->type == S_IFDIR && !dir_time_possible(c, i->ino))
		wrong(c, "the time of change");
	if (!links_possible(c, i))
		wrong(c, "the number of links");
}

/* ---- what reads returned ---- */

static void judge_list(const struct fsim_call *c)
{
	struct spans s = whole(c);

	if (type_of(c->dir) != S_IFDIR)
		wrong(c, "that is no directory");
	for (uint32_t n = 0; n < NAME_COUNT; n++)
		narrow(&s, c, fsim__object(OBJ_NAME, c->dir, n),
		       (struct ask){.what = IS, .number = c->listed[n]});
	if (!s.count)
		wrong(c, "these names together");
}

static void judge_xattrs(const struct fsim_call *c)
{
	for (uint32_t x = 0; x < FSIM_XATTRS; x++)
		if (!ever(c, OBJ_XATTR, c->ino, x, (struct ask){.what = IS, .number = c->listed[x]}))
			wrong(c, "which attributes there are");
}

static bool seek_possible(const struct fsim_call *c, uint64_t at)
{
	struct ask a = {.what = c->flags ? HOLE_AT : DATA_AT, .offset = c->offset, .number = at};

	return restless(c, c->ino) || ever(c, OBJ_DATA, c->ino, 0, a);
}

static void judge_seek(const struct fsim_call *c, uint64_t at)
{
	if (!seek_possible(c, at))
		wrong(c, "where it is");
}

/* There was nothing to punch, or to copy. */
static void judge_nothing_done(const struct fsim_call *c)
{
	if (c->kind == CALL_FALLOCATE &&
	    (!(c->flags & FS_FALLOC_PUNCH_HOLE) ||
	     !ever(c, OBJ_DATA, c->ino, 0, (struct ask){.what = ENDS, .number = c->offset})))
		wrong(c, "there was something to be done");
	if (c->kind == CALL_COPY &&
	    (c->end > 0 ||
	     !ever(c, OBJ_DATA, c->ino2, 0, (struct ask){.what = ENDS, .number = c->offset2})))
		wrong(c, "there was something to copy");
}

/* Bytes that a step has written to the target: the source had them at a moment of the call. */
static void judge_copied(const struct fsim_call *c)
{
	struct fsim_call moment = *c;
	struct ask a = {.what = HAS, .bytes = c->out, .offset = c->copied_at - c->offset + c->offset2};

	if (moment.exec_end_ns < moment.return_ns)
		moment.return_ns = moment.exec_end_ns;
	if (c->out.len && !ever(&moment, OBJ_DATA, c->ino2, 0, a))
		wrong(c, "that was copied");
}

/* All of it, or up to where the source ended; or what was copied before the rest was refused. */
static void judge_copy(const struct fsim_call *c)
{
	struct ask ends = {.what = ENDS, .number = c->offset2 + c->end};
	bool refused = c->stopped && c->end > 0;

	if (!c->err && (c->end > c->len ||
			(c->end < c->len && !refused && !ever(c, OBJ_DATA, c->ino2, 0, ends))))
		wrong(c, "how much was copied");
}

static void judge_fallocate(const struct fsim_call *c)
{
	struct ask zeros = {.what = ZEROS, .offset = c->offset, .number = c->len};

	if (!c->err && c->flags & (FS_FALLOC_PUNCH_HOLE | FS_FALLOC_ZERO_RANGE) &&
	    !ever(c, OBJ_DATA, c->ino, 0, zeros))
		wrong(c, "zeros");
}

static void judge_seen(const struct fsim_call *c)
{
	struct ask bytes = {.what = HOLDS, .offset = c->offset, .bytes = c->out};

	switch (c->kind) {
	case CALL_READ:
		if (!ever(c, OBJ_DATA, c->ino, 0, bytes))
			wrong(c, "the contents");
		break;
	case CALL_GETXATTR:
		bytes.offset = 0;
		if (!ever(c, OBJ_XATTR, c->ino, c->xattr, bytes))
			wrong(c, "the attribute");
		break;
	case CALL_READLINK:
		if (type_of(c->ino) != S_IFLNK || !slice_eq(fsim__inode(c->ino)->target, c->out))
			wrong(c, "the target");
		break;
	case CALL_STAT:
		judge_attr(c);
		if (c->flags && S_ISREG(c->attr.mode) && !restless(c, c->ino) &&
		    !ever(c, OBJ_DATA, c->ino, 0,
			  (struct ask){.what = SECTORS, .number = c->attr.blocks}))
			wrong(c, "the blocks");
		break;
	case CALL_SEEK:
		judge_seek(c, c->end);
		break;
	case CALL_FALLOCATE:
	case CALL_COPY:
		judge_nothing_done(c);
		break;
	case CALL_LOOKUP:
	case CALL_CREATE: /* of what exists */
		if (c->flags & FS_O_EXCL || !name_is(c, c->dir, c->name, c->attr.ino))
			wrong(c, "the name");
		judge_attr(c);
		break;
	case CALL_READDIR:
		judge_list(c);
		break;
	case CALL_LISTXATTR:
		judge_xattrs(c);
		break;
	default:
		wrong(c, "it succeeded, and the store committed nothing");
	}
}

/* ---- refusals ---- */

static bool two_names(const struct fsim_call *c, struct ask from, struct ask to)
{
	struct spans s = when(c, fsim__object(OBJ_NAME, c->dir, c->name), from);

	narrow(&s, c, fsim__object(OBJ_NAME, c->dir2, c->name2), to);
	return s.count > 0;
}

/* Both names lead to one inode: rename has nothing to do. */
static bool same_inode(const struct fsim_call *c)
{
	const struct fsim_object *o = fsim__object(OBJ_NAME, c->dir, c->name);

	for (uint32_t i = 0; i < o->count; i++) {
		struct ask a = {.what = IS, .number = o->v[i].value};

		if (a.number && two_names(c, a, a))
			return true;
	}
	return false;
}

/* The name led to a directory with something in it. */
static bool not_empty(const struct fsim_call *c, uint64_t dir, enum fsim_name name)
{
	const struct fsim_object *o = fsim__object(OBJ_NAME, dir, name);

	for (uint32_t i = 0; i < o->count; i++) {
		struct spans s = when(c, o, (struct ask){.what = IS, .number = o->v[i].value});

		for (uint32_t n = 0; s.count && type_of(o->v[i].value) == S_IFDIR && n < NAME_COUNT;
		     n++) {
			struct spans t = s;

			narrow(&t, c, fsim__object(OBJ_NAME, o->v[i].value, n),
			       (struct ask){.what = SET});
			if (t.count)
				return true;
		}
	}
	return false;
}

/* @dir lay in @moved, or was it, at a moment in @s: is there a way up? */
static bool below(const struct fsim_call *c, uint64_t moved, uint64_t dir, const struct spans *s,
		  unsigned depth)
{
	const struct fsim_object *o = fsim__object(OBJ_PARENT, dir, 0);

	if (dir == moved)
		return true;
	if (dir == FS_ROOT_INO || depth > DEPTH_MAX)
		return false;
	for (uint32_t i = 0; i < o->count; i++) {
		struct spans t = *s;

		narrow(&t, c, o, (struct ask){.what = IS, .number = o->v[i].value});
		if (o->v[i].value && t.count && below(c, moved, o->v[i].value, &t, depth + 1))
			return true;
	}
	return false;
}

static bool into_itself(const struct fsim_call *c, uint64_t dir, enum fsim_name name, uint64_t to)
{
	const struct fsim_object *o = fsim__object(OBJ_NAME, dir, name);

	for (uint32_t i = 0; i < o->count; i++) {
		struct spans s = when(c, o, (struct ask){.what = IS, .number = o->v[i].value});

		if (s.count && type_of(o->v[i].value) == S_IFDIR && below(c, o->v[i].value, to, &s, 0))
			return true;
	}
	return false;
}

static bool rename_refused(const struct fsim_call *c)
{
	const struct ask none = {.what = IS, .number = 0}, some = {.what = SET};
	const struct ask dir = {.what = IS_A_DIR}, file = {.what = NO_DIR};

	switch (c->err) {
	case ERR_NOT_FOUND:
		return name_is(c, c->dir, c->name, 0) || dead(c, c->dir2) ||
		       (c->flags & FS_RENAME_EXCHANGE && two_names(c, some, none));
	case ERR_EXISTS:
		return c->flags & FS_RENAME_NOREPLACE && two_names(c, some, some);
	case ERR_NOT_DIR:
		return !(c->flags & FS_RENAME_EXCHANGE) && two_names(c, dir, file);
	case ERR_IS_DIR:
		return !(c->flags & FS_RENAME_EXCHANGE) && two_names(c, file, dir);
	case ERR_NOT_EMPTY:
		return !(c->flags & FS_RENAME_EXCHANGE) && not_empty(c, c->dir2, c->name2);
	case ERR_INVAL:
		return into_itself(c, c->dir, c->name, c->dir2) ||
		       (c->flags & FS_RENAME_EXCHANGE && into_itself(c, c->dir2, c->name2, c->dir));
	default:
		return false;
	}
}

/* The kernel is asked to look at permissions again: they changed since this mount saw them. */
static bool permissions_changed(const struct fsim_call *c, uint64_t dir)
{
	const struct fsim_object *o = fsim__object(OBJ_MODE, dir, 0);

	if (o->count > 2 && o->v[2].lo_ns <= c->return_ns)
		return true;
	o = fsim__object(OBJ_XATTR, dir, FSIM_X_ACCESS); /* with a list, any change may be one of it */
	return o->count > 1 && o->v[1].lo_ns <= c->return_ns;
}

static bool make_refused(const struct fsim_call *c)
{
	uint32_t type = c->kind == CALL_LINK ? type_of(c->ino) : 0;

	switch (c->err) {
	case ERR_EXISTS:
		return (c->kind != CALL_CREATE || c->flags & FS_O_EXCL) &&
		       ever(c, OBJ_NAME, c->dir, c->name, (struct ask){.what = SET});
	case ERR_NOT_FOUND:
		return dead(c, c->dir) || (type && dead(c, c->ino));
	case ERR_STALE:
		return permissions_changed(c, c->dir) || (type && dead(c, c->ino)) ||
		       (c->kind == CALL_CREATE && !c->stamp && ever(c, OBJ_NAME, c->dir, c->name,
								    (struct ask){.what = NO_DIR}));
	case ERR_PERM:
		return type == S_IFDIR;
	case ERR_IS_DIR:
		return c->kind == CALL_CREATE && !(c->flags & FS_O_EXCL) &&
		       ever(c, OBJ_NAME, c->dir, c->name, (struct ask){.what = IS_A_DIR});
	default:
		return false;
	}
}

static bool remove_refused(const struct fsim_call *c)
{
	switch (c->err) {
	case ERR_NOT_FOUND:
		return name_is(c, c->dir, c->name, 0);
	case ERR_IS_DIR:
		return c->kind == CALL_UNLINK &&
		       ever(c, OBJ_NAME, c->dir, c->name, (struct ask){.what = IS_A_DIR});
	case ERR_NOT_DIR:
		return c->kind == CALL_RMDIR &&
		       ever(c, OBJ_NAME, c->dir, c->name, (struct ask){.what = NO_DIR});
	case ERR_NOT_EMPTY:
		return c->kind == CALL_RMDIR && not_empty(c, c->dir, c->name);
	default:
		return false;
	}
}

/* Who held the file open when its last name was taken, on whatever mount, has it still: until the
 * session of his mount is over. */
static bool held_open(const struct fsim_call *c)
{
	const struct fsim_inode *i = fsim__inode(c->ino);

	return c->opened_ns && i && i->zeroed && c->opened_ns < i->zeroed->invoke_ns &&
	       fsim__locks_closed_at(c->mount) > c->return_ns;
}

/* A copy within one file, from and to ranges that would meet if it is long enough. */
static bool overlaps(const struct fsim_call *c)
{
	return c->kind == CALL_COPY && c->ino == c->ino2 && c->offset < c->offset2 + c->len &&
	       c->offset2 < c->offset + c->len;
}

/* A call about contents, of what has none: links, whiteouts. */
static bool no_file(const struct fsim_call *c)
{
	switch (c->kind) {
	case CALL_TRUNCATE:
	case CALL_OPEN_TRUNC:
	case CALL_WRITE:
	case CALL_APPEND:
	case CALL_FALLOCATE:
	case CALL_COPY:
	case CALL_READ:
	case CALL_SEEK:
		return type_of(c->ino) != S_IFREG || (c->ino2 && type_of(c->ino2) != S_IFREG);
	default:
		return false;
	}
}

static bool inode_refused(const struct fsim_call *c)
{
	uint32_t type = type_of(c->ino);
	bool xattr = c->kind == CALL_SETXATTR || c->kind == CALL_REMOVEXATTR ||
		     c->kind == CALL_GETXATTR;

	switch (c->err) {
	case ERR_STALE:
		return (dead(c, c->ino) && !held_open(c)) || (c->ino2 && dead(c, c->ino2));
	case ERR_IS_DIR:
		return type == S_IFDIR && (c->kind == CALL_TRUNCATE || c->kind == CALL_OPEN_TRUNC);
	case ERR_INVAL:
		return (c->kind == CALL_READLINK && type != S_IFLNK) || no_file(c) || overlaps(c);
	case ERR_LOOP:
		return c->kind == CALL_OPEN_TRUNC && type == S_IFLNK;
	case ERR_NO_DATA:
		return c->kind == CALL_SEEK ? seek_possible(c, UINT64_MAX) : xattr &&
		       ever(c, OBJ_XATTR, c->ino, c->xattr, (struct ask){.what = IS, .number = 0});
	case ERR_UNSUPPORTED:
		return xattr && fsim__is_list(c->xattr) && type == S_IFLNK;
	case ERR_ACCESS:
		return c->kind == CALL_SETXATTR && c->xattr == FSIM_X_DEFAULT && type != S_IFDIR;
	case ERR_EXISTS:
		return c->kind == CALL_SETXATTR && c->flags & FS_XATTR_CREATE &&
		       ever(c, OBJ_XATTR, c->ino, c->xattr, (struct ask){.what = IS, .number = 1});
	default:
		return false;
	}
}

static bool refused(const struct fsim_call *c)
{
	switch (c->kind) {
	case CALL_MKNOD:
	case CALL_CREATE:
	case CALL_MKDIR:
	case CALL_SYMLINK:
	case CALL_LINK:
		return make_refused(c);
	case CALL_UNLINK:
	case CALL_RMDIR:
		return remove_refused(c);
	case CALL_RENAME:
		return rename_refused(c) || (c->err == ERR_STALE && permissions_changed(c, c->dir2));
	case CALL_LOOKUP:
		return c->err == ERR_NOT_FOUND && name_is(c, c->dir, c->name, 0);
	case CALL_READDIR:
		return c->err == ERR_STALE && dead(c, c->dir);
	default:
		return inode_refused(c);
	}
}

static bool surely_without_effect(int err)
{
	return err == ERR_BUSY || err == ERR_ABORTED || err == ERR_DEADLOCK || err == ERR_NOSPACE;
}

/* It was read between the two moments, or may have been. */
static bool read_between(uint64_t ino, uint64_t from_ns, uint64_t to_ns)
{
	for (uint32_t i = 0; i < fsim_call_count; i++) {
		const struct fsim_call *c = fsim_calls[i];
		bool reads = c->kind == CALL_READ || c->kind == CALL_READLINK;

		if (c->return_ns < from_ns || c->invoke_ns > to_ns)
			continue;
		if ((reads && c->ino == ino) || (c->kind == CALL_COPY && c->ino2 == ino) ||
		    (c->kind == CALL_READDIR && c->dir == ino))
			return true;
	}
	return false;
}

/* What came back has the time that was set, or that of a read which was under way. */
static void judge_utimes(const struct fsim_call *c)
{
	if (!c->err && (uint64_t)c->attr.atime_ns != c->offset &&
	    !read_between(c->ino, c->invoke_ns, c->return_ns))
		wrong(c, "the time of access");
}

/* Attributes that came with a change, but are not its own. */
static void judge_later(const struct fsim_call *c)
{
	struct fsim_call moment = *c;

	moment.invoke_ns = c->exec_ns;
	judge_attr(&moment);
}

static void judge(const struct fsim_call *c)
{
	if (c->kind == CALL_COPY && c->stamp)
		judge_copied(c);
	if (c->attr_later)
		judge_later(c);
	if (c->return_ns == FSIM_NEVER || c->whole)
		return;
	if (fsim__is_outage(c->err)) {
		if (c->stamp && surely_without_effect(c->err))
			wrong(c, "it was committed all the same");
		return;
	}
	if (c->err && c->stamp && !c->stepwise && !(c->kind == CALL_CREATE && c->err == ERR_STALE))
		wrong(c, "it was committed");
	if (c->err && !c->stamp && !refused(c))
		wrong(c, "the refusal");
	if (!c->err && !c->stamp) {
		if (c->kind == CALL_RENAME && same_inode(c))
			return;
		judge_seen(c);
	}
	if (c->kind == CALL_UTIMES)
		judge_utimes(c);
	if (c->kind == CALL_COPY)
		judge_copy(c);
	if (c->kind == CALL_FALLOCATE)
		judge_fallocate(c);
}

void fsim__judge_calls(void)
{
	for (uint32_t i = 0; i < fsim_call_count; i++)
		judge(fsim_calls[i]);
}

/* ---- the last tree ---- */

static const struct fsim_seen *seen_of(uint64_t ino)
{
	for (uint32_t i = 0; i < fsim_tree.count; i++)
		if (fsim_tree.seen[i].ino == ino)
			return &fsim_tree.seen[i];
	return NULL;
}

/* What was done to it, in the order of the calls, and what was committed. */
static void tell_calls(uint64_t ino)
{
	for (uint32_t i = 0; i < fsim_call_count; i++) {
		const struct fsim_call *c = fsim_calls[i];

		if (c->stamp && (c->ino == ino || c->made == ino || c->dir == ino || c->dir2 == ino))
			fprintf(stderr, "%s\n", fsim__text(c));
	}
}

static void differs(uint64_t ino, const char *what, uint64_t is, uint64_t should)
{
	if (is != should)
		tell_calls(ino);
	if (is != should)
		sim_violation("the last tree: inode %llx: %s is %llx, by the model %llx",
			      (unsigned long long)ino, what, (unsigned long long)is,
			      (unsigned long long)should);
}

static void compare_times(const struct fsim_inode *i, const struct fs_attr *a)
{
	enum fsim_what what = i->type == S_IFDIR ? OBJ_DIR_MTIME : OBJ_MTIME;
	const struct fsim_version *changed = fsim__now(what, i->ino, 0);
	const struct fsim_version *set = fsim__now(OBJ_ATIME, i->ino, 0);

	if (changed->value)
		differs(i->ino, "time of change", (uint64_t)a->mtime_ns, changed->value);
	if (set->value && (uint64_t)a->atime_ns != set->value &&
	    !read_between(i->ino, set->lo_ns, FSIM_NEVER))
		differs(i->ino, "time of access", (uint64_t)a->atime_ns, set->value);
}

static void compare(const struct fsim_inode *i)
{
	const struct fsim_seen *s = seen_of(i->ino);
	const struct fsim_version *data = fsim__now(OBJ_DATA, i->ino, 0);

	differs(i->ino, "there", s != NULL, i->nlink > 0);
	if (!s)
		return;
	differs(i->ino, "type", s->attr.mode & S_IFMT, i->type);
	differs(i->ino, "permissions", s->attr.mode & 07777, fsim__now(OBJ_MODE, i->ino, 0)->value);
	differs(i->ino, "link count", s->attr.nlink, (uint64_t)i->nlink);
	differs(i->ino, "size", s->attr.size, data->value);
	if (i->type == S_IFREG)
		differs(i->ino, "blocks", s->attr.blocks, fsim__sectors(data));
	compare_times(i, &s->attr);
	if (i->type == S_IFREG)
		differs(i->ino, "contents as they should be", slice_eq(s->data, data->data), 1);
	if (i->type == S_IFLNK)
		differs(i->ino, "target as it should be", slice_eq(s->data, i->target), 1);
	for (uint32_t x = 0; x < FSIM_XATTRS; x++) {
		const struct fsim_version *v = fsim__now(OBJ_XATTR, i->ino, x);

		differs(i->ino, "attribute", s->xattr_there[x], v->value);
		if (v->value)
			differs(i->ino, "attribute's value as it should be",
				slice_eq(s->xattr[x], v->data), 1);
	}
	if (i->type != S_IFDIR)
		return;
	differs(i->ino, "parent", s->attr.parent, fsim__now(OBJ_PARENT, i->ino, 0)->value);
	for (uint32_t n = 0; n < NAME_COUNT; n++)
		differs(i->ino, "entry", s->entries[n], fsim__now(OBJ_NAME, i->ino, n)->value);
}

/* A register's file, or a log: the model does not know them, and they lie where their directory does. */
static bool lies_apart(uint64_t ino)
{
	for (unsigned n = NAME_REG; n <= NAME_LOG; n++) {
		uint64_t dir = fsim__now(OBJ_NAME, FS_ROOT_INO, n)->value;

		if (dir && ino >> 48 == dir >> 48)
			return true;
	}
	return false;
}

/* Something that fsck says a dead mount has left: had it no names, and is there such a mount? */
static void judge_left(uint64_t ino)
{
	const struct fsim_inode *i = fsim__inode(ino);

	if (!i && lies_apart(ino))
		return;
	if (!i)
		sim_violation("%llx waits to be removed, and is no inode", (unsigned long long)ino);
	if (i->nlink > 0)
		sim_violation("inode %llx waits to be removed, and has names",
			      (unsigned long long)ino);
	if (i->zeroed->return_ns != FSIM_NEVER && !i->zeroed->err &&
	    !fsim__left_hastily(i->zeroed->mount))
		sim_violation("inode %llx was left, though its mount ended well: %s",
			      (unsigned long long)ino, fsim__text(i->zeroed));
}

void fsim__judge_tree(void)
{
	fsim__model_each(compare);
	for (uint32_t i = 0; i < fsim_tree.count; i++)
		if (!fsim__inode(fsim_tree.seen[i].ino))
			sim_violation("the last tree: inode %llx, which nobody made",
				      (unsigned long long)fsim_tree.seen[i].ino);
	for (uint32_t i = 0; i < fsim_tree.left_count; i++)
		judge_left(fsim_tree.left[i]);
}
