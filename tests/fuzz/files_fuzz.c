/* Small files that a program finds: of a data directory (`node`, `peers`: kv/datadir.h), of a local
 * store (`local.json`, `endpoints`, pid files: tools/local_store.h). Byte 0 picks one, the rest is
 * its contents; bit 7: head and CRC of a data directory's file are made right. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "kv/node_internal.h"
#include "tests/fuzz/fuzz.h"
#include "tools/local_store.h"
#include "tools/process.h"

#define PEERS  2u
#define GROUPS 2u

/* A directory of this process, in memory where there is one; empty between inputs. */
static const char *directory(void)
{
	static char path[64];

	if (!path[0]) {
		snprintf(path, sizeof(path), "%s/paxfs-fuzz-XXXXXX",
			 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
		CHECK(mkdtemp(path) != NULL);
	}
	return path;
}

static void empty_directory(void)
{
	DIR *d = opendir(directory());
	struct dirent *e;

	CHECK(d != NULL);
	while ((e = readdir(d)) != NULL)
		if (e->d_name[0] != '.')
			(void)unlinkat(dirfd(d), e->d_name, 0);
	closedir(d);
}

static void remove_directory(void)
{
	empty_directory();
	(void)rmdir(directory());
}

static char *path_of(const char *name)
{
	return mem_must_printf("%s/%s", directory(), name);
}

static void put_file(const char *name, struct slice s)
{
	char *path = path_of(name);
	FILE *f = fopen(path, "we");

	CHECK(f && fwrite(s.len ? s.p : (const uint8_t *)"", 1, s.len, f) == s.len && fclose(f) == 0);
	mem_free(path);
}

static void put(const char *name, struct slice s, bool right, const struct datadir *d)
{
	if (right)
		CHECK(datadir_write(d, name, s, NULL) == 0);
	else
		put_file(name, s);
}

static struct datadir bare_dir(void)
{
	struct datadir d = {.path = path_of("."), .lock_fd = -1};

	d.fd = open(directory(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(d.fd >= 0);
	return d;
}

static void bare_close(struct datadir *d)
{
	close(d->fd);
	mem_free(d->path);
}

static void node(struct slice s, bool right)
{
	struct datadir d = bare_dir(), opened;
	struct msg m = {""};
	int err;

	put("node", s, right, &d);
	bare_close(&d);
	memset(&opened, 0, sizeof(opened));
	err = datadir_open(directory(), 0, 1, 1, &opened, &m);
	CHECK(err == 0 || err == ERR_CORRUPT);
	if (err) {
		CHECK(m.text[0]);
		return;
	}
	CHECK(opened.node > 0 && opened.node < NODES_MAX && !opened.created);
	datadir_close(&opened);
}

static void peers(struct slice s, bool right)
{
	struct kv_node *n = mem_must_alloc(sizeof(*n));
	struct node_peer two[PEERS] = {{.id = 2}, {.id = 3}};
	struct kv_acks acks[PEERS][GROUPS] = {{{0}}};
	struct msg m = {""};
	struct buf once = BUF_INIT, again = BUF_INIT;
	int err;

	for (uint32_t i = 0; i < PEERS; i++) {
		two[i].acks = acks[i];
		for (uint32_t k = 0; k < GROUPS; k++)
			acks[i][k].group = k;
	}
	n->cfg.id = 1;
	n->dir = bare_dir();
	n->peers = two;
	n->peer_count = PEERS;
	n->group_count = GROUPS;
	put("peers", s, right, &n->dir);
	err = kv__peers_load(n, &m);
	CHECK(err == 0 || err == ERR_CORRUPT || err == ERR_PROTO);
	if (err) {
		CHECK(m.text[0]);
	} else {
		kv__peers_encode(n, &once);
		CHECK(datadir_write(&n->dir, "peers", buf_slice(&once), NULL) == 0);
		CHECK(kv__peers_load(n, &m) == 0);
		kv__peers_encode(n, &again);
		fuzz_same(&once, &again);
	}
	bare_close(&n->dir);
	mem_free(n);
}

static void local_json(struct slice s, bool right)
{
	struct local_store one, two;
	struct msg m = {""};
	int err;

	(void)right;
	put_file("local.json", s);
	err = local_store_load(&one, directory(), &m);
	CHECK(err == 0 || err == ERR_CORRUPT);
	if (err) {
		CHECK(m.text[0]);
		return;
	}
	CHECK(one.node_count >= 1 && one.node_count <= LOCAL_NODES_MAX);
	CHECK(local_store_save(&one, &m) == 0 && local_store_load(&two, directory(), &m) == 0);
	CHECK(one.groups == two.groups && one.node_count == two.node_count);
	for (uint32_t i = 0; i < one.node_count; i++)
		CHECK(one.nodes[i].id == two.nodes[i].id &&
		      strcmp(one.nodes[i].address, two.nodes[i].address) == 0);
	CHECK(!one.mount == !two.mount && (!one.mount || strcmp(one.mount, two.mount) == 0));
	local_store_release(&one);
	local_store_release(&two);
}

static void endpoints(struct slice s, bool right)
{
	char *text;

	(void)right;
	put_file("endpoints", s);
	text = cli_local_endpoints(directory());
	CHECK(!text || !strpbrk(text, "\r\n"));
	mem_free(text);
}

static void pid_file(struct slice s, bool right)
{
	char *path = path_of("n1.pid");

	(void)right;
	put_file("n1.pid", s);
	CHECK(process_running(path) >= 0);
	mem_free(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const kinds[])(struct slice, bool) = {node, peers, local_json,
							    endpoints, pid_file};
	static bool registered;
	struct fuzz_in in = fuzz_in_of(data, size);
	uint8_t how = fuzz_u8(&in);

	if (!registered)
		registered = atexit(remove_directory) == 0;
	kinds[(how & 0x7f) % 5](fuzz_rest(&in), how & 0x80);
	empty_directory();
	return 0;
}
