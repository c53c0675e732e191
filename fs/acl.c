/* Access control lists: what they say, and how chmod and inheritance change them. */
#include "fs/acl.h"

#include "base/bytes.h"

#define VERSION 2u

static bool has_id(uint16_t tag)
{
	return tag == FS_ACL_USER || tag == FS_ACL_GROUP;
}

/* ---- the value ---- */

/* Each kind in its place, owner, group and other once, a mask once if anybody else is named. */
static bool valid(const struct fs_acl *acl)
{
	unsigned seen = 0;

	for (uint32_t i = 0; i < acl->count; i++) {
		const struct fs_acl_entry *e = &acl->e[i];
		bool one = e->tag != 0 && e->tag <= FS_ACL_OTHER && (e->tag & (e->tag - 1)) == 0;

		if (!one || e->perm > 7 || (has_id(e->tag) && e->id == UINT32_MAX))
			return false;
		if (e->tag < seen || (e->tag == seen && !has_id(e->tag)))
			return false; /* the list is sorted, so the last kind tells */
		if (i == 0 && e->tag != FS_ACL_USER_OBJ)
			return false;
		seen = e->tag;
	}
	return true;
}

static bool complete(const struct fs_acl *acl)
{
	unsigned kinds = 0, needed = FS_ACL_USER_OBJ | FS_ACL_GROUP_OBJ | FS_ACL_OTHER;

	for (uint32_t i = 0; i < acl->count; i++)
		kinds |= acl->e[i].tag;
	if (kinds & (FS_ACL_USER | FS_ACL_GROUP))
		needed |= FS_ACL_MASK;
	return (kinds & needed) == needed;
}

int fs__acl_decode(struct slice value, struct fs_acl *out)
{
	const uint8_t *p = value.p;

	if (value.len > FS_ACL_SIZE_MAX)
		return ERR_TOO_BIG;
	if (value.len < FS_ACL_HEAD || (value.len - FS_ACL_HEAD) % FS_ACL_ENTRY != 0 ||
	    le32_get(p) != VERSION)
		return ERR_INVAL;
	out->count = (uint32_t)((value.len - FS_ACL_HEAD) / FS_ACL_ENTRY);
	for (uint32_t i = 0; i < out->count; i++) {
		const uint8_t *at = p + FS_ACL_HEAD + i * FS_ACL_ENTRY;
		struct fs_acl_entry *e = &out->e[i];

		*e = (struct fs_acl_entry){.tag = le16_get(at), .perm = le16_get(at + 2)};
		e->id = has_id(e->tag) ? le32_get(at + 4) : UINT32_MAX;
	}
	if (out->count > 0 && !(valid(out) && complete(out)))
		return ERR_INVAL;
	return 0;
}

struct slice fs__acl_encode(const struct fs_acl *acl, uint8_t *b)
{
	CHECK(acl->count <= FS_ACL_ENTRIES_MAX);
	le32_put(b, VERSION);
	for (uint32_t i = 0; i < acl->count; i++) {
		uint8_t *at = b + FS_ACL_HEAD + i * FS_ACL_ENTRY;

		le16_put(at, acl->e[i].tag);
		le16_put(at + 2, acl->e[i].perm);
		le32_put(at + 4, acl->e[i].id);
	}
	return slice_of(b, FS_ACL_HEAD + acl->count * FS_ACL_ENTRY);
}

/* ---- lists and modes ---- */

/* The entries that stand for the three digits of a mode: owner, mask (else group), other. */
struct digits {
	struct fs_acl_entry *e[3];
	bool extended;
};

static struct digits digits_of(struct fs_acl *acl)
{
	struct digits d = {.extended = false};

	for (uint32_t i = 0; i < acl->count; i++) {
		struct fs_acl_entry *e = &acl->e[i];

		switch ((enum fs_acl_tag)e->tag) {
		case FS_ACL_USER_OBJ:
			d.e[0] = e;
			break;
		case FS_ACL_GROUP_OBJ:
			d.e[1] = e;
			break;
		case FS_ACL_MASK:
			d.e[1] = e;
			d.extended = true;
			break; /* comes after the group */
		case FS_ACL_OTHER:
			d.e[2] = e;
			break;
		case FS_ACL_USER:
		case FS_ACL_GROUP:
			d.extended = true;
			break;
		}
	}
	CHECK(d.e[0] && d.e[1] && d.e[2]);
	return d;
}

static unsigned digit(uint16_t perm, unsigned i)
{
	return (unsigned)perm >> (6 - 3 * i) & 7u;
}

static uint16_t perm_of(const struct digits *d)
{
	return (uint16_t)(d->e[0]->perm << 6 | d->e[1]->perm << 3 | d->e[2]->perm);
}

bool fs__acl_mode(const struct fs_acl *acl, uint16_t *perm)
{
	struct fs_acl copy = *acl;
	struct digits d = digits_of(&copy);

	*perm = perm_of(&d);
	return !d.extended;
}

void fs__acl_chmod(struct fs_acl *acl, uint16_t perm)
{
	struct digits d = digits_of(acl);

	for (unsigned i = 0; i < 3; i++)
		d.e[i]->perm = (uint16_t)digit(perm, i);
}

bool fs__acl_create(struct fs_acl *acl, uint16_t *perm)
{
	struct digits d = digits_of(acl);

	for (unsigned i = 0; i < 3; i++)
		d.e[i]->perm = (uint16_t)(d.e[i]->perm & digit(*perm, i));
	*perm = perm_of(&d);
	return !d.extended;
}

/* ---- inheritance ---- */

void fs__default_release(struct fs_default *d)
{
	buf_release(&d->value);
}

int fs__default_known(struct fs *fs, struct fs_parent *p, struct fs_default *d)
{
	struct fs_inode was = p->rec;
	int err;

	if (!(p->rec.xattrs & FS_HAS_DEFAULT_ACL)) {
		buf_reset(&d->value);
		return 0;
	}
	if (d->value.len > 0 && d->perm_version == p->rec.perm_version)
		return 0;
	err = fs__xattr_read(fs, p->ino, slice_str(FS_X_ACL_DEFAULT), &p->rec, &d->value);
	d->perm_version = p->rec.perm_version;
	return err ? err : fs__parent_check(p, &was);
}

static void put_list(struct fs_op *op, fs_ino ino, const char *name, struct slice value)
{
	struct fs_key k;

	fs__key_xattr(&k, ino, slice_str(name));
	txn_put(&op->m, fs__key_slice(&k), value);
}

int fs__default_add(struct fs_op *op, const struct fs_make *q, const struct fs_default *d,
		    fs_ino ino, struct fs_inode *rec)
{
	uint16_t perm = q->mode & 0777;
	uint8_t b[FS_ACL_SIZE_MAX];
	struct fs_acl acl;
	bool plain;

	if (d->value.len == 0 || rec->type == FS_T_SYMLINK)
		return 0;
	if (fs__acl_decode(buf_slice(&d->value), &acl) || acl.count == 0)
		return ERR_CORRUPT;
	plain = fs__acl_create(&acl, &perm);
	/* the umask has no say; setgid of the directory stays inherited */
	rec->perm = (uint16_t)((q->mode & 07000) | (rec->perm & S_ISGID) | perm);
	if (!plain) {
		put_list(op, ino, FS_X_ACL_ACCESS, fs__acl_encode(&acl, b));
		rec->xattrs |= FS_HAS_XATTRS | FS_HAS_ACCESS_ACL;
	}
	if (rec->type == FS_T_DIR) {
		put_list(op, ino, FS_X_ACL_DEFAULT, buf_slice(&d->value));
		rec->xattrs |= FS_HAS_XATTRS | FS_HAS_DEFAULT_ACL;
	}
	return 0;
}

/* ---- chmod ---- */

int fs__acl_add_chmod(struct fs_op *op, fs_ino ino, struct slice value, uint16_t perm)
{
	uint8_t b[FS_ACL_SIZE_MAX];
	struct fs_acl acl;

	if (fs__acl_decode(value, &acl) || acl.count == 0)
		return ERR_CORRUPT;
	fs__acl_chmod(&acl, perm);
	put_list(op, ino, FS_X_ACL_ACCESS, fs__acl_encode(&acl, b));
	return 0;
}
