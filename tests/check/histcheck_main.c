/* histcheck FILE...: judges the history that was recorded in the files (README.md). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tests/check/judge.h"

enum { EXIT_RIGHT = 0, EXIT_WRONG = 1, EXIT_BAD_FILE = 2, EXIT_GAVE_UP = 3 };

static int read_file(struct history *h, const char *path)
{
	FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
	struct msg m = {""};
	int code;

	if (f == NULL) {
		fprintf(stderr, "histcheck: %s: %s\n", path, strerror(errno));
		return -1;
	}
	code = history_read(h, f, &m);
	if (code < 0)
		fprintf(stderr, "histcheck: %s: %s\n", path, m.text);
	if (f != stdin)
		fclose(f);
	return code;
}

static int judge(const struct history *h)
{
	struct verdict *v = mem_must_alloc(sizeof(*v));
	int code = EXIT_RIGHT;

	judge_history(h, NULL, v);
	if (v->code == VERDICT_OK) {
		printf("ok: %zu operations recorded, %zu judged\n", h->count, v->checked);
	} else {
		printf("%s: %s\n%s", v->code == VERDICT_GAVE_UP ? "undecided" : "WRONG", v->name,
		       v->text);
		code = v->code == VERDICT_GAVE_UP ? EXIT_GAVE_UP : EXIT_WRONG;
	}
	if (v->code == VERDICT_UNFIT)
		code = EXIT_BAD_FILE;
	mem_free(v);
	return code;
}

int main(int argc, char **argv)
{
	struct history h;
	int code = EXIT_RIGHT;

	if (argc < 2 || strcmp(argv[1], "--help") == 0) {
		fprintf(argc < 2 ? stderr : stdout,
			"usage: histcheck FILE...   judges a recorded history (- for stdin)\n"
			"exit status: 0 right, 1 wrong, 2 bad file or usage, 3 gave up\n");
		return argc < 2 ? EXIT_BAD_FILE : EXIT_RIGHT;
	}
	history_init(&h);
	for (int i = 1; i < argc && code == EXIT_RIGHT; i++)
		if (read_file(&h, argv[i]) < 0)
			code = EXIT_BAD_FILE;
	if (code == EXIT_RIGHT)
		code = judge(&h);
	history_release(&h);
	return code;
}
