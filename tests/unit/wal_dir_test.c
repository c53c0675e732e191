/* The real directory as device, and what the log makes of things found there. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/logger.h"
#include "tests/lib/check.h"
#include "tests/lib/wal_fixture.h"
#include "wal/wal_device.h"

#define SIZE (64u * 1024u)

static char dir[64];
static struct wal_device *device;
static struct msg m;

static char *path_of(const char *name)
{
	static char path[512];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void setup(void)
{
	logger_set_level(LOG_ERROR_);
	(void)snprintf(dir, sizeof(dir), "/tmp/wal_dir_test.XXXXXX");
	CHECK_NOT_NULL(mkdtemp(dir));
	CHECK_OK(wal_device_dir(dir, &device, &m));
}

static void teardown(void)
{
	struct dirent *e;
	DIR *d = opendir(dir);

	wal_device_free(device);
	while (d != NULL && (e = readdir(d)) != NULL) {
		if (e->d_name[0] != '.')
			(void)unlink(path_of(e->d_name));
	}
	closedir(d);
	CHECK_INT_EQ(rmdir(dir), 0);
	logger_set_level(LOG_INFO_);
}

static void touch(const char *name)
{
	int fd = open(path_of(name), O_WRONLY | O_CREAT, 0600);

	CHECK_TRUE(fd >= 0);
	close(fd);
}

static bool is_there(const char *name)
{
	return access(path_of(name), F_OK) == 0;
}

/* ---- the device ---- */

static void a_new_file_is_zeros_of_its_size(void)
{
	struct wal_file *file;
	uint8_t *bytes = malloc(SIZE);
	struct stat st;

	CHECK_OK(device->ops->create(device, "a", SIZE, &file, &m));
	CHECK_INT_EQ(stat(path_of("a"), &st), 0);
	CHECK_INT_EQ(st.st_size, SIZE);
	CHECK_TRUE(st.st_blocks * 512 >= SIZE); /* all there, no holes */
	CHECK_INT_EQ(st.st_mode & 0777, 0600);
	CHECK_FALSE(is_there("a.tmp"));
	memset(bytes, 1, SIZE);
	CHECK_OK(device->ops->pread(file, bytes, SIZE, 0, &m));
	for (uint32_t i = 0; i < SIZE; i++)
		CHECK_INT_EQ(bytes[i], 0);
	device->ops->close(file);
	free(bytes);
}

static void what_is_written_is_read(void)
{
	struct wal_file *file;
	uint8_t *bytes = aligned_alloc(WAL_DEVICE_ALIGN, 8192), got[8192];

	for (unsigned i = 0; i < 8192; i++)
		bytes[i] = (uint8_t)(i * 13 + i / 256);
	CHECK_OK(device->ops->create(device, "a", SIZE, &file, &m));
	CHECK_OK(device->ops->pwrite_sync(file, bytes, 8192, 4096, &m));
	CHECK_OK(device->ops->pread(file, got, 8192, 4096, &m));
	CHECK_MEM_EQ(got, bytes, 8192);
	/* Not aligned: goes through the page cache. */
	CHECK_OK(device->ops->pwrite_sync(file, bytes + 1, 100, 4099, &m));
	CHECK_OK(device->ops->pread(file, got, 100, 4099, &m));
	CHECK_MEM_EQ(got, bytes + 1, 100);
	device->ops->close(file);
	CHECK_OK(device->ops->open(device, "a", &file, &m));
	CHECK_OK(device->ops->pread(file, got, 100, 4099, &m));
	CHECK_MEM_EQ(got, bytes + 1, 100);
	CHECK_ERR(device->ops->pread(file, got, 2, SIZE - 1, &m), ERR_IO);
	device->ops->close(file);
	free(bytes);
}

static void errors_are_told_with_the_path(void)
{
	struct wal_device *other;
	struct wal_file *file;
	int err;

	CHECK_ERR(wal_device_dir(path_of("none"), &other, &m), ERR_NOT_FOUND);
	CHECK_CONTAINS(m.text, path_of("none"));
	CHECK_ERR(device->ops->open(device, "none", &file, &m), ERR_NOT_FOUND);
	CHECK_CONTAINS(m.text, path_of("none"));
	touch("a");
	CHECK_ERR(device->ops->create(device, "a", SIZE, &file, &m), ERR_EXISTS);
	CHECK_CONTAINS(m.text, path_of("a"));
	CHECK_FALSE(is_there("a.tmp"));
	err = device->ops->create(device, "b", UINT64_C(1) << 60, &file, &m);
	CHECK_TRUE(err == ERR_NOSPACE || err == ERR_FILE_TOO_BIG); /* as the file system says */
	CHECK_FALSE(is_there("b.tmp") || is_there("b"));
	CHECK_OK(device->ops->remove(device, "a", &m));
	CHECK_ERR(device->ops->remove(device, "a", &m), ERR_NOT_FOUND);
}

static void the_block_suits_direct_writes(void)
{
	CHECK_TRUE(device->block >= 512 && device->block <= WAL_DEVICE_BLOCK_MAX);
	CHECK_INT_EQ(device->block & (device->block - 1), 0);
	CHECK_TRUE(device->ops->free_bytes(device) > 0);
	CHECK_TRUE(device->ops->random(device) != device->ops->random(device));
	CHECK_FALSE(is_there("probe.tmp"));
}

/* ---- the log in it ---- */

static void write_log(struct wal_fixture *f)
{
	wal_fixture_init(f, device, 3);
	CHECK_OK(wal_fixture_open(f));
	for (unsigned i = 1; i <= 100; i++) {
		wal_fixture_append(f, WAL_ENTRY, i % 4, 1, i, 600);
		wal_submit(f->wal);
	}
	wal_fixture_close(f);
}

static void other_files_are_left_alone(void)
{
	static const char *const names[] = {"1.wal",	    "00000009.wal.bak", "x00000001.wal",
					    "00000000.wal", "99999999.wal",	 "README"};
	struct wal_fixture f;

	write_log(&f);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		touch(names[i]);
	touch("00000042.wal.tmp"); /* of a creation that was interrupted */
	CHECK_OK(wal_fixture_open(&f));
	CHECK_NULL(wal_fixture_verify(&f));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		CHECK_TRUE(is_there(names[i]));
	CHECK_FALSE(is_there("00000042.wal.tmp"));
	wal_fixture_release(&f);
}

static void a_shortened_file_is_damage(void)
{
	struct wal_fixture f;

	write_log(&f);
	CHECK_INT_EQ(truncate(path_of("00000002.wal"), 20000), 0);
	CHECK_ERR(wal_fixture_open(&f), ERR_CORRUPT);
	CHECK_CONTAINS(f.msg.text, "00000002.wal was cut short");
	CHECK_INT_EQ(truncate(path_of("00000002.wal"), 0), 0);
	CHECK_ERR(wal_fixture_open(&f), ERR_CORRUPT);
	wal_fixture_release(&f);
}

static void a_flipped_byte_is_damage(void)
{
	struct wal_fixture f;
	uint8_t c;
	int fd;

	write_log(&f);
	fd = open(path_of("00000001.wal"), O_RDWR);
	CHECK_TRUE(fd >= 0 && pread(fd, &c, 1, 8400) == 1);
	c ^= 4;
	CHECK_TRUE(pwrite(fd, &c, 1, 8400) == 1);
	close(fd);
	CHECK_ERR(wal_fixture_open(&f), ERR_CORRUPT);
	CHECK_CONTAINS(f.msg.text, "00000001.wal is damaged at byte");
	wal_fixture_release(&f);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, a_new_file_is_zeros_of_its_size),
	CHECK_TEST_WITH(setup, teardown, what_is_written_is_read),
	CHECK_TEST_WITH(setup, teardown, errors_are_told_with_the_path),
	CHECK_TEST_WITH(setup, teardown, the_block_suits_direct_writes),
	CHECK_TEST_WITH(setup, teardown, other_files_are_left_alone),
	CHECK_TEST_WITH(setup, teardown, a_shortened_file_is_damage),
	CHECK_TEST_WITH(setup, teardown, a_flipped_byte_is_damage),
};

CHECK_MAIN(tests)
