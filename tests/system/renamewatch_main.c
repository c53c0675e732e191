/* Moves and watches moves: never both names, never none.
 *
 *   renamewatch move  FROM TO COUNT   rename(FROM/i, TO/i) for i = 0 .. COUNT-1
 *   renamewatch watch FROM TO COUNT   from another mount, meanwhile: for each i until it has arrived
 *
 * An object moves once, from FROM to TO. So whoever saw it at TO must not find it at FROM afterwards
 * (both), and whoever missed it at FROM must find it at TO afterwards (none).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int exists(const char *dir, long i)
{
	char path[4096];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%ld", dir, i);
	if (stat(path, &st) == 0)
		return 1;
	if (errno == ENOENT)
		return 0;
	fprintf(stderr, "renamewatch: %s: %s\n", path, strerror(errno));
	exit(1);
}

static int violation(const char *what, long i)
{
	printf("VIOLATION: object %ld had %s\n", i, what);
	return 1;
}

static int watch(const char *from, const char *to, long count)
{
	long looks = 0, between = 0;

	for (long i = 0; i < count; i++) {
		int arrived;

		do {
			if (!exists(from, i) && !exists(to, i))
				return violation("no name", i);
			arrived = exists(to, i);
			if (arrived && exists(from, i))
				return violation("both names", i);
			looks++;
			between += !arrived;
		} while (!arrived);
	}
	printf("watched %ld objects, %ld looks, %ld before the move\n", count, looks, between);
	return 0;
}

static int move(const char *from, const char *to, long count)
{
	for (long i = 0; i < count; i++) {
		char a[4096], b[4096];

		snprintf(a, sizeof(a), "%s/%ld", from, i);
		snprintf(b, sizeof(b), "%s/%ld", to, i);
		if (rename(a, b) != 0) {
			fprintf(stderr, "renamewatch: %s -> %s: %s\n", a, b, strerror(errno));
			return 1;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 5 && strcmp(argv[1], "move") == 0)
		return move(argv[2], argv[3], atol(argv[4]));
	if (argc == 5 && strcmp(argv[1], "watch") == 0)
		return watch(argv[2], argv[3], atol(argv[4]));
	fputs("usage: renamewatch move|watch FROM TO COUNT\n", stderr);
	return 2;
}
