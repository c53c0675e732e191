/* See local_store.h. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#undef BLOCK_SIZE /* of <linux/fs.h> */

#include "base/err.h"
#include "base/mem.h"
#include "tools/local_store.h"
#include "tools/process.h"

char *local_store_pid_path(const struct local_store *s, uint32_t id)
{
	return id ? mem_must_printf("%s/n%u.pid", s->data, id)
		  : mem_must_printf("%s/mount.pid", s->data);
}

char *local_store_log_path(const struct local_store *s, uint32_t id)
{
	return id ? mem_must_printf("%s/n%u.log", s->data, id)
		  : mem_must_printf("%s/mount.log", s->data);
}

char *local_store_node_dir(const struct local_store *s, uint32_t id)
{
	return mem_must_printf("%s/n%u", s->data, id);
}

char *local_store_endpoints(const struct local_store *s)
{
	char *out = mem_must_strdup("");

	for (uint32_t i = 0; i < s->node_count; i++) {
		char *longer = mem_must_printf("%s%s%s", out, i ? "," : "", s->nodes[i].address);

		mem_free(out);
		out = longer;
	}
	return out;
}

void local_store_release(struct local_store *s)
{
	mem_free(s->data);
	mem_free(s->mount);
	s->data = s->mount = NULL;
}

static int load_nodes(struct local_store *s, const json_t *nodes)
{
	size_t n = json_array_size(nodes);

	if (n < 1 || n > LOCAL_NODES_MAX)
		return ERR_CORRUPT;
	for (size_t i = 0; i < n; i++) {
		const json_t *o = json_array_get(nodes, i);
		json_int_t id = json_integer_value(json_object_get(o, "id"));
		const char *address = json_string_value(json_object_get(o, "address"));

		if (id < 1 || id >= NODES_MAX || !address || strlen(address) >= ADDRESS_SIZE_MAX)
			return ERR_CORRUPT;
		s->nodes[i].id = (uint32_t)id;
		snprintf(s->nodes[i].address, ADDRESS_SIZE_MAX, "%s", address);
	}
	s->node_count = (uint32_t)n;
	return 0;
}

int local_store_load(struct local_store *s, const char *data, struct msg *m)
{
	char *path = mem_must_printf("%s/local.json", data);
	const char *mount;
	json_error_t je;
	json_t *root;
	json_int_t groups;
	int err = 0;

	memset(s, 0, sizeof(*s));
	if (access(path, F_OK) != 0) {
		mem_free(path);
		return msg_set(m, ERR_NOT_FOUND, "there is no local store in %s", data);
	}
	root = json_load_file(path, JSON_REJECT_DUPLICATES, &je);
	if (!root) {
		err = msg_set(m, ERR_CORRUPT, "%s, line %d: %s", path, je.line, je.text);
		mem_free(path);
		return err;
	}
	s->data = mem_must_strdup(data);
	mount = json_string_value(json_object_get(root, "mount"));
	s->mount = mount ? mem_must_strdup(mount) : NULL;
	groups = json_integer_value(json_object_get(root, "groups"));
	if (groups < 1 || groups >= GROUPS_MAX)
		err = ERR_CORRUPT;
	s->groups = (uint32_t)groups;
	if (!err)
		err = load_nodes(s, json_object_get(root, "nodes"));
	if (err) {
		msg_set(m, err, "%s: not a description of a local store", path);
		local_store_release(s);
	}
	json_decref(root);
	mem_free(path);
	return err;
}

static int replace_file(const char *path, const char *text)
{
	char *tmp = mem_must_printf("%s.new", path);
	size_t len = strlen(text);
	int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644), err = 0;

	if (fd < 0) {
		err = err_from_errno(errno);
	} else {
		if (write(fd, text, len) != (ssize_t)len || fsync(fd) != 0)
			err = ERR_IO;
		if (close(fd) != 0 || (!err && rename(tmp, path) != 0))
			err = ERR_IO;
	}
	mem_free(tmp);
	return err;
}

static json_t *to_json(const struct local_store *s)
{
	json_t *root = json_object(), *nodes = json_array();

	for (uint32_t i = 0; i < s->node_count; i++) {
		json_t *o = json_object();

		json_object_set_new(o, "id", json_integer(s->nodes[i].id));
		json_object_set_new(o, "address", json_string(s->nodes[i].address));
		json_array_append_new(nodes, o);
	}
	json_object_set_new(root, "groups", json_integer(s->groups));
	json_object_set_new(root, "mount", s->mount ? json_string(s->mount) : json_null());
	json_object_set_new(root, "nodes", nodes);
	return root;
}

int local_store_save(const struct local_store *s, struct msg *m)
{
	char *path = mem_must_printf("%s/local.json", s->data), *list, *endpoints, *text;
	json_t *root = to_json(s);
	int err;

	text = json_dumps(root, JSON_INDENT(2));
	err = text ? replace_file(path, text) : ERR_NOMEM;
	free(text);
	json_decref(root);
	if (!err) {
		mem_free(path);
		path = mem_must_printf("%s/endpoints", s->data);
		list = local_store_endpoints(s);
		endpoints = mem_must_printf("%s\n", list);
		err = replace_file(path, endpoints);
		mem_free(endpoints);
		mem_free(list);
	}
	if (err)
		msg_set(m, err, "%s: %s", path, err_text(err));
	mem_free(path);
	return err;
}

/* ---- hanging and dead mounts ---- */

#define CONNECTIONS "/sys/fs/fuse/connections"

/* Blanks and backslashes are written in octal there. */
static bool is_place(const char *p, const char *end, const char *path)
{
	for (; p < end && *path; path++) {
		char c = *p++;

		if (c == '\\' && end - p >= 3) {
			c = (char)((p[0] - '0') * 64 + (p[1] - '0') * 8 + (p[2] - '0'));
			p += 3;
		}
		if (c != *path)
			return false;
	}
	return p == end && !*path;
}

unsigned local_store_connection(const struct local_store *s)
{
	FILE *f = s->mount ? fopen("/proc/self/mountinfo", "re") : NULL;
	char *line = NULL;
	size_t size = 0;
	unsigned minor, found = 0;
	int from, to;

	/* "ID PARENT MAJOR:MINOR ROOT PLACE ...": the minor number names the connection */
	while (f && getline(&line, &size, f) > 0)
		if (sscanf(line, "%*u %*u %*u:%u %*s %n%*s%n", &minor, &from, &to) == 1 &&
		    is_place(line + from, line + to, s->mount) &&
		    strstr(line + to, " - fuse.paxfs "))
			found = minor;
	free(line);
	if (f)
		fclose(f);
	return found;
}

static bool write_abort(unsigned connection)
{
	char *path = mem_must_printf(CONNECTIONS "/%u/abort", connection);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, "1", 1) == 1;

	if (fd >= 0)
		close(fd);
	mem_free(path);
	return done;
}

/* MNT_FORCE has FUSE abort the connection of what is mounted; the control file does it for what is not
 * any more, but still open. */
void local_store_abort_mount(const struct local_store *s, unsigned connection)
{
	if (local_store_connection(s) == connection)
		(void)umount2(s->mount, MNT_FORCE | MNT_DETACH | UMOUNT_NOFOLLOW);
	if (write_abort(connection) || mount("none", CONNECTIONS, "fusectl", 0, NULL) != 0)
		return;
	(void)write_abort(connection); /* nobody had mounted them */
	(void)umount2(CONNECTIONS, MNT_DETACH);
}

static bool mount_is_dead(const char *path)
{
	struct stat st;

	return stat(path, &st) != 0 && errno == ENOTCONN;
}

bool local_store_mount_runs(const struct local_store *s)
{
	char *pid = local_store_pid_path(s, local_store_embedded(s) ? s->nodes[0].id : 0);
	bool runs = process_running(pid) != 0;

	mem_free(pid);
	return s->mount && runs;
}

void local_store_drop_dead_mount(const struct local_store *s)
{
	const char *argv[] = {"fusermount3", "-u", "-z", "--", s->mount, NULL};
	pid_t pid;

	/* one that lives is not asked: it waits for its store as long as that is down */
	if (!s->mount || local_store_mount_runs(s) || !mount_is_dead(s->mount) ||
	    posix_spawnp(&pid, argv[0], NULL, NULL, (char *const *)(uintptr_t)argv, environ) != 0)
		return;
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		continue;
}
