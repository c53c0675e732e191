#include "kv/datadir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/mem.h"
#include "kv/datadir_identity.h"

#define MAGIC	  "paxfs\0\0\1"
#define HEAD_SIZE 16u

static int sys_error(struct msg *m, const char *what, const char *path)
{
	int code = err_from_errno(errno);

	return msg_set(m, code, "%s %s: %s", what, path, strerror(errno));
}

char *datadir_path(const struct datadir *d, const char *name)
{
	return mem_must_printf("%s/%s", d->path, name);
}

/* ---- small files ---- */

static int read_all(int fd, struct buf *out)
{
	struct stat st;
	size_t off = 0;

	if (fstat(fd, &st) != 0)
		return err_from_errno(errno);
	if (st.st_size < (off_t)HEAD_SIZE || st.st_size > (off_t)DATADIR_FILE_SIZE_MAX)
		return ERR_CORRUPT;
	buf_reset(out);
	buf_resize(out, (size_t)st.st_size);
	if (!buf_ok(out))
		return ERR_NOMEM;
	while (off < out->len) {
		ssize_t n = read(fd, out->data + off, out->len - off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_from_errno(errno);
		if (n == 0)
			return ERR_CORRUPT;
		off += (size_t)n;
	}
	return 0;
}

static int check_file(const struct buf *b)
{
	if (memcmp(b->data, MAGIC, 8) != 0)
		return ERR_CORRUPT;
	if (le32_get(b->data + 12) != b->len - HEAD_SIZE)
		return ERR_CORRUPT;
	return crc32c(0, b->data + 12, b->len - 12) == le32_get(b->data + 8) ? 0 : ERR_CORRUPT;
}

int datadir_read(const struct datadir *d, const char *name, struct buf *out, struct msg *m)
{
	int fd = openat(d->fd, name, O_RDONLY | O_CLOEXEC);
	int err;

	if (fd < 0 && errno == ENOENT)
		return msg_set(m, ERR_NOT_FOUND, "%s/%s does not exist", d->path, name);
	if (fd < 0)
		return msg_set(m, err_from_errno(errno), "open %s/%s: %s", d->path, name,
			       strerror(errno));
	err = read_all(fd, out);
	close(fd);
	if (!err)
		err = check_file(out);
	if (err)
		return msg_set(m, err, "%s/%s: %s", d->path, name, err_text(err));
	buf_consume(out, HEAD_SIZE);
	return 0;
}

static int write_all(int fd, struct slice s)
{
	while (s.len) {
		ssize_t n = write(fd, s.p, s.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		s.p += n;
		s.len -= (size_t)n;
	}
	return 0;
}

/* How far the replacement of a small file has come. */
static void failpoints_tmp(const char *name)
{
	FAILPOINT_IF(strcmp(name, "peers") == 0, peers_before_rename);
	FAILPOINT_IF(strcmp(name, "node") == 0, node_before_rename);
	FAILPOINT_IF(strcmp(name, "cluster") == 0, cluster_before_rename);
	(void)name;
}

static void failpoints_renamed(const char *name)
{
	FAILPOINT_IF(strcmp(name, "peers") == 0, peers_after_rename);
	FAILPOINT_IF(strcmp(name, "node") == 0, node_after_rename);
	FAILPOINT_IF(strcmp(name, "cluster") == 0, cluster_after_rename);
	(void)name;
}

static int replace(const struct datadir *d, const char *name, const char *tmp, struct slice all)
{
	int fd = openat(d->fd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int bad;

	if (fd < 0)
		return -1;
	bad = write_all(fd, all) != 0 || fsync(fd) != 0;
	if (bad) {
		int keep = errno;

		close(fd);
		errno = keep;
		return -1;
	}
	failpoints_tmp(name);
	if (close(fd) != 0 || renameat(d->fd, tmp, d->fd, name) != 0)
		return -1;
	failpoints_renamed(name);
	return fsync(d->fd);
}

int datadir_write(const struct datadir *d, const char *name, struct slice payload, struct msg *m)
{
	struct buf all = BUF_INIT;
	char *tmp = mem_must_printf("%s.tmp", name);
	int err = 0;

	buf_add(&all, MAGIC, 8);
	buf_add_zeros(&all, 8);
	buf_add_slice(&all, payload);
	if (!buf_ok(&all)) {
		err = msg_set(m, ERR_NOMEM, "write %s/%s: out of memory", d->path, name);
	} else {
		le32_put(all.data + 12, (uint32_t)payload.len);
		le32_put(all.data + 8, crc32c(0, all.data + 12, all.len - 12));
		if (replace(d, name, tmp, buf_slice(&all)) != 0)
			err = msg_set(m, err_from_errno(errno), "write %s/%s: %s", d->path, name,
				      strerror(errno));
	}
	mem_free(tmp);
	buf_release(&all);
	return err;
}

/* The first name in the directory that is not one of those to ignore; NULL if there is none. */
static char *first_name(int dir_fd, bool (*ignore)(const char *name))
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	char *found = NULL;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	while (!found && (e = readdir(dir)) != NULL)
		if (!ignore(e->d_name))
			found = mem_must_strdup(e->d_name);
	closedir(dir);
	return found;
}

static bool is_dot(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* What a creation that was cut short may have left, and what a fresh volume has. */
static bool is_harmless(const char *name)
{
	return is_dot(name) || strcmp(name, "LOCK") == 0 || strcmp(name, "node.tmp") == 0 ||
	       strcmp(name, "lost+found") == 0;
}

bool datadir_has(const struct datadir *d, const char *name)
{
	struct stat st;
	char *inside;
	int fd;

	if (fstatat(d->fd, name, &st, 0) != 0)
		return false;
	if (!S_ISDIR(st.st_mode))
		return st.st_size > 0;
	fd = openat(d->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return true; /* unreadable is not empty */
	inside = first_name(fd, is_dot);
	close(fd);
	mem_free(inside);
	return inside != NULL;
}

/* ---- opening ---- */

static int make_directories(const char *path, struct msg *m)
{
	char *copy = mem_must_strdup(path);
	int err = 0;

	for (char *p = copy + 1; !err && *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(copy, 0755) != 0 && errno != EEXIST)
			err = sys_error(m, "create", copy);
		*p = '/';
	}
	if (!err && mkdir(copy, 0700) != 0 && errno != EEXIST)
		err = sys_error(m, "create", copy);
	mem_free(copy);
	return err;
}

static int lock(struct datadir *d, struct msg *m)
{
	char text[32];
	ssize_t n;

	d->lock_fd = openat(d->fd, "LOCK", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (d->lock_fd < 0)
		return sys_error(m, "open LOCK in", d->path);
	if (flock(d->lock_fd, LOCK_EX | LOCK_NB) != 0) {
		if (errno != EWOULDBLOCK)
			return sys_error(m, "lock", d->path);
		n = pread(d->lock_fd, text, sizeof(text) - 1, 0);
		text[n > 0 ? n : 0] = '\0';
		text[strcspn(text, "\n")] = '\0';
		return msg_set(m, ERR_LOCKED, "%s is in use by process %s", d->path,
			       text[0] ? text : "?");
	}
	n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
	if (ftruncate(d->lock_fd, 0) != 0 || pwrite(d->lock_fd, text, (size_t)n, 0) != n)
		return sys_error(m, "write LOCK in", d->path);
	return 0;
}

static int check_empty(const struct datadir *d, struct msg *m)
{
	char *stranger = first_name(d->fd, is_harmless);
	int err;

	if (!stranger)
		return 0;
	err = msg_set(m, ERR_IDENTITY,
		      "%s is no data directory: it has %s but no file `node`; give an empty directory",
		      d->path, stranger);
	mem_free(stranger);
	return err;
}

int datadir_open(const char *path, uint32_t node, uint64_t birth, uint64_t wall_ns,
		 struct datadir *out, struct msg *m)
{
	struct datadir d = {.fd = -1, .lock_fd = -1};
	struct stat st;
	int err = make_directories(path, m);

	if (err)
		return err;
	d.path = mem_must_strdup(path);
	d.fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d.fd < 0)
		err = sys_error(m, "open", path);
	else
		err = lock(&d, m);
	if (!err && fstatat(d.fd, "node", &st, 0) == 0)
		err = datadir__identity_read(&d, node, m);
	else if (!err && (err = check_empty(&d, m)) == 0)
		err = datadir__identity_write(&d, node, birth, wall_ns, m);
	if (err) {
		datadir_close(&d);
		return err;
	}
	*out = d;
	return 0;
}

void datadir_close(struct datadir *d)
{
	if (!d->path)
		return;
	if (d->lock_fd >= 0)
		close(d->lock_fd);
	if (d->fd >= 0)
		close(d->fd);
	mem_free(d->path);
	*d = (struct datadir){.fd = -1, .lock_fd = -1};
}
